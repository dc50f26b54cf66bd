"""Where every tick of the period went, V5."""
import bisect

from .failures import Failure


class Ranges:
    """A set of positions as ascending, disjoint ranges; normally one."""

    def __init__(self):
        self.starts, self.ends = [], []

    def add(self, p, q):
        """Adds [p, q) and returns the parts of it that were not there."""
        low = bisect.bisect_left(self.ends, p)
        high = bisect.bisect_right(self.starts, q)
        new, at = [], p
        for a, b in zip(self.starts[low:high], self.ends[low:high]):
            if a > at:
                new.append((at, a))
            at = max(at, b)
        if at < q:
            new.append((at, q))
        if low < high:
            p, q = min(p, self.starts[low]), max(q, self.ends[high - 1])
        self.starts[low:high], self.ends[low:high] = [p], [q]
        return new

    def all(self):
        return list(zip(self.starts, self.ends))

    def longest_missing(self, low, high):
        longest, at = None, low
        for a, b in self.all() + [(high, high)]:
            run = (at, min(a, high))
            if run[1] > run[0] and (longest is None or run[1] - run[0] > longest[1] - longest[0]):
                longest = run
            at = max(at, b)
        return longest


class Axis:
    """One stream; positions are ticks after the shift."""

    def __init__(self, tick, t0, t1, begins):
        self.tick, self.low, self.high, self.begins = tick, -(-t0 // tick), -(-t1 // tick), begins
        self.covered, self.seen = Ranges(), Ranges()
        self.measured = self.overlaps = self.unplaced = 0
        self.gaps = {}

    def clip(self, a, b):
        return max(0, min(b, self.high) - max(a, self.low))

    def take(self, p, n, what):
        """Takes positions [p, p + n), measured or a gap; how many are measured for the first time."""
        ticks = self.clip(p, p + n)
        parts = self.covered.add(p, p + n)
        new = sum(self.clip(a, b) for a, b in parts)
        self.overlaps += ticks - new
        if what is None:
            self.measured += ticks
            for a, b in parts:
                self.seen.add(a, b)
            return new
        gap = self.gaps.setdefault(what, {"entries": 0, "ticks": 0})
        gap["entries"] += ticks > 0
        gap["ticks"] += ticks
        return 0

    def finish(self, stream, succeeds, replaced, ended):
        problem, low, high, holes = None, self.low, self.high, 0
        ranges = self.covered.all()
        span = (ranges[0][0], ranges[-1][1]) if ranges else None
        if span:
            holes = self.clip(*span) - sum(self.clip(a, b) for a, b in ranges)
        late = span and span[0] > self.low
        if (late or not span) and not self.begins:
            problem = Failure("V11", f"stream {stream} does not reach back to the start of the period")
        if late:
            if succeeds and self.begins:
                low = min(span[0], self.high)
            else:
                holes += self.clip(self.low, span[0])
        end = span[1] if span else self.low
        if end < self.high:
            if replaced:
                high = max(end, low)
            else:
                holes += self.clip(end, self.high)
                if not ended and problem is None:
                    problem = Failure("V12", f"stream {stream} does not reach the end of the period")
        declared = sum(gap["ticks"] for gap in self.gaps.values())
        if problem is None and high - low != self.measured + declared + holes - self.overlaps:
            problem = Failure("V14", f"stream {stream}: ticks do not add up")

        def ms(run):
            return run and [run[0] * self.tick, run[1] * self.tick]

        return {"stream": stream, "tick_ms": self.tick, "expected": high - low, "measured": self.measured, "gaps": self.gaps,
                "holes": holes, "overlaps": self.overlaps, "unplaced": self.unplaced, "covered_ms": ms(span),
                "longest_gap_ms": ms(self.seen.longest_missing(low, high))}, problem
