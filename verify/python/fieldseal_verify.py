#!/usr/bin/env python3
"""A second, independent verifier of Fieldseal evidence bundles.

Written from evidence/FORMAT.md, with Python's standard library and the package `cryptography`. It checks
signatures, hashes, links, control chain, ticks, checkpoints, cosignatures and times, counts what
`fieldseal-verify --json` counts, and for periods of up to a month decodes every value and recomputes what
registers advanced and rates integrated to, and compares that with the report. It does not evaluate formulas.

Exit codes: 0 proven, 1 gaps beyond the limit, 2 integrity, 3 incomplete, 4 time or policy, 5 report, 6 input.
"""
import argparse, base64, binascii, hashlib, json, os, struct, sys, time, tomllib
from fractions import Fraction

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

INTEGRITY, MISSING, TIME, REPORT, INPUT = 2, 3, 4, 5, 6
CLASSES = {"V03": TIME, "V09": MISSING, "V11": MISSING, "V12": MISSING, "V13": MISSING, "V15": TIME, "V17": MISSING,
           "V20": REPORT, "V21": REPORT, "V22": REPORT}
MONTH_MS = 32 * 86_400_000
I64 = 1 << 63


class Failure(Exception):
    """A failed check: code of FORMAT.md V1, log, entry, words."""

    def __init__(self, code, text, index=None, exit_code=None):
        super().__init__(text)
        self.code, self.text, self.index, self.log = code, text, index, None
        self.exit = exit_code or CLASSES.get(code, INTEGRITY)


class Mistake(Exception):
    """Something is wrong with the verifier's own files or arguments."""


def need(condition, code, text, index=None):
    if not condition:
        raise Failure(code, text, index)


# ---- T2: hashes and trees

def sha256(data):
    return hashlib.sha256(data).digest()


def leaf_hash(data):
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


class Range:
    """The compact range: roots of the complete subtrees, largest first."""

    def __init__(self, size=0, hashes=()):
        self.size, self.hashes = size, list(hashes)

    def append(self, h):
        i = self.size
        while i & 1:
            h = node_hash(self.hashes.pop(), h)
            i >>= 1
        self.hashes.append(h)
        self.size += 1

    def root(self):
        if not self.hashes:
            return sha256(b"")
        r = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            r = node_hash(left, r)
        return r


def inner_root(leaves):
    """The same root level by level: the odd last node goes up as it is."""
    while len(leaves) > 1:
        up = [node_hash(leaves[i], leaves[i + 1]) for i in range(0, len(leaves) - 1, 2)]
        leaves = up + leaves[len(leaves) & ~1:]
    return leaves[0] if leaves else sha256(b"")


def included(h, index, size, proof, root):
    if index >= size:
        return False
    inner = (index ^ (size - 1)).bit_length()
    if len(proof) != inner + bin(index >> inner).count("1"):
        return False
    for j, other in enumerate(proof):
        h = node_hash(h, other) if j < inner and not index >> j & 1 else node_hash(other, h)
    return h == root


# ---- T3–T7: names, keys, notes, policies

SMALL_ORDER = {bytes.fromhex(x) for x in (
    "00" * 32, "01" + "00" * 31, "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ec" + "ff" * 30 + "7f", "ed" + "ff" * 30 + "7f", "ee" + "ff" * 30 + "7f")}
