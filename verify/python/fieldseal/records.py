"""The project log, F11: what people entered, as records."""
import unicodedata

from .cbor import Cbor, integer, listed, raw, uint
from .chain import Chain
from .entries import Entry, control_body
from .failures import I64, Failure, need
from .log import Log
from .notes import SPACES
from .tree import leaf_hash, sha256

STATES = ("draft", "submitted", "under verification", "revised", "verified", "issued", "withdrawn")


def line(v, most=200, newline=False):
    """A name, or with newlines a text."""
    if not isinstance(v, str) or len(v.encode()) > most or all(c in SPACES for c in v):
        return False
    return not any(unicodedata.category(c) == "Cc" and not (newline and c == "\n") for c in v)


def lines(v):
    return line(v, 4000, True)


def date(v):
    if not isinstance(v, str) or len(v) != 10 or not v.isascii() or v[4] != "-" or v[7] != "-":
        return False
    parts = (v[:4], v[5:7], v[8:])
    if not all(part.isdigit() for part in parts):
        return False
    y, m, d = map(int, parts)
    leap = y % 4 == 0 and (y % 100 != 0 or y % 400 == 0)
    days = (31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    return 1900 <= y < 2200 and 1 <= m <= 12 and 1 <= d <= days[m - 1]


def number(v):
    return uint(v, I64 - 1)


def decimal(v):
    return listed(v, 2) and integer(v[0]) and uint(v[1], 15)


def digest(v):
    return raw(v, 32)


def points(v):
    return listed(v) and 1 <= len(v) <= 100 and all(listed(p, 3) and all(map(decimal, p)) for p in v)


def is_origin(v):
    return line(v) and not any(c in SPACES or c == "+" for c in v)


def logs(v):
    ok = listed(v) and 1 <= len(v) <= 1000 and all(listed(s, 3) and is_origin(s[0]) and number(s[1]) and digest(s[2]) for s in v)
    return ok and all(a[0].encode() < b[0].encode() for a, b in zip(v, v[1:]))


def one_of(*words):
    return lambda v: isinstance(v, str) and v in words


# Kind: name, its own fields; a `?` marks one that may be absent.
KINDS = {
    32: ("certificate", {"number": line, "device": line, "laboratory": line, "accreditation": line, "standard": line, "calibrated": date,
                         "due": date, "unit": line, "points": points, "uncertainty_percent": decimal, "?mpe_percent": decimal, "?text": lines}),
    33: ("exchange", {"at_ms": number, "unit": line, "old_device": line, "old_final": decimal, "new_device": line, "new_first": decimal,
                      "certificate": line, "?text": lines}),
    34: ("hand-value", {"from": date, "to": date, "value": decimal, "unit": line, "option": one_of("A", "B", "C"), "source": lines}),
    35: ("document", {"text": lines}),
    36: ("annotation", {"text": lines, "?log": line, "?from": number, "?to": number}),
    37: ("finding", {"sort": one_of("CAR", "CL", "FAR"), "state": one_of("open", "answered", "closed"), "text": lines, "?requirement": lines,
                     "?about": lines, "?due": date, "?effect_t": decimal}),
    38: ("transition", {"version": number, "from": one_of(*STATES), "to": one_of(*STATES), "?text": lines}),
    39: ("report-version", {"version": number, "sha256": digest, "plan": digest, "logs": logs, "software": line}),
    40: ("method", {"sha256": digest, "decision": lines}),
    41: ("plan-version", {"version": number, "sha256": digest, "decision": lines}),
    42: ("period-close", {"from": date, "to": date, "logs": logs, "?text": lines}),
}


def person(v):
    return isinstance(v, dict) and set(v) == {"id", "name", "role"} and all(map(line, v.values()))


def attachments(v):
    ok = listed(v) and len(v) <= 100 and all(listed(a, 2) and digest(a[0]) and line(a[1]) for a in v)
    return ok and all(a[0] < b[0] for a, b in zip(v, v[1:]))


def replaces(v):
    return isinstance(v, dict) and set(v) == {"leaf", "index", "reason"} and digest(v["leaf"]) and uint(v["index"]) and line(v["reason"])


def record_body(kind, data):
    """The body of a record as a dict; refuses what F11 refuses."""
    name, own = KINDS[kind]
    shape = {"person": person, "subject": line, "attachments": attachments, "?replaces": replaces, **own}
    body = Cbor(data, "E19").whole()
    required = {key for key in shape if key[0] != "?"}
    ok = isinstance(body, dict) and required <= set(body) <= {key.lstrip("?") for key in shape}
    ok = ok and all(test(body[key.lstrip("?")]) for key, test in shape.items() if key.lstrip("?") in body)
    need(ok, "E19", f"the body of a {name} is malformed")
    if kind == 32:
        ok = body["calibrated"] < body["due"]
    elif kind in (34, 42):
        ok = body["from"] <= body["to"]
    elif kind == 38:
        ok = body["from"] != body["to"]
    elif kind == 36:
        both = {"from", "to"} <= set(body)
        ok = both and "log" in body and body["from"] <= body["to"] or not {"from", "to"} & set(body)
    need(ok, "E19", f"two fields of a {name} contradict one another")
    need(kind not in (32, 34, 35) or body["attachments"], "E19", f"a {name} has its document attached")
    return body


class ProjectLog(Log):
    """The project log of a bundle: every entry from the first one on."""

    def __init__(self, tar, anchor, options):
        self.tar, self.options, self.anchor = tar, options, anchor
        self.origin, self.base, self.folder = anchor.name, "project/", "project/"
        contents = lambda name, most: tar.contents(self.base + name, most)
        need(contents("origin", 1024) == (self.origin + "\n").encode(), "V01", "the name of the project log")
        self.read_notes(contents)
        self.blobs, self.unused = {}, set()
        for name in tar.under("project/", "blobs/"):
            body = contents(name, 16 << 20)
            need(leaf_hash(body).hex() == name.split("/")[1], "E15", "a blob is not what its name says")
            self.blobs[leaf_hash(body)] = body
        self.unused = set(self.blobs)
        self.chain, self.known, self.replaced, self.records, self.pinned = Chain(self.origin), [], {}, [], None

    def body(self, entry):
        """The body of the next entry: keys or a record."""
        kind = entry.control
        need(kind in (1, 3, 4) or kind in KINDS, "E31", f"control kind {kind} does not stand in a project log")
        data = entry.body
        if data is None:
            root, chunks, length = entry.payload
            data = self.blobs.get(root)
            need(data is not None, "E14", "a body is missing")
            need(len(data) == length, "E14", "the length of a body")
            need(chunks == 1, "E15", "a body is one chunk")
            self.unused.discard(root)
        return record_body(kind, data) if kind in KINDS else control_body(kind, data)

    def verify(self):
        keys, met, outside = [], 0, None
        for data in self.entries():
            i = self.chain.range.size
            need(i < self.size, "V10", "an entry behind the last one of the checkpoint", i)
            try:
                entry = self.enter(data, i)
            except Failure as failure:
                failure.index = i
                raise
            if i + 1 in self.roots:
                need(self.chain.range.root() == self.roots[i + 1], "V08", f"the root over {i + 1} entries", i)
                met += 1
            if not keys or keys[-1] != entry.kid:
                keys.append(entry.kid)
            if entry.freshness and entry.freshness[0] == 1 and entry.freshness[1] in self.pins:
                self.pinned = max(self.pins[entry.freshness[1]], self.pinned or 0)
            if self.judge(entry) and outside is None:
                outside = i
        need(self.chain.range.size == self.size, "V09", f"the entries end at {self.chain.range.size}, the checkpoint covers {self.size}")
        need(self.chain.genesis["log_key"] == self.anchor.key, "V02", "genesis names another log key", 0)
        need(not self.unused, "V10", "a blob that no entry names")
        need(outside is None, "V15", "a claimed time outside its bracket", outside)
        for record in self.records:
            record["replaced_by"] = self.replaced.get(record["index"])
        return {
            "origin": self.origin, "checked": True, "size": self.size, "root": self.root.hex(), "entry_keys": len(keys), "cosigned": self.cosigned,
            "quorum_met": self.quorum_met, "roots": met, "records": self.records, "attachments": self.inputs(),
        }

    def enter(self, data, i):
        entry = Entry(data, self.origin)
        need(entry.kind == 0, "E31", "a project log holds control entries only")
        need(entry.clock[1] != 0, "E31", "an entry of a project log needs a clock that was set")
        _, _, _, body = self.chain.accept(entry, lambda: self.body(entry))
        about = (entry.control, body["subject"]) if entry.control in KINDS else None
        if about and "replaces" in body:
            index = body["replaces"]["index"]
            old = self.known[index] if index < len(self.known) else None
            need(old and old[0] == body["replaces"]["leaf"], "E30", "it replaces an entry that is not there")
            need(old[1] == about, "E30", "it replaces one of another kind or subject")
            need(index not in self.replaced, "E30", "it replaces one that was replaced already")
            self.replaced[index] = i
        self.known.append((self.chain.previous, about))
        if about:
            self.record(entry, body)
        return entry

    def record(self, entry, body):
        said = body["person"]
        self.records.append({
            "index": entry.index, "kind": KINDS[entry.control][0], "subject": body["subject"], "person": [said["name"], said["role"], said["id"]],
            "entered_ms": entry.clock[0], "replaces": [body["replaces"]["index"], body["replaces"]["reason"]] if "replaces" in body else None,
            "attachments": [a[0].hex() for a in body["attachments"]], "named": body["attachments"],
        })

    def judge(self, entry):
        """Sets the bracket and class of the record just read; whether its time is outside."""
        step = next((s for s in self.steps if s[0] > entry.index), None)
        before, after, claimed = step[1] if step else None, self.pinned, entry.clock[0]
        if self.records and self.records[-1]["index"] == entry.index:
            soon = step and step[2] is not None and step[2] <= claimed // 1000 + self.options.max_delay_s
            self.records[-1].update(after_s=after, before_s=before, **{"class": 2 if soon else 1 if step and step[3] else 0})
        outside = before is not None and claimed > before * 1000 + self.options.tolerance_ms
        return outside or after is not None and claimed < after * 1000 - self.options.tolerance_ms

    def inputs(self):
        named = {}
        for record in self.records:
            for digest_, name in record.pop("named"):
                named.setdefault(digest_.hex(), {"sha256": digest_.hex(), "name": name, "index": record["index"], "present": False})
        for path in [name for name in self.tar.files if name.startswith("inputs/")]:
            found = sha256(self.tar.contents(path, 1 << 28)).hex()
            need(found == path[7:], "V40", f"{path} is not the file that was entered")
            need(found in named, "V42", f"no record names {path}")
            named[found]["present"] = True
        return [named[digest_] for digest_ in sorted(named)]
