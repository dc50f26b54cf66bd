"""What registers advanced and rates integrated to, compared with the report. No formula is evaluated here."""
import json
from fractions import Fraction
from operator import le

from .failures import Failure
from .tree import sha256

UNITS = {}
for _dimension, _table in {
    "energy": {"J": 1, "kJ": 10**3, "MJ": 10**6, "GJ": 10**9, "TJ": 10**12, "Wh": 3600, "kWh": 36 * 10**5, "MWh": 36 * 10**8, "GWh": 36 * 10**11},
    "power": {"W": 1, "kW": 10**3, "MW": 10**6, "GW": 10**9},
    "mass": {"mg": Fraction(1, 10**6), "g": Fraction(1, 1000), "kg": 1, "t": 1000, "kt": 10**6},
    "massflow": {"g/s": Fraction(1, 1000), "kg/s": 1, "kg/min": Fraction(1, 60), "kg/h": Fraction(1, 3600), "t/h": Fraction(10, 36),
                 "t/d": Fraction(1000, 86_400)},
    "volume": {"L": Fraction(1, 1000), "m3": 1},
    "volumeflow": {"L/s": Fraction(1, 1000), "L/min": Fraction(1, 60_000), "L/h": Fraction(1, 3_600_000), "m3/s": 1,
                   "m3/min": Fraction(1, 60), "m3/h": Fraction(1, 3600), "m3/d": Fraction(1, 86_400)},
}.items():
    UNITS.update({symbol: (_dimension, Fraction(factor)) for symbol, factor in _table.items()})
OVER_TIME = {"power": "energy", "massflow": "mass", "volumeflow": "volume"}
MOST_REPORT = 256 << 20
GRID = 15


def label(point):
    return point["parameter"] + (f"[{point['member']}]" if "member" in point else "")


class Track:
    """One monitoring point through the period, fed in log order; sums are integers on the grid 10^-15."""

    def __init__(self, options, earns, count_gaps, bridge_ms):
        self.t0, self.t1, self.earns, self.count_gaps, self.bridge = options.t0, options.t1, earns, count_gaps, bridge_ms
        self.covered = self.good = self.last = self.held = self.log = None
        self.codes, self.cause, self.done = set(), "begin", False
        self.increase = self.integral = 0

    def feed(self, log, start, end, tick, column):
        if self.done:
            return
        if self.log not in (None, log):
            self.hole("hand-over")
        elif self.covered is not None and start > self.covered:
            self.hole("hole")
        self.log = log
        covered = self.covered
        if covered is not None and end <= covered:
            return
        self.covered = end
        p, factor = column.point, 10 ** (GRID - column.point["decimals"])
        if column.offsets is not None:
            self.messages(start, covered, column, p.get("stale_after_s", 0) * 1000 or tick, factor)
        elif not column.bad and (covered is None or covered <= start) and self.t0 < start and end < self.t1:
            self.run(start, column.values, tick, factor)
        else:
            for n, value in enumerate(column.values):
                at = start + n * tick
                if (covered is None or at >= covered) and not self.done:
                    if n in column.bad:
                        self.codes.update(column.bad[n])
                    else:
                        self.reading(at, value * factor, tick)

    def run(self, start, values, tick, factor):
        """Good polled samples wholly inside the period."""
        self.reading(start, values[0] * factor, tick)
        if all(map(le, values, values[1:])):
            self.increase += (values[-1] - values[0]) * factor
        else:
            self.increase += sum(b - a for a, b in zip(values, values[1:]) if b > a) * factor
        self.integral += sum(values[1:]) * factor * tick
        at = start + (len(values) - 1) * tick
        self.last, self.good = (at, values[-1] * factor), at + tick

    def messages(self, start, covered, column, hold, factor):
        for n, (offset, value) in enumerate(zip(column.offsets, column.values)):
            at = start + offset
            if covered is not None and at < covered or self.done:
                continue
            if n in column.bad:
                if self.good is not None:
                    self.good = min(self.good, at)
                    self.release(self.good)
                self.codes.update(column.bad[n])
            else:
                if self.good is not None:
                    self.release(min(self.good, at))
                self.reading(at, value * factor, hold, held=True)

    def hole(self, cause):
        if self.good is not None:
            self.good = min(self.good, self.covered)
            self.release(self.good)
        if self.cause not in ("begin", "hand-over"):
            self.cause = cause

    def release(self, until):
        if self.held:
            self.weigh(self.held[1], self.held[0], until)
            self.held = None

    def weigh(self, value, begin, end):
        self.integral += value * max(0, min(end, self.t1) - max(begin, self.t0))

    def reading(self, at, value, hold, held=False):
        gap = self.good is None or at > self.good or self.cause == "hand-over"
        if self.last:
            self.cross(at, value, gap)
        self.codes, self.cause, self.last = set(), "samples", (at, value)
        if held:
            self.held = (at, value)
        else:
            self.weigh(value, at, at + hold)
        self.good = at + hold
        self.done = at >= self.t1

    def cross(self, at, value, gap):
        before, advance = self.last[0], value - self.last[1]
        if at <= self.t0 or before >= self.t1 or advance < 0:
            return
        if before < self.t0 or at > self.t1:
            counts = not self.earns
        elif gap:
            small = self.cause == "samples" and all(code < 32 for code in self.codes) and at - self.good <= self.bridge
            counts = self.count_gaps or small
        else:
            counts = True
        self.increase += advance if counts else 0

    def end(self):
        if self.good is not None:
            self.release(min(self.good, self.covered))