SPACES = set("\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {chr(c) for c in range(0x2000, 0x200B)}


def good_key(key):
    return len(key) == 32 and key[:31] + bytes([key[31] & 0x7F]) not in SMALL_ORDER


def key_id(key):
    return sha256(b"fieldseal/key/v1\n\x01" + key)[:8]


_keys = {}


def signed_by(key, signature, message):
    try:
        public = _keys.get(key)
        if public is None:
            public = _keys[key] = Ed25519PublicKey.from_public_bytes(key)
        public.verify(signature, message)
        return True
    except (InvalidSignature, ValueError):
        return False


def unbase64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None


def decimal(text):
    ok = text.isascii() and text.isdigit() and (text == "0" or text[0] != "0") and int(text) < 1 << 64
    return int(text) if ok else None


def is_key_name(name):
    return bool(name) and not any(c in SPACES or c == "+" for c in name)


class Vkey:
    def __init__(self, text):
        parts = text.split("+", 2)
        material = unbase64(parts[2]) if len(parts) == 3 else None
        if not material or len(material) != 33 or material[0] not in (1, 4) or not is_key_name(parts[0]) or not good_key(material[1:]):
            raise Mistake(f"`{text}` is no usable verifier key")
        self.name, self.kind, self.key = parts[0], material[0], material[1:]
        self.hash = sha256(self.name.encode() + b"\n" + material)[:4]
        if parts[1] != self.hash.hex():
            raise Mistake(f"the key hash of `{text}` does not fit")

    def __eq__(self, other):
        return (self.name, self.kind, self.key) == (other.name, other.kind, other.key)

    __hash__ = None


class Note:
    def __init__(self, data, code):
        need(len(data) <= 65_536, code, "a note is too long")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError:
            raise Failure(code, "a note is not UTF-8") from None
        need(all(b >= 0x20 or b == 10 for b in data) and whole.endswith("\n"), code, "a note has control characters or no end")
        text, blank, lines = whole[:-1].rpartition("\n\n")
        need(blank and lines, code, "a note has no signatures")
        lines = lines.split("\n")
        need(len(lines) <= 64, code, "a note has too many signatures")
        self.text, self.lines, self.code = text + "\n", [], code
        for line in lines:
            mark, _, rest = line.partition(" ")
            name, space, coded = rest.partition(" ")
            sig = unbase64(coded)
            need(mark == "—" and space and is_key_name(name) and sig and len(sig) >= 5, code, "a signature line is malformed")
            self.lines.append((name, sig[:4], sig[4:]))
        parts = self.text.split("\n")
        need(len(parts) == 4, code, "a checkpoint has three lines")
        self.origin, self.size, self.root = parts[0], decimal(parts[1]), unbase64(parts[2])
        bad = not parts[0] or len(parts[0].encode()) > 200 or any(c in SPACES or c == "+" or ord(c) < 32 or 127 <= ord(c) < 160 for c in parts[0])
        need(not bad and self.size is not None and self.size < I64 and self.root and len(self.root) == 32, code, "a checkpoint is malformed")
        need(self.size or self.root == sha256(b""), code, "an empty tree has another root")

    def by(self, vkey):
        """Times of verified lines of this key ([None] for a plain one); a bad line refuses the note."""
        times = []
        for name, key_hash, sig in self.lines:
            if (name, key_hash) != (vkey.name, vkey.hash):
                continue
            if vkey.kind == 1:
                need(len(sig) == 64 and signed_by(vkey.key, sig, self.text.encode()), self.code, f"the signature of {name} does not verify")
                times.append(None)
            else:
                need(len(sig) == 72, self.code, f"the cosignature of {name} is not 72 bytes")
                t = int.from_bytes(sig[:8], "big")
                message = f"cosignature/v1\ntime {t}\n{self.text}".encode()
                need(t < I64 and signed_by(vkey.key, sig[8:], message), self.code, f"the cosignature of {name} does not verify")
                times.append(t)
        return times


class Policy:
    def __init__(self, text):
        self.logs, self.witnesses, self.nodes, self.names, self.quorum, used = [], [], [], {}, "?", set()
        keys = []
        for number, line in enumerate(text.split("\n"), 1):
            words = line.replace("\t", " ").split(" ")
            words = [w for w in words if w]
            if not words or words[0].startswith("#"):
                continue
            try:
                kind, *rest = words
                if kind == "log" and len(rest) in (1, 2):
                    vkey = Vkey(rest[0])
                    assert vkey.kind == 1 and vkey.key not in keys
                    self.logs.append(vkey)
                    keys.append(vkey.key)
                elif kind == "witness" and len(rest) in (2, 3):
                    vkey = Vkey(rest[1])
                    assert vkey.kind == 4 and vkey.key not in keys and rest[0] not in self.names and rest[0] != "none"
                    keys.append(vkey.key)
                    self.names[rest[0]] = len(self.nodes)
                    self.nodes.append(len(self.witnesses))
                    self.witnesses.append((rest[0], vkey))
                elif kind == "group" and len(rest) >= 3:
                    name, k, *members = rest
                    assert name not in self.names and name != "none"
                    ids = [self.names[m] for m in members]
                    assert len(set(ids)) == len(ids) and not used & set(ids)
                    used |= set(ids)
                    k = {"any": 1, "all": len(ids)}.get(k) or int(k)
                    assert 1 <= k <= len(ids)
                    self.names[name] = len(self.nodes)
                    self.nodes.append((k, ids))
                elif kind == "quorum" and len(rest) == 1 and self.quorum == "?":
                    self.quorum = None if rest[0] == "none" else self.names[rest[0]]
                else:
                    raise AssertionError
            except (AssertionError, KeyError, ValueError, Mistake) as error:
                raise Mistake(f"policy, line {number}: cannot be used: {line!r} {error}") from None
        if self.quorum == "?":
            raise Mistake("the policy has no quorum line")

    def met(self, times):
        """(met, time) from the earliest time of each witness."""
        if self.quorum is None:
            return True, None
        done = []
        for node in self.nodes:
            if isinstance(node, int):
                done.append(times[node])
            else:
                have = sorted(done[m] for m in node[1] if done[m] is not None)
                done.append(have[node[0] - 1] if len(have) >= node[0] else None)
        return done[self.quorum] is not None, done[self.quorum]


# ---- F9: deterministic CBOR

class Cbor:
    """A strict reader; any violation is E01, or the code given."""

    def __init__(self, data, code):
        self.data, self.at, self.code = data, 0, code

    def fail(self):
        raise Failure(self.code, f"the CBOR at byte {self.at} is not what the format asks for")

    def head(self):
        if self.at >= len(self.data):
            self.fail()
        first = self.data[self.at]
        self.at += 1
        short = first & 31
        if short < 24:
            return first >> 5, short
        if short > 27:
            self.fail()
        n = 1 << (short - 24)
        value = int.from_bytes(self.data[self.at:self.at + n], "big")
        if self.at + n > len(self.data) or value < (24, 1 << 8, 1 << 16, 1 << 32)[short - 24]:
            self.fail()
        self.at += n
        return first >> 5, value

    def value(self):
        """Any value: int, bytes, str, list, dict (in order), None, True, False."""
        start = self.at
        major, n = self.head()
        if major == 0:
            return n
        if major == 1:
            if n >= I64:
                self.fail()
            return -1 - n
        if major in (2, 3):
            if n > len(self.data) - self.at:
                self.fail()
            raw = self.data[self.at:self.at + n]
            self.at += n
            if major == 2:
                return bytes(raw)
            try:
                return raw.decode("utf-8")
            except UnicodeDecodeError:
                self.fail()
        if n > len(self.data) - self.at and major in (4, 5):
            self.fail()
        if major == 4:
            return [self.value() for _ in range(n)]
        if major == 5:
            out, last = {}, b""
            for _ in range(n):
                begin = self.at
                key = self.value()
                encoded = self.data[begin:self.at]
                if encoded <= last or not isinstance(key, (int, str)) or isinstance(key, bool):
                    self.fail()
                last = encoded
                out[key] = self.value()
            return out
        simple = {0xF4: False, 0xF5: True, 0xF6: None}
        if self.data[start] not in simple:
            self.fail()
        return simple[self.data[start]]

    def whole(self):
        value = self.value()
        if self.at != len(self.data):
            self.fail()
        return value


def uint(v, most=(1 << 64) - 1):
    return isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= most


def integer(v):
    return isinstance(v, int) and not isinstance(v, bool) and -I64 <= v < I64


def text(v, most=4000):
    return isinstance(v, str) and len(v.encode()) <= most


def raw(v, n):
    return isinstance(v, bytes) and len(v) == n


def listed(v, n=None):
    return isinstance(v, list) and (n is None or len(v) == n)


def cbor_bytes(data):
    n = len(data)
    head = bytes([0x40 | n]) if n < 24 else bytes([0x58, n]) if n < 256 else b"\x59" + n.to_bytes(2, "big") if n < 65536 else b"\x5a" + n.to_bytes(4, "big")
    return head + data


# ---- F2, F6, F7: entries, control bodies, measurement tables

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
            if not (raw(m.get(12), 32) and uint(m.get(13)) and uint(m.get(14))):
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


def control_body(kind, data):
    """The body of a control entry as a dict; refuses what F6 and F7 refuse."""
    if kind == 2:
        return Config(data)
    h32, t, u = (lambda v: raw(v, 32)), text, uint
    shapes = {
        1: {"format": lambda v: v == 1 and v is not True, "origin": t, "log_key": h32, "software": t, "entry_key": h32},
        3: {"key": h32}, 4: {"key_id": lambda v: raw(v, 8), "reason": t}, 5: {"binary": h32, "version": t},
        8: {"to": u, "from": u, "text": t},
        9: {"note": t, "source": lambda v: uint(v, 3), "error_ms": u,
            "placed": lambda v: listed(v) and all(listed(p, 4) and uint(p[0], 65_535) and uint(p[1]) and uint(p[2]) and integer(p[3]) for p in v),
            "shifts": lambda v: listed(v) and all(listed(s, 2) and uint(s[0], 65_535) and integer(s[1]) for s in v)},
        10: {"device": t, "identity": t},
        12: {"origin": t, "reason": t, "last_leaf": h32, "last_index": u},
        14: {"text": t, "attachments": lambda v: listed(v) and all(raw(a, 32) for a in v)},
        15: {"to": u, "from": u, "reason": t},
        16: {"key": h32, "leaf": h32, "index": u, "signature": lambda v: raw(v, 64)},
    }
    body = Cbor(data, "E19").whole()
    shape = shapes.get(kind)
    need(shape is not None, "E19", f"control kind {kind} is unknown")
    need(isinstance(body, dict) and set(body) == set(shape) and all(shape[k](body[k]) for k in shape), "E19", f"the body of control kind {kind} is malformed")
    for k in ("log_key", "entry_key", "key"):
        need(k not in body or good_key(body[k]), "E05", "a key of small order")
    return body


TYPES = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "u64": 4, "i64": 4, "f32": 2, "f64": 4, "bcd16": 1, "bcd32": 2, "text": 0, "number": 0}
RANGES = {"u16": (0, 65_535), "bcd16": (0, 65_535), "bit": (0, 65_535), "i16": (-32_768, 32_767), "u32": (0, 2**32 - 1),
          "f32": (0, 2**32 - 1), "bcd32": (0, 2**32 - 1), "i32": (-2**31, 2**31 - 1)}


