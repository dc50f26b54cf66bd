"""One monitoring point through the period: what a register advanced and what a rate integrated to.

Written from quantification/README.md, "gaps", "edges" and "twice the same instant". Readings are kept in runs; what
lies between two runs is decided at the end, in the order of time. Sums are integers on the grid 10^-15.
"""
from fractions import Fraction
from operator import le

GRID = 15
# Good samples on each side of a gap whose steps an advance over it is compared with, and by how much it may exceed them.
BESIDE, FACTOR = 60, 2
BEFORE, INSIDE, AFTER = 0, 1, 2


class Coverage:
    """Instants that were fed: ascending ranges; those of one log that touch are one."""

    def __init__(self):
        self.ranges = []

    def insert(self, start, end, log):
        """Covers [start, end) and returns the parts that were not covered."""
        last = self.ranges[-1] if self.ranges else None
        if last and last[1] == start and last[2] == log:
            last[1] = end
            return [(start, end)]
        parts, at = [], start
        for a, b, _ in self.ranges:
            if b <= start or a >= end:
                continue
            if a > at:
                parts.append((at, a))
            at = max(at, b)
        if at < end:
            parts.append((at, end))
        self.ranges = sorted(self.ranges + [[a, b, log] for a, b in parts])
        joined = []
        for a, b, owner in self.ranges:
            if joined and joined[-1][1] == a and joined[-1][2] == owner:
                joined[-1][1] = b
            else:
                joined.append([a, b, owner])
        self.ranges = joined
        return parts

    def around(self, at):
        return next(((a, b) for a, b, _ in reversed(self.ranges) if a <= at < b), (at, at))


class Run:
    """Good readings without a gap, or samples that do not count (`codes`), of one log on one side of the period's edges."""

    def __init__(self, log, region, start, skipped, codes=None):
        self.log, self.region, self.start, self.skipped, self.codes = log, region, start, skipped, codes
        self.first = self.last = self.tick = None
        self.until, self.count, self.head, self.tail = start, 0, [], []

    def add(self, first, head, tail, count, until, tick):
        """Takes `count` readings (time, value), of which only the first and last ones are kept."""
        if self.first is None:
            self.first = first
        self.last, self.until, self.tick, self.count = tail[-1], until, tick, self.count + count
        self.head += head
        self.tail = (self.tail + tail)[-BESIDE - 1:]


def steepest(readings):
    rates = [Fraction(b[1] - a[1], b[0] - a[0]) for a, b in zip(readings, readings[1:]) if b[1] >= a[1] and b[0] > a[0]]
    return max(rates, default=None)