def claim(tar):
    """The report as it is claimed; None when there is none, {} when it cannot be read."""
    if "report/report.json" not in tar.files:
        return None
    try:
        report = json.loads(tar.contents("report/report.json", MOST_REPORT))
        report["parameters"] = {p["name"]: p for p in report["parameters"]}
        return report
    except (ValueError, KeyError, TypeError, Failure):
        return {}


def tracks_of(options, report):
    """A track for each monitoring point; what a larger value does stands in the report."""
    tracks, directions = {}, {name: p.get("direction") for name, p in (report or {}).get("parameters", {}).items()}
    for point in options.points:
        earns = directions.get(label(point)) == "earns"
        rule = point.get("advance_over_gap", "list" if earns else "count")
        tracks[point["number"]] = Track(options, earns, rule == "count", point.get("bridge_max_s", 0) * 1000)
    return tracks


def compare(report, options, tracks, failures):
    if report is None:
        return {"claimed": False}
    if not report:
        failures.append(Failure("V22", "report/report.json is not a report"))
        return {"claimed": True}
    if report.get("plan_sha256") != sha256(options.plan_bytes).hex():
        failures.append(Failure("V21", "the report was made from another plan"))
    told = {"claimed": True, "compared": [], "not_compared": []}
    for point in options.points:
        name, track = label(point), tracks[point["number"]]
        claimed = report["parameters"].get(name)
        if claimed is None:
            failures.append(Failure("V21", f"the report lacks {name}"))
            continue
        kind, unit, want = claimed.get("aggregation"), UNITS.get(point["unit"]), UNITS.get(claimed.get("unit"))
        track.end()
        if kind == "increase" and unit and want and unit[0] == want[0]:
            found = track.increase * unit[1] / want[1]
        elif kind == "integral" and unit and want and OVER_TIME.get(unit[0]) == want[0]:
            found = track.integral * unit[1] / 1000 / want[1]
        else:
            told["not_compared"].append(name)
            continue
        found /= 10**GRID
        told["compared"].append([name, float(found)])
        if abs(Fraction(claimed["value"]) - found) > max(abs(found), 1) / 10**15:
            failures.append(Failure("V21", f"{name}: claimed {claimed['value']}, recomputed {float(found)}"))
    return told