class Config:
    """The measurement table, F7."""

    def __init__(self, data):
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
        self.points, names = [], set()
        for p in m["points"]:
            if not isinstance(p, dict) or not self.point(p, len(m["devices"])) or p["name"] in names:
                raise bad
            names.add(p["name"])
            self.points.append(p)
        self.of_stream = {s: [i for i, p in enumerate(self.points) if p["stream"] == s] for s in self.streams}

    def point(self, p, devices):
        required = {"kind", "name", "unit", "scale", "device", "format", "offset", "source", "stream", "decimals"}
        if not required <= set(p) <= required | {"max", "min", "max_step", "sentinels", "stale_after_s"}:
            return False
        ok = text(p["name"], 200) and p["name"] and p["kind"] in ("register", "instant") and uint(p["decimals"], 15)
        ok = ok and uint(p["device"]) and p["device"] < devices and p["stream"] in self.streams and decimal_pair(p["scale"]) and decimal_pair(p["offset"])
        ok = ok and all(k not in p or decimal_pair(p[k]) for k in ("max", "min", "max_step"))
        ok = ok and listed(p.get("sentinels", [0])) and p.get("sentinels", [0]) and listed(p["format"], 2) and listed(p["source"])
        if not ok:
            return False
        kind, order = p["format"]
        bit = kind[3:] if kind.startswith("bit") else None
        if order not in ("ABCD", "CDAB", "BADC", "DCBA") or not (kind in TYPES or bit in map(str, range(16))):
            return False
        message = p["source"][:1] == ["message"]
        if message != (kind == "number") or message != self.streams[p["stream"]][3]:
            return False
        grid = lambda v: v[0] % 10 ** max(0, v[1] - p["decimals"]) == 0
        neutral = self.on_grid(p, p["scale"]) == 10 ** p["decimals"] and p["offset"][0] == 0
        if (bit or kind in ("f32", "f64", "text", "number")) and not neutral:
            return False
        return p["scale"][0] != 0 and all(grid(p[k]) for k in ("scale", "offset", "min", "max") if k in p)

    @staticmethod
    def on_grid(p, v):
        return v[0] * 10 ** p["decimals"] // 10 ** v[1]


# ---- F3, F5: chunks and values

def split_chunks(payload):
    """[(header, chunk, offsets, column, records)] or E16."""
    chunks, at = [], 0
    while at < len(payload):
        need(len(payload) - at >= 16, "E16", "a chunk ends early")
        codec, w, point, n, e, first = struct.unpack_from("<BBHHHq", payload, at)
        texts = codec == 2 or codec == 3 and w == 255
        need(codec in (1, 2, 3) and (codec != 2 or w == 0) and (texts or w <= 56), "E16", "codec or width of a chunk")
        need(not ((texts or n == 0) and first) and (n or codec == 3 and not texts), "E16", "a field of a chunk must be zero")
        column = at + 16 + (4 * n if codec == 3 else 0)
        if texts:
            end = column
            for _ in range(n):
                need(end + 2 <= len(payload), "E16", "a chunk ends early")
                end += 2 + int.from_bytes(payload[end:end + 2], "little")
        else:
            end = column + (max(n - 1, 0) * w + 7) // 8
        stop = end + 4 * e
        need(stop <= len(payload), "E16", "a chunk ends early")
        chunks.append(((codec, w, point, n, e, first, texts), at, column, end, stop))
        at = stop
    return chunks


def chunk_samples(payload, chunk):
    """(values or texts, offsets, records) of a chunk in the one encoding of F3, or E16."""
    (codec, w, _, n, e, first, texts), at, column, end, stop = chunk
    if texts:
        values, p = [], column
        for _ in range(n):
            length = int.from_bytes(payload[p:p + 2], "little")
            values.append(bytes(payload[p + 2:p + 2 + length]))
            p += 2 + length
    else:
        packed, mask, value, values, most = int.from_bytes(payload[column:end], "little"), (1 << w) - 1, first, [first][:n], 0
        for _ in range(n - 1):
            z = packed & mask
            packed >>= w
            most = max(most, z)
            value += (z >> 1) ^ -(z & 1)
            need(-I64 <= value < I64, "E16", "a delta leaves the range")
            values.append(value)
        need(most.bit_length() == w, "E16", "the width is not the smallest")
        need(packed == 0, "E16", "stray bits")
    offsets = list(struct.unpack_from(f"<{n}I", payload, at + 16)) if codec == 3 else None
    need(not offsets or all(a <= b for a, b in zip(offsets, offsets[1:])), "E16", "offsets decrease")
    records, last, absent = [], (-1, 0), set()
    for p in range(end, stop, 4):
        sample, code = payload[p] | payload[p + 1] << 8, payload[p + 2]
        need(1 <= code <= 9 or 32 <= code <= 44, "E16", f"quality code {code}")
        need((sample, code) > last and sample < n, "E16", "quality records out of order")
        last = (sample, code)
        records.append(last)
        if code < 32:
            absent.add(sample)
    if absent:
        zero = 0 if not texts else bytes(8) if values and len(values[0]) == 8 else b""
        previous = next((v for i, v in enumerate(values) if i not in absent), zero)
        for i, v in enumerate(values):
            need(i not in absent or v == previous, "E16", "an empty slot does not repeat its predecessor")
            previous = v
    return values, offsets, records


def float_value(x, decimals):
    if x != x or x in (float("inf"), float("-inf")):
        return None
    scaled = x * float(10 ** decimals)
    return round(scaled) if abs(scaled) < 9.2e18 else None


def json_value(data, decimals):
    """A JSON number exactly on the grid, F5."""
    import re
    m = re.fullmatch(rb"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]{1,4}))?", data)
    if not m:
        return None
    digits = (m[2] + (m[3] or b"")).decode()
    significant = digits.rstrip("0")
    exponent = int(m[4] or 0) - len(m[3] or b"") + len(digits) - len(significant) + decimals
    significant = significant.lstrip("0")
    if not significant:
        return 0
    if len(significant) > 16 or not 0 <= exponent <= 18:
        return None
    value = int(significant) * 10 ** exponent
    return None if value >= 1 << 53 else -value if m[1] else value


