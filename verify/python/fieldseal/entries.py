"""Entries, control bodies and measurement tables: F2, F6, F7."""
import re

from .cbor import Cbor, cbor_bytes, integer, listed, raw, text, uint
from .failures import Failure, need
from .notes import good_key


class Entry:
    def __init__(self, data, origin):
        bad = Failure("E01", "the entry is malformed")
        if len(data) > 65_535 or data[:2] != b"\xd2\x84":
            raise bad
        reader = Cbor(data, "E01")
        reader.at = 2
        protected, unprotected_at = reader.value(), reader.at
        if data[unprotected_at:unprotected_at + 1] != b"\xa0" or not raw(protected, 13) or protected[:5] != b"\xa2\x01\x32\x04\x48":
            raise bad
        reader.at += 1
        payload, self.signature = reader.value(), reader.value()
        if not isinstance(payload, bytes) or not raw(self.signature, 64) or reader.at != len(data):
            raise bad
        self.bytes, self.kid = data, protected[5:]
        aad = b"fieldseal/entry/v1\n" + origin.encode()
        self.message = b"\x84\x6aSignature1" + cbor_bytes(protected) + cbor_bytes(aad) + cbor_bytes(payload)
        m = Cbor(payload, "E01").whole()
        if not isinstance(m, dict):
            raise bad
        kind, index = m.get(0), m.get(1)
        ok = uint(kind, 2) and uint(index) and raw(m.get(2), 32)
        ok = ok and listed(m.get(5), 3) and uint(m[5][0]) and raw(m[5][1], 8) and uint(m[5][2])
        ok = ok and listed(m.get(6), 3) and all(map(uint, m[6])) and m[6][1] <= 3
        if not ok:
            raise bad
        wanted = {0, 1, 2, 5, 6}
        self.pin = self.freshness = None
        if index:
            wanted |= {3, 4}
            if not (listed(m.get(3), 2) and uint(m[3][0]) and raw(m[3][1], 32)) or 4 not in m:
                raise bad
            self.pin = tuple(m[3])
            if m[4] is not None:
                if not (listed(m[4], 2) and uint(m[4][0]) and raw(m[4][1], 32)):
                    raise bad
                need(1 <= m[4][0] <= 3, "E12", "the freshness kind is unknown")
                self.freshness = tuple(m[4])
        self.stream = 0
        if kind:
            if 9 in m:
                wanted.add(9)
                self.stream = m[9]
                if not uint(m[9], 65_535) or m[9] == 0:
                    raise bad
            wanted |= {10, 11}
            if not (uint(m.get(10)) and uint(m.get(11))):
                raise bad
            self.first, self.count = m[10], m[11]
        self.payload = None
        if kind == 1 or kind == 0 and 12 in m:
            wanted |= {12, 13, 14}
            if not (raw(m.get(12), 32) and uint(m.get(13)) and uint(m.get(14), 1 << 25) and m[13] <= m[14]):
                raise bad
            self.payload = (m[12], m[13], m[14])
        if kind == 2:
            wanted.add(15)
            self.reason = {1: "startup", 2: "power", 6: "storage", 7: "operator"}.get(m.get(15))
            if self.reason is None or isinstance(m[15], bool):
                raise bad
            if 16 in m:
                wanted.add(16)
                if not text(m[16], 200):
                    raise bad
        if kind == 0:
            wanted.add(20)
            self.control = m.get(20)
            self.body = None
            if not uint(self.control):
                raise bad
            if self.payload is None:
                wanted.add(21)
                self.body = m.get(21)
                if not isinstance(self.body, bytes) or len(self.body) > 8192:
                    raise bad
        if set(m) != wanted:
            raise bad
        self.kind, self.index, self.previous, self.boot, self.clock = kind, index, m[2], m[5], m[6]


def decimal_pair(v):
    return listed(v, 2) and integer(v[0]) and uint(v[1], 15)


def device_shape(body):
    """What the body of kind 10 must have: it depends on its event."""
    shape = {"device": text, "identity": text}
    if not isinstance(body, dict) or "event" not in body:
        return shape
    shape |= {"event": lambda v: v in ("seen", "exchanged", "changed", "confirmed"), "readings": device_readings}
    if body["event"] == "confirmed":
        shape |= {k: lambda v: text(v) and v.strip(" ") != "" for k in ("person", "reason")}
    return shape


def device_readings(v):
    ok = listed(v) and 1 <= len(v) <= 1000 and all(listed(r, 4) and all(text(f, 500) for f in r[:3]) for r in v)
    ok = ok and all(r[0] in ("identity", "setting") and isinstance(r[3], bytes) and len(r[3]) % 2 == 0 and len(r[3]) <= 250 for r in v)
    names = [(r[0], r[1].encode()) for r in v] if ok else []
    return ok and all(a < b for a, b in zip(names, names[1:]))