class Track:
    def __init__(self, options, earns, count_gaps, bridge_ms, most_a_ms):
        self.t0, self.t1, self.earns, self.count_gaps, self.bridge, self.most = options.t0, options.t1, earns, count_gaps, bridge_ms, most_a_ms
        self.coverage, self.runs, self.skipped = Coverage(), [], False
        self.increase = self.integral = 0

    def region(self, at):
        return BEFORE if at < self.t0 else INSIDE if at < self.t1 else AFTER

    def feed(self, log, start, end, tick, column):
        parts = self.coverage.insert(start, end, log)
        if sum(b - a for a, b in parts) < end - start:
            self.skipped = True
        for low, high in parts:
            if column.offsets is None:
                self.polled(log, start, tick, column, low, high)
            else:
                self.messages(log, start, tick, column, low, high)

    def polled(self, log, start, tick, column, low, high):
        factor = 10 ** (GRID - column.point["decimals"])
        n, end = -((start - low) // tick), min(-((start - high) // tick), len(column.values))
        for bad in sorted(column.bad) + [end]:
            if bad < n:
                continue
            self.good(log, start, tick, column.values[n:min(bad, end)], n, high, factor)
            n = bad + 1
            if bad >= end:
                break
            at = start + bad * tick
            self.bad(log, at, at + tick, column.bad[bad])

    def good(self, log, start, tick, values, n, high, factor):
        """Good polled values from sample n on, in the point's own decimals."""
        while values:
            at = start + n * tick
            region = self.region(at)
            edge = {BEFORE: self.t0, INSIDE: self.t1}.get(region)
            count = len(values) if edge is None else min(len(values), (edge - at - 1) // tick + 1)
            block, last = values[:count], at + (count - 1) * tick
            run = self.runs[-1] if self.runs else None
            joins = run and not self.skipped and (run.codes, run.log, run.region, run.tick, run.until) == (None, log, region, tick, at)
            if not joins:
                run = self.begin(log, region, at)
            elif region == INSIDE:
                self.increase += max(0, block[0] * factor - run.last[1])
            if region == INSIDE:
                rises = all(map(le, block, block[1:]))
                self.increase += (block[-1] - block[0] if rises else sum(max(0, b - a) for a, b in zip(block, block[1:]))) * factor
                self.integral += sum(block[:-1]) * factor * tick
            until = min(last + tick, high)
            self.weigh(block[-1] * factor, last, until)

            def readings(low, end):
                return [(at + k * tick, block[k] * factor) for k in range(max(low, 0), min(end, count))]

            head, tail = readings(0, BESIDE + 1 - len(run.head)), readings(count - BESIDE - 1, count)
            run.add((at, block[0] * factor), head, tail, count, until, tick)
            values, n = values[count:], n + count

    def messages(self, log, start, tick, column, low, high):
        factor, hold = 10 ** (GRID - column.point["decimals"]), column.point.get("stale_after_s", 0) * 1000 or tick
        for n, (offset, value) in enumerate(zip(column.offsets, column.values)):
            at = start + offset
            if not low <= at < high:
                continue
            if n in column.bad:
                self.bad(log, at, at, column.bad[n])
                continue
            region, run, covered = self.region(at), self.runs[-1] if self.runs else None, self.coverage.around(at)[0]
            joins = run and not self.skipped and (run.codes, run.log, run.region, run.tick) == (None, log, region, None)
            if joins and covered <= run.last[0] <= at <= run.until:
                self.increase += max(0, value * factor - run.last[1]) if region == INSIDE else 0
                self.weigh(run.last[1], run.last[0], at)
            else:
                run = self.begin(log, region, at)
            reading = (at, value * factor)
            run.add(reading, [reading][:BESIDE + 1 - len(run.head)], [reading], 1, at + hold, None)

    def bad(self, log, start, until, codes):
        run, region = self.runs[-1] if self.runs else None, self.region(start)
        if not (run and not self.skipped and run.codes is not None and (run.until, run.log, run.region) == (start, log, region)):
            run = self.begin(log, region, start, set())
        run.codes.update(codes)
        run.until = until

    def begin(self, log, region, start, codes=None):
        self.runs.append(Run(log, region, start, self.skipped, codes))
        self.skipped = False
        return self.runs[-1]

    def weigh(self, value, begin, end):
        self.integral += value * max(0, min(end, self.t1) - max(begin, self.t0))

    def finish(self):
        runs = self.runs
        inside = [n for n, run in enumerate(runs) if run.region == INSIDE]
        first, last = (inside[0], inside[-1]) if inside else (len(runs), -1)
        order = [n for n, run in enumerate(runs) if run.region == INSIDE or (n < first if run.region == BEFORE else n > last)]
        order.sort(key=lambda n: (runs[n].start, n))
        cause, codes, until, reading, before = "begin", set(), None, None, None
        for place, n in enumerate(order):
            run = runs[n]
            if before is not None and cause not in ("begin", "hand-over"):
                cause = self.between(before, n, cause)
            before = n
            if run.codes is not None:
                codes |= run.codes
                until = None if until is None else min(until, run.start)
                continue
            parted = cause in ("hand-over", "clock set")
            gap = until is None or run.first[0] > until or parted
            if reading:
                only_missing = cause == "samples" and all(code < 32 for code in codes)
                missing = run.first[0] - until
                self.cross(reading, run.first, gap, only_missing, missing, lambda: self.beside(order, place))
            codes, cause, reading = set(), "samples", run.last
            until = run.until
            if run.tick is None:
                until = min(until, self.coverage.around(run.last[0])[1])
                if place + 1 < len(order):
                    until = min(until, runs[order[place + 1]].start)
                self.weigh(run.last[1], run.last[0], until)
            if run.region == AFTER:
                break

    def between(self, a, b, cause):
        """What two runs that are neighbours in time have between them."""
        runs = self.runs
        if runs[a].log != runs[b].log:
            return "hand-over"
        in_order = a < b and all(run.region != INSIDE for run in runs[a + 1:b])
        if runs[b].skipped or not in_order:
            return "clock set"
        end = runs[a].start if runs[a].codes is not None else runs[a].last[0]
        if cause == "samples" and self.coverage.around(end)[1] <= runs[b].start:
            return "hole"
        return cause

    def cross(self, a, b, gap, only_missing, missing, beside):
        """The advance between two good readings of different runs."""
        advance = b[1] - a[1]
        if b[0] <= self.t0 or a[0] >= self.t1 or advance < 0:
            return
        if a[0] < self.t0 or b[0] > self.t1:
            counts = not self.earns
        elif gap and self.earns:
            counts = only_missing and (self.count_gaps or missing <= self.bridge) and self.plausible(advance, b[0] - a[0], beside())
        else:
            counts = True
        self.increase += advance if counts else 0

    def plausible(self, advance, elapsed, rate):
        if self.most is not None and advance > self.most * elapsed:
            return False
        return rate is None or advance <= FACTOR * rate * elapsed

    def beside(self, order, place):
        """The largest rate of the last 60 good samples before a gap and of the next 60."""
        rates = []
        for side, tail in ((reversed(order[:place]), True), (order[place:], False)):
            seen = 0
            for n in side:
                run = self.runs[n]
                if run.codes is None:
                    rate = steepest(run.tail if tail else run.head)
                    rates += [] if rate is None else [rate]
                    seen += run.count
                    if seen > BESIDE:
                        break
        return max(rates, default=None)