def value_of(p, x):
    """(value, 0) or (None, code)."""
    kind = p["format"][0]
    if x in p.get("sentinels", ()):
        return None, 32
    if kind == "text":
        return None, 43
    if kind in ("f32", "f64"):
        v = struct.unpack("<f", struct.pack("<I", x))[0] if kind == "f32" else struct.unpack("<d", struct.pack("<q", x))[0]
        m = float_value(v, p["decimals"])
    elif kind == "number":
        m = x
    else:
        if kind == "u64":
            x &= (1 << 64) - 1
        elif kind.startswith("bit"):
            x = x >> int(kind[3:]) & 1
        elif kind.startswith("bcd"):
            digits = f"{x:x}"
            x = int(digits) if digits.isdigit() else None
        m = None if x is None else x * Config.on_grid(p, p["scale"]) + Config.on_grid(p, p["offset"])
    return in_range(p, m)


def in_range(p, m):
    low = Config.on_grid(p, p["min"]) if "min" in p else -(1 << 53) + 1
    high = Config.on_grid(p, p["max"]) if "max" in p else (1 << 53) - 1
    if m is None or abs(m) >= 1 << 53 or not low <= m <= high:
        return None, 33
    return m, 0


def column_of(p, kind_ok, chunk, payload, ticks, tick_ms):
    """Decoded samples of a point: [(value or None, lowest code or 0, offset or None)]."""
    codec, _, point, n, _, _, texts = chunk[0]
    kind = p["format"][0]
    message = kind == "number"
    need(message == (codec == 3), "E18", f"point {point} uses another codec than its format")
    need(message or n == ticks, "E17", f"point {point} has {n} samples for {ticks} ticks")
    values, offsets, records = chunk_samples(payload, chunk)
    need(not offsets or offsets[-1] < ticks * tick_ms, "E17", "a message outside the segment")
    sealed = {}
    for sample, code in records:
        sealed.setdefault(sample, []).append(code)
    if texts and message:
        need(any(43 in codes for codes in sealed.values()), "E18", "texts without one that is off the grid")
        decoded = [in_range(p, m) if (m := json_value(t, p["decimals"])) is not None else (None, 43) for t in values]
    elif kind == "text":
        need(texts, "E18", "a text point without texts")
        decoded = [(None, 43)] * n
    else:
        if texts:
            need(all(len(t) == 8 for t in values), "E18", "a wide integer is not eight bytes")
            values = [int.from_bytes(t, "big", signed=True) for t in values]
        low, high = RANGES.get("bit" if kind.startswith("bit") else kind, (-I64, I64 - 1))
        need(not values or low <= min(values) and max(values) <= high, "E18", "a value that no register can hold")
        if texts:
            deltas = [b - a for a, b in zip(values, values[1:])]
            wide = any(not -I64 <= d < I64 or ((d << 1) ^ (d >> 63)).bit_length() > 56 for d in deltas)
            need(wide, "E18", "codec 2 where codec 1 fits")
        decoded = [value_of(p, v) for v in values]
    out = []
    for i, (value, code) in enumerate(decoded):
        codes = sealed.get(i)
        out.append((None, codes[0], codes) if codes else (value, code, [code] if code else None))
    return out, offsets


# ---- the log

class Tar:
    """The archive, B1: a list of (path, offset, size) in order."""

    ORDER = ["origin", "checkpoint", "range-start", "disclosure", "control", "blobs", "trail", "entries.bin", "payload.bin"]

    def __init__(self, path):
        self.file = open(path, "rb")
        self.size = os.fstat(self.file.fileno()).st_size
        self.files, at, last = {}, 0, None
        while True:
            need(self.size - at >= 512, "V01", "the archive ends before its end mark")
            block = self.read(at, 512)
            if not any(block):
                need(self.size - at == 1024 and not any(self.read(at + 512, 512)), "V01", "bytes follow the end of the archive")
                break
            name, size = self.header(block)
            place = self.place(name)
            need(place is not None, "V01", f"{name} is not a file of a bundle")
            need(last is None or place > last, "V01", f"{name} stands twice or out of order")
            last = place
            end = at + 512 + size
            padding = -size % 512
            need(end + padding <= self.size, "V01", "the archive ends inside a file")
            need(not any(self.read(end, padding)), "V01", f"the padding after {name} is not zero")
            self.files[name] = (at + 512, size)
            at = end + padding
        for name in ("README.txt", "plan.toml"):
            if name not in self.files:
                raise Failure("V01", f"{name} is missing", exit_code=MISSING)
        self.logs = sorted({name[5:69] for name in self.files if name.startswith("logs/")})
        if not self.logs:
            raise Failure("V01", "the bundle holds no log", exit_code=MISSING)
        for log in self.logs:
            for name in ("origin", "checkpoint", "range-start", "disclosure", "entries.bin", "payload.bin"):
                if f"logs/{log}/{name}" not in self.files:
                    raise Failure("V01", f"logs/{log}/{name} is missing", exit_code=MISSING)
            self.complete(log)

    def complete(self, log):
        trail = {}
        for name in self.under(log, "control/"):
            index, kind = name.split("/")[1].split(".")
            other = f"logs/{log}/control/{index}.{'proof' if kind == 'entry' else 'entry'}"
            if other not in self.files:
                raise Failure("V01", f"{other} is missing", exit_code=MISSING)
        for name in self.under(log, "trail/"):
            size, number = name.split("/")[1].split("-")
            if int(number) != trail.get(size, 0):
                raise Failure("V01", "a trail note is missing", exit_code=MISSING)
            trail[size] = int(number) + 1

    def under(self, log, folder):
        start = f"logs/{log}/"
        return [name[len(start):] for name in self.files if name.startswith(start + folder)]

    def read(self, at, size):
        return os.pread(self.file.fileno(), size, at)

    def contents(self, name, most):
        at, size = self.files[name]
        need(size <= most, "V01", f"{name} is too long")
        return self.read(at, size)

    @staticmethod
    def header(block):
        need(block[257:265] == b"ustar\x0000", "V01", "not a ustar header")
        prefix, name = block[345:500].split(b"\0")[0], block[:100].split(b"\0")[0]
        try:
            size = int(block[124:135], 8)
            names = [part.decode("ascii") for part in (prefix, name)]
        except ValueError:
            raise Failure("V01", "a header is malformed") from None
        path = "/".join(part for part in names if part)
        need(all(c.isalnum() or c in "._-/" for c in path) and not path.startswith("/"), "V01", f"the path {path!r}")
        need(all(part not in ("", ".", "..") for part in path.split("/")), "V01", f"the path {path!r}")
        parts = path.split("/", 2)
        split = ["/".join(parts[:2]), parts[2]] if parts[0] == "logs" and len(parts) == 3 else ["", path]
        fields = split[1].encode().ljust(100, b"\0") + b"0000644\x000000000\x000000000\0" + b"%011o\0" % size + b"00000000000\0" + b" " * 8 + b"0"
        want = fields.ljust(257, b"\0") + b"ustar\x0000" + bytes(64) + b"0000000\x000000000\0" + split[0].encode().ljust(155, b"\0") + bytes(12)
        want = want[:148] + b"%06o\0 " % sum(want) + want[156:]
        need(want == block, "V01", "a header is not as a bundle writes it")
        return path, size

    def place(self, name):
        top = {"README.txt": (0,), "plan.toml": (1,), "report/report.json": (2,)}.get(name)
        if top:
            return top
        parts = name.split("/")
        if parts[0] != "logs" or len(parts) < 3 or len(parts[1]) != 64 or set(parts[1]) - set("0123456789abcdef"):
            return None
        kind, rest = parts[2], parts[3:]
        if kind not in self.ORDER or len(rest) != (kind in ("control", "blobs", "trail")):
            return None
        own = ()
        if kind == "control":
            index, _, suffix = rest[0].partition(".")
            if decimal(index) is None or suffix not in ("entry", "proof"):
                return None
            own = (int(index), suffix)
        elif kind == "trail":
            size, _, number = rest[0].partition("-")
            if decimal(size) is None or decimal(number) is None:
                return None
            own = (int(size), int(number))
        elif kind == "blobs":
            if len(rest[0]) != 64 or set(rest[0]) - set("0123456789abcdef"):
                return None
            own = (rest[0],)
        return (3, parts[1], self.ORDER.index(kind), *own)


