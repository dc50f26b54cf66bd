"""What may stand next, F8."""
from .failures import need
from .notes import key_id, signed_by
from .tree import Range, leaf_hash


class Chain:
    """What may stand next, F8."""

    def __init__(self, origin):
        self.origin, self.range, self.previous, self.pin = origin, Range(), None, None
        self.genesis = self.key = self.config = self.boot = self.unset_since = None
        self.retired, self.streams, self.kinds, self.placed_to = [], {}, {}, {}
        self.clock_lost = self.boot_unseen = False
        self.known_boot = True

    def control(self, entry, body):
        """Applies a control entry that was accepted."""
        kind, index = entry.control, entry.index
        if kind == 1:
            self.genesis, self.key = body, body["entry_key"]
        elif kind == 2:
            for s in self.streams.values():
                s["active"] = False
            for s in body.streams.values():
                self.streams.setdefault(s[0], {"next": s[2], "shift": 0, "tick": s[1]})["active"] = True
            for p in body.points:
                self.kinds[p["name"]] = p["kind"]
            self.config = body
        elif kind == 3:
            self.retired.append(key_id(self.key))
            self.key = body["key"]
        elif kind == 9:
            for stream, shift in body["shifts"]:
                if stream in self.streams:
                    self.streams[stream]["shift"] = shift
            self.clock_lost, self.unset_since = False, None
            for stream, _, high, _ in body["placed"]:
                self.placed_to[stream] = high
        self.pin = (index, leaf_hash(entry.bytes))

    def key_for(self, entry, body):
        if entry.kind == 0 and entry.control == 1 and self.key is None:
            return body["entry_key"]
        need(self.key is not None, "E11", "no genesis entry", entry.index)
        return self.key

    def resume(self, entries, size):
        """Check 3: the control entries below a size as one chain."""
        least = 0
        for entry, body in entries:
            if entry.index >= size:
                break
            i = entry.index
            need(i >= least, "E02", "control entries out of order", i)
            need(entry.pin == self.pin, "E04", "the control pin", i)
            first = entry.control == 1
            need(first == (self.key is None), "E11", "genesis", i)
            need(not first or i == 0 and body["origin"] == self.origin, "E11", "genesis of another log", i)
            key = self.key_for(entry, body)
            need(entry.kid == key_id(key), "E05", "signed by a key that is not in force", i)
            need(signed_by(key, entry.signature, entry.message), "E06", "the signature does not verify", i)
            need(entry.control != 4 or body["key_id"] in self.retired, "E05", "revocation of a key that was not replaced", i)
            need(entry.control != 15 or body["from"] <= body["to"] < i, "E14", "a dropped range before its declaration", i)
            if entry.control == 9:
                self.check_placed(body["placed"], i)
            self.control(entry, body)
            least = i + 1
        need(self.genesis is not None or size == 0, "E11", "no genesis entry", 0)
        for s in self.streams.values():
            s["next"] = None
        self.boot_unseen = size > 0

    def accept(self, entry, body):
        """Checks order and state; returns (key, shift, tick_ms) and takes the entry in."""
        i = self.range.size
        need(entry.index == i, "E02", f"the entry says {entry.index} and stands at {i}", i)
        need(entry.previous == (self.previous or (bytes(32) if i == 0 else entry.previous)), "E03", "the previous-entry hash", i)
        need(entry.pin == self.pin, "E04", "the control pin", i)
        if self.boot:
            counter, boot_id, ms = self.boot
            need((boot_id == entry.boot[1]) == (counter == entry.boot[0]) and entry.boot[0] >= counter, "E10", "boot counter and id", i)
            need(boot_id != entry.boot[1] or entry.boot[2] >= ms, "E10", "monotonic time decreased", i)
        if callable(body):
            body = body()
        key = self.key_for(entry, body)
        need(entry.kid == key_id(key), "E05", "signed by a key that is not in force", i)
        if entry.kind == 0:
            self.check_control(entry, body)
        shift, tick = None, 0
        if entry.kind:
            s = self.streams.get(entry.stream)
            need(s is not None and s["active"], "E09", "the stream is not in force", i)
            trusted = entry.clock[1] != 0
            need(not (trusted and self.clock_lost), "E13", "a time without a clock event", i)
            shift, tick = (s["shift"] if trusted else None), s["tick"]
            if s["next"] is not None:
                need(entry.first <= s["next"], "E07", f"tick gap: {s['next']} expected, {entry.first} found", i)
                need(entry.first >= s["next"], "E08", f"tick overlap: {s['next']} expected, {entry.first} found", i)
            self.check_shape(entry, shift, tick)
        if entry.kind == 0:
            need(signed_by(key, entry.signature, entry.message), "E06", "the signature does not verify", i)
        if self.boot and self.boot[1] != entry.boot[1]:
            self.unset_since, self.boot_unseen = None, False
        self.boot = entry.boot
        if entry.clock[1] == 0:
            self.clock_lost = True
            self.unset_since = i if self.unset_since is None else self.unset_since
        if entry.kind:
            self.streams[entry.stream]["next"] = entry.first + entry.count
        self.previous = leaf_hash(entry.bytes)
        if entry.kind == 0:
            self.control(entry, body)
        self.range.append(self.previous)
        return key, shift, tick, body

    @staticmethod
    def check_shape(entry, shift, tick):
        if entry.kind == 2:
            need(entry.count > 0 and entry.first + entry.count < 1 << 64, "E09", "the ticks of a gap", entry.index)
            return
        ok = 0 < entry.count <= min(3_600_000 // tick, 65_535) and entry.count * entry.payload[1] <= 1 << 22
        if ok and shift is not None:
            first, last = ((entry.first + n + shift) * tick // 3_600_000 for n in (0, entry.count - 1))
            ok = first == last
        need(ok, "E09", "more than an hour, or across one", entry.index)

    def check_control(self, entry, body):
        kind, i = entry.control, entry.index
        if kind == 1:
            need(self.genesis is None and body["origin"] == self.origin, "E11", "genesis", i)
        elif kind == 2:
            for s in body.streams.values():
                old = self.streams.get(s[0])
                if old:
                    need(old["next"] in (None, s[2]), "E20", "a stream does not start where its axis stands", i)
                    need(old["tick"] == s[1], "E20", "a stream changes its tick length", i)
            need(all(self.kinds.get(p["name"], p["kind"]) == p["kind"] for p in body.points), "E20", "a name changes its kind", i)
        elif kind == 4:
            need(body["key_id"] in self.retired, "E05", "revocation of a key that was not replaced", i)
        elif kind == 9:
            need(body["source"] and entry.clock[1], "E13", "a clock event without a source", i)
            active = sorted(s for s, v in self.streams.items() if v["active"])
            need([s for s, _ in body["shifts"]] == active, "E13", "a clock event gives every shift", i)
            since = (1 << 64) - 1 if self.unset_since is None else self.unset_since
            self.check_placed(body["placed"], i)
            need(self.boot_unseen or all(low >= since for _, low, _, _ in body["placed"]), "E13", "a clock event places other entries", i)
        elif kind == 15:
            need(body["from"] <= body["to"] < i, "E14", "a dropped range before its declaration", i)

    def check_placed(self, ranges, i):
        """An entry gets a time afterwards at most once: the ranges of a stream ascend over the whole log."""
        last, ends = -1, dict(self.placed_to)
        for stream, low, high, _ in ranges:
            need(stream in self.streams, "E09", "a clock event places an unknown stream", i)
            ok = last <= stream and ends.get(stream, -1) < low <= high < i
            need(ok, "E13", "placed ranges lie before the event and ascend", i)
            last, ends[stream] = stream, high