def control_body(kind, data):
    """The body of a control entry as a dict; refuses what F6 and F7 refuse."""
    need(not 32 <= kind <= 42, "E31", "a record of a project log in another log")
    if kind == 2:
        return Config(data)
    h32, t, u = (lambda v: raw(v, 32)), text, uint
    shapes = {
        1: {"format": lambda v: v == 1 and v is not True, "origin": t, "log_key": h32, "software": t, "entry_key": h32},
        3: {"key": h32}, 4: {"key": h32, "since": u, "key_id": lambda v: raw(v, 8), "reason": t, "signature": lambda v: raw(v, 64)}, 5: {"binary": h32, "version": t},
        8: {"to": u, "from": u, "text": t, "person": t},
        9: {"note": t, "source": lambda v: uint(v, 3), "error_ms": u,
            "placed": lambda v: listed(v) and all(listed(p, 4) and uint(p[0], 65_535) and uint(p[1]) and uint(p[2]) and integer(p[3]) for p in v),
            "shifts": lambda v: listed(v) and all(listed(s, 2) and uint(s[0], 65_535) and integer(s[1]) for s in v)},
        12: {"origin": t, "reason": t, "last_leaf": h32, "last_index": u},
        14: {"text": t, "attachments": lambda v: listed(v) and all(raw(a, 32) for a in v)},
        15: {"to": u, "from": u, "reason": t},
        16: {"key": h32, "leaf": h32, "index": u, "signature": lambda v: raw(v, 64)},
    }
    body = Cbor(data, "E19").whole()
    shapes[10] = device_shape(body)
    shape = shapes.get(kind)
    if kind == 8 and isinstance(body, dict) and "person" not in body:
        shape = {k: v for k, v in shape.items() if k != "person"}
    need(shape is not None, "E19", f"control kind {kind} is unknown")
    need(isinstance(body, dict) and set(body) == set(shape) and all(shape[k](body[k]) for k in shape), "E19", f"the body of control kind {kind} is malformed")
    for k in ("log_key", "entry_key", "key"):
        need(k not in body or good_key(body[k]), "E05", "a key of small order")
    return body


TYPES = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "u64": 4, "i64": 4, "f32": 2, "f64": 4, "bcd16": 1, "bcd32": 2, "bcd64": 4, "text": 0, "number": 0}
BIT = re.compile("bit(?:[0-9]|1[0-5])")
BITS = re.compile("bits([0-9]|1[0-5])-([0-9]|1[0-5])")
WHOLE = ("u16", "i16", "u32", "i32", "u64", "i64")


class Config:
    """The measurement table, F7."""

    def __init__(self, data):
        self.body = data
        m = Cbor(data, "E20").whole()
        bad = Failure("E20", "the configuration breaks its rules")
        ok = isinstance(m, dict) and set(m) == {"points", "devices", "streams"} and all(listed(v) and len(v) <= 10_000 for v in m.values())
        if not ok:
            raise bad
        self.streams, last = {}, -1
        for s in m["streams"]:
            if not (listed(s, 4) and uint(s[0], 65_535) and uint(s[1], 2**32 - 1) and uint(s[2]) and isinstance(s[3], bool)):
                raise bad
            if s[0] <= last or s[1] == 0 or 3_600_000 % s[1]:
                raise bad
            last = s[0]
            self.streams[s[0]] = s
        for d in m["devices"]:
            if not isinstance(d, dict) or not {"name", "path", "protocol"} <= set(d) <= {"name", "path", "protocol", "unit_id", "template"}:
                raise bad
        self.devices = m["devices"]
        self.points, names = [], set()
        for p in m["points"]:
            if not isinstance(p, dict) or not self.point(p, len(m["devices"])) or p["name"] in names:
                raise bad
            names.add(p["name"])
            self.points.append(p)
        if not all(self.scale_factor(p) for p in self.points if "scale_from" in p):
            raise bad
        self.of_stream = {s: [i for i, p in enumerate(self.points) if p["stream"] == s] for s in self.streams}

    def point(self, p, devices):
        required = {"kind", "name", "unit", "scale", "device", "format", "offset", "source", "stream", "decimals"}
        if not required <= set(p) <= required | {"max", "min", "max_step", "sentinels", "scale_from", "stale_after_s"}:
            return False
        ok = text(p["name"], 200) and p["name"] and p["kind"] in ("register", "instant") and uint(p["decimals"], 15)
        ok = ok and uint(p["device"]) and p["device"] < devices and p["stream"] in self.streams and decimal_pair(p["scale"]) and decimal_pair(p["offset"])
        ok = ok and all(k not in p or decimal_pair(p[k]) for k in ("max", "min", "max_step"))
        ok = ok and listed(p.get("sentinels", [0])) and p.get("sentinels", [0]) and listed(p["format"], 2) and listed(p["source"])
        if not ok:
            return False
        kind, order = p["format"]
        bit, field = BIT.fullmatch(kind), BITS.fullmatch(kind)
        if order not in ("ABCD", "CDAB", "BADC", "DCBA") or not (kind in TYPES or bit or field and int(field[1]) < int(field[2])):
            return False
        message = p["source"][:1] == ["message"]
        if message != (kind == "number") or message != self.streams[p["stream"]][3]:
            return False
        grid = lambda v: v[0] % 10 ** max(0, v[1] - p["decimals"]) == 0
        neutral = self.on_grid(p, p["scale"]) == 10 ** p["decimals"] and p["offset"][0] == 0
        if (bit or kind in ("f32", "f64", "text", "number")) and not neutral:
            return False
        return p["scale"][0] != 0 and all(grid(p[k]) for k in ("scale", "offset", "min", "max") if k in p)

    def scale_factor(self, p):
        """What a point with a scale factor and the point that holds it must be."""
        if not uint(p["scale_from"]) or p["scale_from"] >= len(self.points):
            return False
        f = self.points[p["scale_from"]]
        plain = lambda q: self.on_grid(q, q["scale"]) == 10 ** q["decimals"] and q["offset"][0] == 0
        ok = p["format"][0] in WHOLE and plain(p) and (f["stream"], f["device"]) == (p["stream"], p["device"])
        return ok and f["format"][0] == "i16" and f["decimals"] == 0 and plain(f) and f["kind"] == "instant" and "scale_from" not in f

    @staticmethod
    def on_grid(p, v):
        return v[0] * 10 ** p["decimals"] // 10 ** v[1]