class Chain:
    """What may stand next, F8."""

    def __init__(self, origin):
        self.origin, self.range, self.previous, self.pin = origin, Range(), None, None
        self.genesis = self.key = self.config = self.boot = self.unset_since = None
        self.retired, self.streams, self.kinds = [], {}, {}
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
        ok = 0 < entry.count <= min(3_600_000 // tick, 65_535)
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
            for stream, low, high, _ in body["placed"]:
                need(low <= high < i and (low >= since or self.boot_unseen), "E13", "a clock event places other entries", i)
                need(stream in self.streams, "E09", "a clock event places an unknown stream", i)
        elif kind == 15:
            need(body["from"] <= body["to"] < i, "E14", "a dropped range before its declaration", i)


class Axis:
    """Where the ticks of a stream went, V5."""

    def __init__(self, tick, t0, t1, begins):
        self.tick, self.low, self.high, self.begins = tick, -(-t0 // tick), -(-t1 // tick), begins
        self.next = self.start = self.idle = self.longest = None
        self.measured = self.holes = self.overlaps = self.unplaced = 0
        self.gaps = {}

    def clip(self, a, b):
        return max(0, min(b, self.high) - max(a, self.low))

    def take(self, p, n, what):
        q, ticks = p + n, self.clip(p, p + n)
        covered = p if self.next is None else self.next
        if self.next is None:
            self.start = p
        elif p > self.next:
            self.holes += self.clip(self.next, p)
            self.idle = self.next if self.idle is None else self.idle
            covered = p
        else:
            self.overlaps += self.clip(p, min(q, self.next))
        if what is None:
            self.measured += ticks
            if q > covered:
                self.end_idle(max(p, covered))
        else:
            gap = self.gaps.setdefault(what, {"entries": 0, "ticks": 0})
            gap["entries"] += ticks > 0
            gap["ticks"] += ticks
            self.idle = covered if self.idle is None else self.idle
        self.next = max(covered, q)
        return self.clip(max(p, covered), q) if what is None else 0

    def end_idle(self, position):
        if self.idle is not None:
            run = (max(self.idle, self.low), min(position, self.high))
            if run[1] > run[0] and (self.longest is None or run[1] - run[0] > self.longest[1] - self.longest[0]):
                self.longest = run
            self.idle = None

    def finish(self, stream, succeeds, replaced, ended):
        problem, low, high = None, self.low, self.high
        missing = (self.low, self.start) if self.start is not None and self.start > self.low else None
        if missing or self.start is None and not self.begins:
            if not self.begins:
                problem = Failure("V11", f"stream {stream} does not reach back to the start of the period")
            if missing and succeeds and self.begins:
                low = min(self.start, self.high)
            elif missing:
                self.holes += self.clip(*missing)
        end = self.low if self.next is None else self.next
        if end < self.high:
            if replaced:
                high = max(end, low)
            else:
                self.holes += self.clip(end, self.high)
                if not ended and problem is None:
                    problem = Failure("V12", f"stream {stream} does not reach the end of the period")
            self.idle = end if self.idle is None else self.idle
        self.end_idle(high)
        expected = high - low
        declared = sum(gap["ticks"] for gap in self.gaps.values())
        if problem is None and expected != self.measured + declared + self.holes - self.overlaps:
            problem = Failure("V14", f"stream {stream}: ticks do not add up")
        ms = lambda run: None if run is None else [run[0] * self.tick, run[1] * self.tick]
        return {"stream": stream, "tick_ms": self.tick, "expected": expected, "measured": self.measured, "gaps": self.gaps,
                "holes": self.holes, "overlaps": self.overlaps, "unplaced": self.unplaced,
                "covered_ms": None if self.start is None else [self.start * self.tick, self.next * self.tick],
                "longest_gap_ms": ms(self.longest)}, problem


class Log:
    """One log of the bundle: V2 and V3."""

    def __init__(self, tar, log_id, anchor, options, points, succeeds):
        self.tar, self.options, self.anchor, self.points, self.succeeds = tar, options, anchor, points, succeeds
        self.origin, self.base, self.folder = anchor.name, f"logs/{log_id}/", log_id
        self.hand_over = None
        contents = lambda name, most: tar.contents(self.base + name, most)
        need(contents("origin", 1024) == (self.origin + "\n").encode() and sha256(self.origin.encode()).hex() == log_id, "V01", "the name of the log")
        need(contents("disclosure", 1024) == b"A\n", "V01", "the disclosure class")
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
        need(self.anchor.by_note(note) and note.origin == self.origin, code, "a note is not signed by the log's key")
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
        self.placed = [p for entry, body in self.controls if entry.control == 9 for p in body["placed"]]
        self.gone = [(body["from"], body["to"]) for entry, body in self.controls if entry.control == 15]

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
        """The pass. `sink(index, entry, config, shift, tick_ms, columns or None)` gets every data entry that counts."""
        options, chain = self.options, self.chain
        at, left = self.tar.files[self.base + "payload.bin"]
        self.axes, self.not_good, self.samples, self.dropped, self.met = {}, {}, 0, 0, 0
        self.within, self.classes, self.extra = [0] * 5, [0] * 3, {"no_lower": 0, "no_upper": 0, "widest_s": 0, "latest_s": 0, "outside": 0}
        self.pinned, pins_trusted, pins_unknown, outside = None, 0, 0, None
        self.covered, self.relevant, keys = {}, set(), []
        self.found = set()
        self.take_config()
        for data in self.entries():
            i = chain.range.size
            need(i < self.size, "V10", "an entry behind the last one of the checkpoint", i)
            try:
                entry = Entry(data, self.origin)
                key, shift, tick, body = chain.accept(entry, (lambda: self.body(entry)) if entry.kind == 0 else None)
            except Failure as failure:
                failure.index = i
                raise
            need((entry.kind == 0) == (i in self.by_index) and self.by_index.get(i, chain.previous) == chain.previous, "V06", "not the control entry that was proven", i)
            if self.roots.get(i + 1, None):
                good = chain.range.root() == self.roots[i + 1]
                need(good or entry.kind == 0 or signed_by(key, entry.signature, entry.message), "E06", "the signature does not verify", i)
                need(good, "V08", f"the root over {i + 1} entries", i)
                self.met += 1
            counted = self.hand_over is None or i <= self.hand_over[0]
            need(self.hand_over is None or i != self.hand_over[0] or chain.previous == self.hand_over[1], "V16", "the successor names another entry", i)
            if entry.freshness:
                known = self.pins.get(entry.freshness[1]) if entry.freshness[0] == 1 else None
                pins_trusted, pins_unknown = pins_trusted + (known is not None), pins_unknown + (known is None)
                if known is not None:
                    self.pinned = max(known, self.pinned or 0)
            if not keys or keys[-1] != entry.kid:
                keys.append(entry.kid)
            if entry.kind == 0 and entry.control == 2:
                self.take_config()
            gone = entry.kind == 1 and any(low <= i <= high for low, high in self.gone)
            self.dropped += gone
            if entry.kind and shift is None:
                shift = self.shift(entry)
            if counted and entry.kind:
                what = entry.reason if entry.kind == 2 else "storage" if gone else None
                if self.place(entry, shift, tick, what) and outside is None:
                    outside = i
            columns = None
            need(entry.kind == 0 or signed_by(key, entry.signature, entry.message), "E06", "the signature does not verify", i)
            if entry.kind == 1 and not gone:
                length = entry.payload[2]
                need(length <= left, "E14", "the payload is shorter than signed", i)
                payload = self.tar.read(at, length)
                at, left = at + length, left - length
                try:
                    columns = self.open(entry, payload, tick)
                except Failure as failure:
                    failure.index = i
                    raise
            if counted and entry.kind:
                sink(self, entry, gone, chain.config, shift, tick, columns)
        failures = []
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
            facts, problem = axis.finish(stream, self.succeeds, self.hand_over is not None, not chain.streams[stream]["active"])
            facts["relevant"] = stream in self.relevant
            if problem and (problem.code == "V14" or facts["relevant"] and chain.range.size == self.size):
                failures.append(problem)
            streams.append(facts)
        failures += [Failure("V13", f"point {name} is in no configuration") for name in self.points if name not in self.found]
        if outside is not None:
            failures.append(Failure("V15", "a claimed time outside its bracket", outside))
        self.facts = {
            "origin": self.origin, "first": self.first, "size": self.size, "root": self.root.hex(), "controls": len(self.controls),
            "entry_keys": len(keys), "cosigned": self.cosigned, "quorum_met": self.quorum_met, "roots": self.met, "dropped": self.dropped,
            "streams": streams, "complete": True, "samples": self.samples,
            "not_good": {str(code): n for code, n in sorted(self.not_good.items())},
            "time": {"within": self.within, "classes": self.classes, "pins_trusted": pins_trusted, "pins_unknown": pins_unknown, **self.extra},
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
        start, end = (entry.first + shift) * tick, (entry.first + entry.count + shift) * tick
        for name in self.carried.get(entry.stream, ()):
            low, high = self.covered.get(name, (start, end))
            self.covered[name] = (min(low, start), max(high, end))
        if not ticks:
            return False
        step = next((s for s in self.steps if s[0] > entry.index), None)
        before, after = step[1] if step else None, self.pinned
        claimed = max(end // 1000, 0)
        if before is None:
            self.extra["no_upper"] += ticks
        elif after is None:
            self.extra["no_lower"] += ticks
        else:
            width = max(0, before - after)
            self.within[sum(width > most for most in (300, 4200, 86_400, 604_800))] += ticks
            self.extra["widest_s"] = max(self.extra["widest_s"], width)
        if before is not None:
            self.extra["latest_s"] = max(self.extra["latest_s"], before - claimed)
        late = step and step[2] is not None and step[2] <= claimed + options.max_delay_s
        self.classes[2 if late else 1 if step and step[3] else 0] += ticks
        outside = before is not None and end > before * 1000 + options.tolerance_ms
        outside = outside or after is not None and end < after * 1000 - options.tolerance_ms
        self.extra["outside"] += ticks if outside else 0
        return outside

    def open(self, entry, payload, tick):
        """F8.8: the payload against what was signed; the decoded columns if values are wanted."""
        root, count, _ = entry.payload
        config, ticks = self.chain.config, entry.count
        chunks = split_chunks(payload)
        good = inner_root([leaf_hash(payload[c[1]:c[4]]) for c in chunks]) == root
        need(good, "E15", "the payload's root is not the signed one")
        need(len(chunks) == count, "E16", "another number of chunks than signed")
        expected = config.of_stream[entry.stream]
        columns = {}
        if not self.options.decode:
            need([c[0][2] for c in chunks] == expected, "E17", "not exactly the points of the stream")
            return None
        for number, chunk in enumerate(chunks):
            need(number < len(expected) and chunk[0][2] == expected[number], "E17", "not exactly the points of the stream")
            p = config.points[chunk[0][2]]
            column, offsets = column_of(p, None, chunk, payload, ticks, tick)
            self.samples += len(column)
            for _, code, _ in column:
                if code:
                    self.not_good[code] = self.not_good.get(code, 0) + 1
            if p["name"] in self.points:
                columns[p["name"]] = (p, column, offsets)
        need(len(chunks) == len(expected), "E17", "not exactly the points of the stream")
        return columns


Vkey.by_note = lambda self, note: bool(note.by(self))


# ---- the report: what registers advanced and rates integrated to

UNITS = {}
for _dim, _table in {
    "energy": {"J": 1, "kJ": 10**3, "MJ": 10**6, "GJ": 10**9, "TJ": 10**12, "Wh": 3600, "kWh": 36 * 10**5, "MWh": 36 * 10**8, "GWh": 36 * 10**11},
    "power": {"W": 1, "kW": 10**3, "MW": 10**6, "GW": 10**9},
    "mass": {"mg": Fraction(1, 10**6), "g": Fraction(1, 1000), "kg": 1, "t": 1000, "kt": 10**6},
    "massflow": {"g/s": Fraction(1, 1000), "kg/s": 1, "kg/min": Fraction(1, 60), "kg/h": Fraction(1, 3600), "t/h": Fraction(10, 36), "t/d": Fraction(1000, 86_400)},
    "volume": {"L": Fraction(1, 1000), "m3": 1},
    "volumeflow": {"L/s": Fraction(1, 1000), "L/min": Fraction(1, 60_000), "L/h": Fraction(1, 3_600_000), "m3/s": 1, "m3/min": Fraction(1, 60), "m3/h": Fraction(1, 3600), "m3/d": Fraction(1, 86_400)},
}.items():
    UNITS.update({symbol: (_dim, Fraction(factor)) for symbol, factor in _table.items()})
OVER_TIME = {"power": "energy", "massflow": "mass", "volumeflow": "volume"}


class Track:
    """One monitoring point through the period, fed in log order."""

    def __init__(self, options, earns, count_gaps, bridge_ms):
        self.t0, self.t1, self.earns, self.count_gaps, self.bridge = options.t0, options.t1, earns, count_gaps, bridge_ms
        self.covered = self.good = self.last = self.held = self.log = None
        self.codes, self.cause, self.done = set(), "begin", False
        self.increase = self.integral = Fraction(0)

    def feed(self, log, start, end, tick, p, column, offsets):
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
        hold = p.get("stale_after_s", 0) * 1000 or tick if offsets is not None else tick
        for n, (value, _, codes) in enumerate(column):
            at = start + (n * tick if offsets is None else offsets[n])
            if covered is not None and at < covered or self.done:
                continue
            if value is None:
                if offsets is not None and self.good is not None:
                    self.good = min(self.good, at)
                    self.release(self.good)
                self.codes |= set(codes)
            else:
                self.reading(at, Fraction(value, 10 ** p["decimals"]), hold, offsets is not None)

    def hole(self, cause):
        if self.good is not None:
            self.good = min(self.good, self.covered)
            self.release(self.good)
        if self.cause != "begin" and self.cause != "hand-over":
            self.cause = cause

    def release(self, until):
        if self.held:
            self.weigh(self.held[1], self.held[0], until)
            self.held = None

    def weigh(self, value, begin, end):
        self.integral += value * max(0, min(end, self.t1) - max(begin, self.t0))

    def reading(self, at, value, hold, message):
        if message and self.good is not None:
            self.release(min(self.good, at))
        gap = self.good is None or at > self.good or self.cause == "hand-over"
        if self.last:
            self.cross(at, value, gap)
        self.codes, self.cause, self.last = set(), "samples", (at, value)
        if message:
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
        else:
            small = self.cause == "samples" and all(c < 32 for c in self.codes) and at - self.good <= self.bridge if gap else True
            counts = not gap or self.count_gaps or small
        self.increase += advance if counts else 0

    def end(self):
        if self.good is not None:
            self.release(min(self.good, self.covered))


class Options:
    pass


def read_inputs(args):
    options = Options()
    try:
        with open(args.plan, "rb") as file:
            options.plan_bytes = file.read()
        options.plan = tomllib.loads(options.plan_bytes.decode())
        with open(args.policy, encoding="utf-8") as file:
            options.policy = Policy(file.read())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Mistake(str(error)) from None
    names = [name for name, _ in options.policy.witnesses]
    if args.collector and args.collector not in names:
        raise Mistake(f"--collector {args.collector} is no witness of the policy")
    options.collector = args.collector or ("W0" if "W0" in names else None)
    options.tolerance_ms, options.max_delay_s = args.tolerance_s * 1000, args.max_delay_h * 3600
    options.logs = options.plan["logs"]
    options.anchors = {log["origin"]: Vkey(log["anchor"]) for log in options.logs}
    for given in args.anchor:
        vkey = Vkey(given)
        if options.anchors.get(vkey.name) != vkey:
            raise Mistake(f"--anchor {given}: the plan has another key, or no such log")
    options.points = options.plan.get("points", [])
    return options


def period(args, options, tar):
    if args.from_day:
        import datetime, zoneinfo
        zone = zoneinfo.ZoneInfo(options.plan["reporting_zone"])
        day = datetime.date.fromisoformat
        at = lambda d: int(datetime.datetime(d.year, d.month, d.day, tzinfo=zone).timestamp()) * 1000
        options.t0, options.t1 = at(day(args.from_day)), at(day(args.to_day) + datetime.timedelta(days=1))
    else:
        try:
            claim = json.loads(tar.contents("report/report.json", 256 << 20))["period"]
            options.t0, options.t1 = claim["start_ms"], claim["end_ms"]
        except (KeyError, ValueError, Failure):
            raise Mistake("the bundle has no readable report to take the period from; give --from and --to") from None
    options.decode = args.decode or options.t1 - options.t0 <= MONTH_MS


def ordered(logs):
    done = []
    while len(done) < len(logs):
        placed = {log["origin"] for log in done}
        step = [log for log in logs if log not in done and log.get("succeeds") in (None, *placed)][:1]
        if not step:
            raise Mistake("the plan's logs succeed one another in a circle")
        done += step
    return done


def compare_report(tar, options, tracks, failures):
    if "report/report.json" not in tar.files:
        return {"claimed": False}
    try:
        report = json.loads(tar.contents("report/report.json", 256 << 20))
        parameters = {p["name"]: p for p in report["parameters"]}
    except (ValueError, KeyError, TypeError):
        failures.append(Failure("V22", "report/report.json is not a report"))
        return {"claimed": True}
    if report.get("plan_sha256") != sha256(options.plan_bytes).hex():
        failures.append(Failure("V21", "the report was made from another plan"))
    told = {"claimed": True, "compared": [], "not_compared": []}
    for point in options.points:
        name = point["parameter"] + (f"[{point['member']}]" if "member" in point else "")
        claim, track = parameters.get(name), tracks[point["number"]]
        if claim is None:
            failures.append(Failure("V21", f"the report lacks {name}"))
            continue
        kind, unit, want = claim.get("aggregation"), UNITS.get(point["unit"]), UNITS.get(claim.get("unit"))
        track.end()
        if kind == "increase" and unit and want and unit[0] == want[0]:
            found = track.increase * unit[1] / want[1]
        elif kind == "integral" and unit and want and OVER_TIME.get(unit[0]) == want[0]:
            found = track.integral * unit[1] / 1000 / want[1]
        else:
            told["not_compared"].append(name)
            continue
        claimed = Fraction(claim["value"])
        told["compared"].append([name, float(found)])
        if abs(claimed - found) > max(abs(found), 1) / 10**15:
            failures.append(Failure("V21", f"{name}: claimed {claim['value']}, recomputed {float(found)}"))
    return told


def run(args):
    begun = time.monotonic()
    options, failures, logs = read_inputs(args), [], []
    verdict = {"format": "fieldseal-verdict/1", "logs": logs, "report": {}, "hand_overs": []}
    tar = None
    try:
        with open(args.file, "rb") as file:
            verdict["bundle_sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        tar = Tar(args.file)
    except OSError as error:
        raise Mistake(str(error)) from None
    except Failure as failure:
        if not args.from_day:
            raise Mistake("the bundle has no readable report to take the period from; give --from and --to") from None
        failures.append(failure)
    if tar:
        period(args, options, tar)
        project(tar, options, verdict, failures)
    if failures:
        code = min(f.exit for f in failures)
    else:
        relevant = [s for log in logs for s in log["streams"] if s["relevant"]]
        share = lambda s: (sum(g["ticks"] for g in s["gaps"].values()) + s["holes"] - s["overlaps"]) * 1_000_000 // s["expected"] if s["expected"] else 0
        code = 1 if max(map(share, relevant), default=0) > args.gap_limit_percent * 10_000 else 0
    verdict["exit"] = code
    verdict["failures"] = [{"code": f.code, "exit": f.exit, "log": f.log, "index": f.index, "text": f.text} for f in failures]
    verdict["seconds"] = round(time.monotonic() - begun, 3)
    return verdict


def project(tar, options, verdict, failures):
    ids = {sha256(log["origin"].encode()).hex(): log for log in options.logs}
    failures += [Failure("V18", "a log that the plan does not name") for log_id in tar.logs if log_id not in ids]
    order, opened = ordered(options.logs), {}

    def attempt(origin, step):
        try:
            return step()
        except Failure as failure:
            failure.log = origin
            failures.append(failure)

    for plan_log in order:
        origin = plan_log["origin"]
        log_id = sha256(origin.encode()).hex()
        if log_id in tar.logs:
            names = {s["point"] for p in options.points for s in p["sources"] if s["log"] == origin}
            before = plan_log.get("succeeds")
            succeeds = before is not None and sha256(before.encode()).hex() in tar.logs
            log = attempt(origin, lambda: Log(tar, log_id, options.anchors[origin], options, sorted(names), succeeds))
            if log:
                opened[origin] = log
    names_predecessor = set()
    for plan_log in order:
        after, before = opened.get(plan_log["origin"]), opened.get(plan_log.get("succeeds"))
        if after and before:
            body = next((b for e, b in after.controls if e.control == 12 and b["origin"] == before.origin), None)
            if body:
                before.hand_over = (body["last_index"], body["last_leaf"])
                names_predecessor.add(plan_log["origin"])
    tracks, sources = {}, {}
    directions = {}
    if "report/report.json" in tar.files:
        try:
            directions = {p["name"]: p.get("direction") for p in json.loads(tar.contents("report/report.json", 256 << 20))["parameters"]}
        except (ValueError, KeyError, TypeError):
            pass
    for point in options.points:
        name = point["parameter"] + (f"[{point['member']}]" if "member" in point else "")
        earns = directions.get(name) == "earns"
        rule = point.get("advance_over_gap", "list" if earns else "count")
        tracks[point["number"]] = Track(options, earns, rule == "count", point.get("bridge_max_s", 0) * 1000)
        for source in point["sources"]:
            sources.setdefault((source["log"], source["point"]), []).append(point["number"])

    def sink(log, entry, gone, config, shift, tick, columns):
        if columns is None or shift is None:
            return
        start = (entry.first + shift) * tick
        for name, (p, column, offsets) in columns.items():
            for number in sources.get((log.origin, name), ()):
                tracks[number].feed(log.origin, start, start + entry.count * tick, tick, p, column, offsets)

    passed = {}
    for plan_log in order:
        log = opened.get(plan_log["origin"])
        if log:
            found = attempt(log.origin, lambda: log.verify(sink))
            if found is not None:
                for failure in found:
                    failure.log = log.origin
                failures.extend(found)
                verdict["logs"].append(log.facts)
                passed[log.origin] = log
    for plan_log in order:
        origin = plan_log["origin"]
        if origin in passed or any(f.log == origin for f in failures):
            continue
        covers = lambda log: all(n in log.covered and log.covered[n][0] <= options.t0 for n in log.points)
        after = any(o.get("succeeds") == origin and o["origin"] in passed and covers(passed[o["origin"]]) for o in order)
        if plan_log.get("succeeds") not in passed and not after:
            failure = Failure("V17", "a log of the plan is not in the bundle")
            failure.log = origin
            failures.append(failure)
    for point in options.points:
        for first, second in zip(point["sources"], point["sources"][1:]):
            a, b = passed.get(first["log"]), passed.get(second["log"])
            spans = (a and a.covered.get(first["point"]), b and b.covered.get(second["point"]))
            if all(spans):
                if spans[1][0] < spans[0][1]:
                    failure = Failure("V16", f"point {point['number']}: ticks in both logs")
                    failure.log = first["log"]
                    failures.append(failure)
                verdict["hand_overs"].append({"number": point["number"], "ends_ms": spans[0][1], "begins_ms": spans[1][0]})
    if not failures and options.decode:
        verdict["report"] = compare_report(tar, options, tracks, failures)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="the bundle, a .tar file")
    parser.add_argument("--plan", required=True, help="your own copy of the registered monitoring plan")
    parser.add_argument("--policy", required=True, help="your witness policy")
    parser.add_argument("--anchor", action="append", default=[], help="verification key of a log; the plan's otherwise")
    parser.add_argument("--from", dest="from_day", help="first day of the period, in the plan's zone")
    parser.add_argument("--to", dest="to_day", help="last day, included")
    parser.add_argument("--collector", help="the policy's name of the collector's witness (default W0)")
    parser.add_argument("--tolerance-s", type=int, default=300)
    parser.add_argument("--max-delay-h", type=int, default=24)
    parser.add_argument("--gap-limit-percent", type=int, default=5)
    parser.add_argument("--decode", action="store_true", help="decode every value also beyond a month")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    args = parser.parse_args()
    try:
        if bool(args.from_day) != bool(args.to_day):
            raise Mistake("give both --from and --to, or neither")
        verdict = run(args)
    except (Mistake, KeyError, ValueError) as mistake:
        verdict = {"format": "fieldseal-verdict/1", "exit": INPUT, "error": str(mistake), "failures": []}
    if args.json:
        print(json.dumps(verdict, indent=1))
    else:
        tell(verdict)
    return verdict["exit"]


def tell(verdict):
    if "error" in verdict:
        print("error:", verdict["error"])
        return
    for log in verdict["logs"]:
        print(f"log {log['origin']}: entries {log['first']}..{log['size'] - 1}, root {log['root']}")
        for s in log["streams"]:
            gaps = sum(g["ticks"] for g in s["gaps"].values())
            print(f"  stream {s['stream']}: {s['expected']} ticks = {s['measured']} measured + {gaps} gap + {s['holes']} holes - {s['overlaps']} twice")
        entries = log["size"] - log["first"]
        print(f"  {entries} entries; {log.get('samples', 'no')} values decoded; time {log['time']}")
    for failure in verdict["failures"]:
        print("FAILED", failure["code"], failure["log"] or "", "" if failure["index"] is None else f"entry {failure['index']}:", failure["text"])
    for name, value in verdict["report"].get("compared", []):
        print(f"report {name} recomputed {value}")
    print("CONFIRMED" if verdict["exit"] < 2 else "NOT CONFIRMED", f"in {verdict['seconds']} s; this is not a verification opinion")


if __name__ == "__main__":
    sys.exit(main())
