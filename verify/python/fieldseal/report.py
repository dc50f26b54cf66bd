"""The report's measured parameters, compared with what was computed again. No formula is evaluated here."""
import json
from fractions import Fraction

from .failures import Failure
from .readings import GRID, Track
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


def label(point):
    return point["parameter"] + (f"[{point['member']}]" if "member" in point else "")


def claim(tar):
    """The report as it is claimed; None when there is none, {} when it cannot be read."""
    if "report/report.json" not in tar.files:
        return None
    try:
        text = tar.contents("report/report.json", MOST_REPORT).decode()
        report = json.loads(text)
        report["another_writing"] = text != json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        report["parameters"] = {p["name"]: p for p in report["parameters"]}
        return report
    except (ValueError, KeyError, TypeError, Failure):
        return {}


def most_a_ms(point):
    """The largest possible advance of a register in a millisecond by its nameplate, on the grid; None without one."""
    plate, unit = point.get("nameplate"), UNITS.get(point["unit"])
    rate = UNITS.get(plate["unit"]) if plate else None
    if not rate or not unit or OVER_TIME.get(rate[0]) != unit[0]:
        return None
    return Fraction(plate["value"]) * rate[1] / 1000 / unit[1] * 10**GRID


def tracks_of(options, report):
    """A track for each monitoring point; what a larger value does stands in the report."""
    tracks, directions = {}, {name: p.get("direction") for name, p in (report or {}).get("parameters", {}).items()}
    for point in options.points:
        earns = directions.get(label(point)) == "earns"
        rule = point.get("advance_over_gap", "list" if earns else "count")
        tracks[point["number"]] = Track(options, earns, rule == "count", point.get("bridge_max_s", 0) * 1000, most_a_ms(point))
    return tracks


def compare(report, options, tracks, failures, hidden):
    if report is None:
        return {"claimed": False}
    if not report:
        failures.append(Failure("V22", "report/report.json is not a report"))
        return {"claimed": True}
    if report.get("plan_sha256") != sha256(options.plan_bytes).hex():
        failures.append(Failure("V21", "the report was made from another plan"))
    told = {"claimed": True, "compared": [], "not_compared": []}
    before = len(failures)
    for point in options.points:
        name, track = label(point), tracks[point["number"]]
        if point["number"] in hidden:
            told["not_compared"].append(name)
            continue
        claimed = report["parameters"].get(name)
        if claimed is None:
            failures.append(Failure("V21", f"the report lacks {name}"))
            continue
        kind, unit, want = claimed.get("aggregation"), UNITS.get(point["unit"]), UNITS.get(claimed.get("unit"))
        track.finish()
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
    if report["another_writing"] and len(failures) == before:
        failures.append(Failure("V22", "the same values in another writing"))
    return told
