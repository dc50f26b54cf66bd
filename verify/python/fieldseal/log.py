"""One log of a bundle: V2 to V5."""
import bisect
import unicodedata

from .authority import Configurations, approved_entries, revocations_of
from .chain import Chain
from .entries import Entry, control_body
from .failures import I64, Failure, need
from .notes import Note, decimal, signed_by, unbase64
from .ticks import Axis
from .tree import Range, included, leaf_hash, sha256
from .work import Workers


def disclosure(data):
    """(class, names that class B lists or None)."""
    if data in (b"A\n", b"C\n"):
        return data[:1].decode(), None
    try:
        first, *names = data.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        first, names = "", []
    ok = first == "B" and data.endswith(b"\n") and 0 < len(names) <= 10_000 and all(a < b for a, b in zip(names, names[1:]))
    need(ok and all(name and not any(unicodedata.category(c) == "Cc" for c in name) for name in names), "V01", "the disclosure class")
    return "B", frozenset(names)


class Log:
    """One log of the bundle: V2 and V3."""

    def __init__(self, tar, log_id, anchor, options, points, succeeds):
        self.tar, self.options, self.anchor, self.points, self.succeeds = tar, options, anchor, points, succeeds
        self.origin, self.base, self.folder = anchor.name, f"logs/{log_id}/", log_id
        self.hand_over = None
        contents = lambda name, most: tar.contents(self.base + name, most)
        need(contents("origin", 1024) == (self.origin + "\n").encode() and sha256(self.origin.encode()).hex() == log_id, "V01", "the name of the log")
        self.disclosure, self.shown = disclosure(contents("disclosure", 4 << 20))
        self.read_notes(contents)
        start = contents("range-start", 8192)
        need(start.endswith(b"\n") and start.isascii(), "V04", "the start hashes")
        size, *hashes = start[:-1].decode().split("\n")
        self.first, hashes = decimal(size), [unbase64(h) for h in hashes]
        ok = self.first is not None and self.first < I64 and all(h and len(h) == 32 for h in hashes) and len(hashes) == bin(self.first).count("1")
        need(ok and self.first < self.size, "V04", "the start hashes")
        self.read_controls(contents)
        whole = Chain(self.origin)
        whole.resume(self.controls, self.size)
        need(whole.genesis["log_key"] == anchor.key, "V02", "genesis names another log key", 0)
        self.chain = Chain(self.origin)
        if self.first:
            self.chain.resume(self.controls, self.first)
            self.chain.range = Range(self.first, hashes)
        self.at_start = {s for s, v in self.chain.streams.items() if v["active"]}

    def read_note(self, data, code):
        note = Note(data, code)
        need(note.by(self.anchor) and note.origin == self.origin, code, "a note is not signed by the log's key")
        policy = self.options.policy
        need(not policy.logs or any(log.name == self.origin for log in policy.logs), code, "the policy does not know the log")
        times = [min(found) if (found := note.by(vkey)) else None for _, vkey in policy.witnesses]
        need(not policy.logs or any(note.by(log) for log in policy.logs if log.name == self.origin), code, "not signed by the policy's key of the log")
        return note, times

    def read_notes(self, contents):
        policy, self.note = self.options.policy, contents("checkpoint", 65_536)
        final, times = self.read_note(self.note, "V02")
        self.size, self.root = final.size, final.root
        need(policy.met(times)[0], "V03", "the quorum is not met")
        notes, self.quorum_met, hashes = [], 0, set()
        for name in self.tar.under(self.folder, "trail/"):
            data = contents(name, 65_536)
            note, found = self.read_note(data, "V07")
            need(str(note.size) == name.split("/")[1].split("-")[0], "V07", "a trail note has another size than its name")
            need(note.size <= self.size, "V07", "a trail note is beyond the checkpoint")
            self.quorum_met += policy.met(found)[0]
            notes.append((note, found, sha256(data)))
            hashes.add(sha256(data))
        for name in self.tar.under(self.folder, "time/"):
            over = contents("trail/" + name.split("/")[1].removesuffix(".tsr"), 65_536)
            need(sha256(over) in contents(name, 65_536), "V07", "a timestamp is not over the trail note of its name")
        if sha256(self.note) not in hashes:
            notes.append((final, times, sha256(self.note)))
            self.quorum_met += 1
        self.roots, self.pins, self.steps = {}, {}, []
        for note, found, digest in notes:
            need(self.roots.setdefault(note.size, note.root) == note.root, "V07", "two signed trees of one size differ")
            known = [t for t in found if t is not None]
            if known:
                self.pins[digest] = min(known)
        self.cosigned = {name: sum(found[i] is not None for _, found, _ in notes) for i, (name, _) in enumerate(policy.witnesses)}
        earliest = [None] * len(policy.witnesses)
        for note, found, _ in sorted(notes, key=lambda n: -n[0].size):
            earliest = [min(x) if (x := [t for t in pair if t is not None]) else None for pair in zip(earliest, found)]
            met, when = policy.met(earliest)
            outside = [t for (name, _), t in zip(policy.witnesses, earliest) if t is not None and self.options.collector not in (None, name)]
            independent = max(min(outside), when or 0) if outside and met else None
            step = (note.size, when, independent, any(t is not None for t in earliest))
            if self.steps and self.steps[-1][0] == note.size:
                self.steps[-1] = step
            else:
                self.steps.append(step)
        self.steps.reverse()
        self.sizes = [step[0] for step in self.steps]

    def read_controls(self, contents):
        self.blobs = {}
        for name in self.tar.under(self.folder, "blobs/"):
            body = contents(name, 16 << 20)
            need(leaf_hash(body).hex() == name.split("/")[1], "E15", "a blob is not what its name says")
            self.blobs[leaf_hash(body)] = body
        entries, used = [], set()
        names = sorted(int(n.split("/")[1].split(".")[0]) for n in self.tar.under(self.folder, "control/") if n.endswith(".entry"))
        for index in names:
            data = contents(f"control/{index}.entry", 65_535)
            try:
                entry = Entry(data, self.origin)
            except Failure as failure:
                failure.index = index
                raise
            self.check_proof(contents(f"control/{index}.proof", 262_144), entry, index)
            if entry.kind == 0 and entry.payload:
                used.add(entry.payload[0])
            entries.append(entry)
        need(set(self.blobs) <= used, "V10", "a blob that no control entry names")
        self.controls = []
        for entry in entries:
            self.controls.append((entry, self.body(entry)))
        self.by_index = {entry.index: leaf_hash(entry.bytes) for entry, _ in self.controls}
        options = self.options
        self.configurations = Configurations(self.controls, approved_entries(self.origin, self.controls, options.approvers))
        self.revocations = revocations_of(self.origin, self.controls, self.steps, self.size, options)
        self.void = min((r["void_from"] for r in self.revocations if r["void_from"] is not None), default=None)
        self.placed = [p for entry, body in self.controls if entry.control == 9 and not self.is_void(entry.index) for p in body["placed"]]
        self.gone = [(body["from"], body["to"]) for entry, body in self.controls if entry.control == 15]

    def is_void(self, index):
        return self.void is not None and index >= self.void

    def body(self, entry):
        try:
            need(entry.kind == 0, "E19", "not a control entry")
            data = entry.body
            if data is None:
                root, chunks, length = entry.payload
                data = self.blobs.get(root)
                need(data is not None, "E14", "a control body is missing")
                need(len(data) == length, "E14", "the length of a control body")
                need(chunks == 1, "E15", "a control body is one chunk")
            return control_body(entry.control, data)
        except Failure as failure:
            failure.index = entry.index
            raise

    def check_proof(self, data, entry, index):
        fail = lambda why: Failure("V05", f"the proof of the control entry: {why}", index)
        try:
            head, blank, note = data.decode("utf-8").partition("\n\n")
        except UnicodeDecodeError:
            raise fail("not UTF-8") from None
        lines = head.split("\n")
        hashes = [unbase64(line) for line in lines[2:]]
        if not blank or lines[0] != "c2sp.org/tlog-proof@v1" or note.encode() != self.note or any(not h or len(h) != 32 for h in hashes):
            raise fail("form or checkpoint")
        if len(lines) < 2 or lines[1] != f"index {index}" or entry.index != index:
            raise fail("index")
        if not included(leaf_hash(entry.bytes), index, self.size, hashes, self.root):
            raise fail("it leads to another root")

    def shift(self, entry):
        return next((s for stream, low, high, s in self.placed if stream == entry.stream and low <= entry.index <= high), None)

    def entries(self):
        """(position, entry bytes) of entries.bin."""
        at, size = self.tar.files[self.base + "entries.bin"]
        end, held, begin = at + size, b"", 0
        while True:
            if len(held) - begin < 65_537 and at < end:
                more = self.tar.read(at, min(1 << 20, end - at))
                at += len(more)
                held, begin = held[begin:] + more, 0
            if begin == len(held):
                return
            length = int.from_bytes(held[begin:begin + 2], "big")
            need(begin + 2 + length <= len(held) and len(held) - begin >= 2, "V10", "entries.bin ends inside an entry", self.chain.range.size)
            yield held[begin + 2:begin + 2 + length]
            begin += 2 + length

    def verify(self, sink):
        """The pass. `sink(log, first position, ticks, tick_ms, columns)` gets every data entry that counts."""
        chain = self.chain
        at, left = self.tar.files[self.base + "payload.bin"]
        self.axes, self.not_good, self.samples, self.dropped, self.met = {}, {}, 0, 0, 0
        self.within, self.classes = [0] * 5, [0] * 3
        self.extra = {"no_lower": 0, "no_upper": 0, "widest_s": 0, "latest_s": 0, "outside": 0, "pins_trusted": 0, "pins_unknown": 0}
        # Counted only: their signatures are for `openssl ts -verify`.
        self.extra |= {"timestamps": len(self.tar.under(self.folder, "time/")), "timestamps_verified": 0}
        self.extra |= {"timestamps_checked": False, "timestamp_error": None, "stamped": 0}
        self.pinned = self.outside = None
        self.covered, self.relevant, self.found, self.keys = {}, set(), set(), []
        self.active_at_void = None
        self.config_index = max((e.index for e, _ in self.controls if e.control == 2 and e.index < self.first), default=None)
        if self.void is not None and self.void <= self.first:
            self.active_at_void = {s for s, v in chain.streams.items() if v["active"]}
        self.take_config()
        workers = Workers(self.size - self.first, set(self.points) if self.options.decode else None, lambda meta, opened: self.opened(sink, meta, opened),
                          self.options.processes)
        try:
            for data in self.entries():
                try:
                    entry, key, shift, tick, gone, counted = self.step(data)
                    payload = None
                    if entry.kind == 1 and not gone and self.disclosure != "C":
                        length = entry.payload[2]
                        if self.disclosure == "B":
                            need(left >= 4, "V10", "payload.bin ends before the length of a part", entry.index)
                            most, length = length + 32 * entry.payload[1], int.from_bytes(self.tar.read(at, 4), "big")
                            at, left = at + 4, left - 4
                            need(length <= min(most, left), "E14", "a part is longer than what was signed can be", entry.index)
                        if length > left:
                            good = signed_by(key, entry.signature, entry.message)
                            raise Failure("E14" if good else "E06", "the payload is shorter than signed", entry.index)
                        payload = self.tar.read(at, length)
                        at, left = at + length, left - length
                except Failure:
                    # What stands before is named first, if it is wrong.
                    workers.finish()
                    raise
                if entry.kind:
                    meta = (counted, None if shift is None else entry.first + shift, entry.count, tick)
                    workers.add(meta, entry.index, key, entry.signature, entry.message, payload, entry.payload, chain.config.body, entry.stream, entry.count, tick, self.shown)
            workers.finish()
        finally:
            workers.stop()
        return self.finish(left)

    def opened(self, sink, meta, opened):
        counted, first, ticks, tick = meta
        if opened is None:
            return
        columns, samples, bad = opened
        self.samples += samples
        for code, count in bad.items():
            self.not_good[code] = self.not_good.get(code, 0) + count
        if counted and first is not None and columns:
            sink(self, first, ticks, tick, columns)

    def step(self, data):
        """Everything about the next entry that needs the order of entries."""
        chain = self.chain
        i = chain.range.size
        need(i < self.size, "V10", "an entry behind the last one of the checkpoint", i)
        if i == self.void:
            self.active_at_void = {s for s, v in chain.streams.items() if v["active"]}
        try:
            entry = Entry(data, self.origin)
            key, shift, tick, _ = chain.accept(entry, (lambda: self.body(entry)) if entry.kind == 0 else None)
        except Failure as failure:
            failure.index = i
            raise
        known = self.by_index.get(i)
        need((entry.kind == 0) == (known is not None) and known in (None, chain.previous), "V06", "not the control entry that was proven", i)
        if i + 1 in self.roots:
            same = chain.range.root() == self.roots[i + 1]
            need(same or entry.kind == 0 or signed_by(key, entry.signature, entry.message), "E06", "the signature does not verify", i)
            need(same, "V08", f"the root over {i + 1} entries", i)
            self.met += 1
        counted = (self.hand_over is None or i <= self.hand_over[0]) and not self.is_void(i)
        need(self.hand_over is None or i != self.hand_over[0] or chain.previous == self.hand_over[1], "V16", "the successor names another entry", i)
        if entry.freshness:
            time = self.pins.get(entry.freshness[1]) if entry.freshness[0] == 1 else None
            self.extra["pins_unknown" if time is None else "pins_trusted"] += 1
            if time is not None:
                self.pinned = max(time, self.pinned or 0)
        if not self.keys or self.keys[-1] != entry.kid:
            self.keys.append(entry.kid)
        if entry.kind == 0 and entry.control == 2:
            self.config_index = i
            if not self.is_void(i):
                self.take_config()
        gone = entry.kind == 1 and any(low <= i <= high for low, high in self.gone)
        self.dropped += gone
        if entry.kind and shift is None:
            shift = self.shift(entry)
        if counted and entry.kind:
            what = entry.reason if entry.kind == 2 else "storage" if gone else None
            if self.place(entry, shift, tick, what) and self.outside is None:
                self.outside = i
        return entry, key, shift, tick, gone, counted

    def finish(self, left):
        chain, options, failures = self.chain, self.options, []
        if chain.range.size != self.size:
            failures.append(Failure("V09", f"the entries end at {chain.range.size}, the checkpoint covers {self.size}"))
        elif left:
            failures.append(Failure("V10", f"{left} bytes of payload that no entry signed"))
        if self.hand_over and self.hand_over[0] >= self.size:
            failures.append(Failure("V09", "the entry that the successor names is not in the bundle"))
        for stream, state in chain.streams.items():
            if stream not in self.axes:
                self.axes[stream] = Axis(state["tick"], options.t0, options.t1, self.first == 0 or stream not in self.at_start)
        streams = []
        for stream, axis in sorted(self.axes.items()):
            ended = not chain.streams[stream]["active"] if self.active_at_void is None else stream not in self.active_at_void
            facts, problem = axis.finish(stream, self.succeeds, self.hand_over is not None, ended)
            facts["relevant"] = stream in self.relevant
            if problem and facts["relevant"] and self.void is not None and problem.code in ("V11", "V12"):
                failures.append(Failure("V23", f"stream {stream}: ticks of the period are void from entry {self.void} on"))
            elif problem and (problem.code == "V14" or facts["relevant"] and chain.range.size == self.size):
                failures.append(problem)
            streams.append(facts)
        failures += [Failure("V13", f"point {name} is in no configuration") for name in self.points if name not in self.found]
        unapproved = self.configurations.unapproved()
        if unapproved and options.approvals == "required":
            failures.append(Failure("V24", "the configuration is not approved", unapproved[0]["index"]))
        if self.outside is not None:
            failures.append(Failure("V15", "a claimed time outside its bracket", self.outside))
        self.facts = {
            "origin": self.origin, "first": self.first, "size": self.size, "root": self.root.hex(), "controls": len(self.controls),
            "entry_keys": len(self.keys), "cosigned": self.cosigned, "quorum_met": self.quorum_met, "roots": self.met,
            "dropped": self.dropped, "unapproved": unapproved, "revocations": self.revocations, "void_from": self.void, "streams": streams, "complete": True, "samples": self.samples,
            "not_good": {str(code): n for code, n in sorted(self.not_good.items())},
            "disclosure": self.disclosure, "time": {"within": self.within, "classes": self.classes, **self.extra},
        }
        if not options.decode:
            del self.facts["samples"], self.facts["not_good"]
        return failures

    def take_config(self):
        if self.chain.config:
            self.carried = {}
            for p in self.chain.config.points:
                if p["name"] in self.points:
                    self.carried.setdefault(p["stream"], []).append(p["name"])
                    self.relevant.add(p["stream"])
                    self.found.add(p["name"])
        else:
            self.carried = {}

    def place(self, entry, shift, tick, what):
        """Accounts for the ticks of an entry; whether its claimed time is outside its bracket."""
        options = self.options
        axis = self.axes.get(entry.stream)
        if axis is None:
            begins = self.first == 0 or entry.stream not in self.at_start
            axis = self.axes[entry.stream] = Axis(tick, options.t0, options.t1, begins)
        if shift is None:
            axis.unplaced += entry.count
            return False
        ticks = axis.take(entry.first + shift, entry.count, what)
        self.configurations.use(self.config_index, ticks)
        start, end = (entry.first + shift) * tick, (entry.first + entry.count + shift) * tick
        for name in self.carried.get(entry.stream, ()):
            low, high = self.covered.get(name, (start, end))
            self.covered[name] = (min(low, start), max(high, end))
        at = bisect.bisect_right(self.sizes, entry.index)
        step = self.steps[at] if at < len(self.steps) else None
        before, after = step[1] if step else None, self.pinned
        claimed = max(end // 1000, 0)
        if before is None:
            self.extra["no_upper"] += ticks
        elif after is None:
            self.extra["no_lower"] += ticks
        else:
            width = max(0, before - after)
            self.within[sum(width > most for most in (300, 4200, 86_400, 604_800))] += ticks
            self.extra["widest_s"] = max(self.extra["widest_s"], width if ticks else 0)
        if before is not None and ticks:
            self.extra["latest_s"] = max(self.extra["latest_s"], before - claimed)
        late = step and step[2] is not None and step[2] <= claimed + options.max_delay_s
        self.classes[2 if late else 1 if step and step[3] else 0] += ticks
        outside = before is not None and end > before * 1000 + options.tolerance_ms
        outside = outside or after is not None and end < after * 1000 - options.tolerance_ms
        self.extra["outside"] += outside
        return outside
