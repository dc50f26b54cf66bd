"""What authorities say of a log: approvals and revocations, T10 and V9."""
import base64

from .failures import I64, Failure, Mistake
from .notes import Note, Vkey, decimal, good_key, key_id, signed_by
from .tree import leaf_hash, sha256

VALUES = ("scale", "offset", "unit", "decimals", "source", "format", "min", "max", "max_step", "sentinels", "stale_after_s")


def authority_key(text):
    """64 hex digits, or a verifier key of kind 1."""
    if "+" in text:
        vkey = Vkey(text)
        if vkey.kind != 1:
            raise Mistake(f"--approver {text}: a witness's key approves nothing")
        return vkey.key
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(text) != 64 or not good_key(key):
        raise Mistake(f"--approver {text}: not a usable public key")
    return key


def revocation_message(origin, key, since, reason):
    return f"fieldseal/revoke/v1\n{origin}\n{key.hex()}\n{since}\n{reason}\n".encode()


def read_revocation(path, approvers):
    wrong = Mistake(f"--revocation {path}: not a revocation signed by an --approver")
    try:
        with open(path, "rb") as file:
            text, lines = Note.split(file.read(), "T10")
        parts = text[:-1].split("\n")
        (name, key_hash, signature), = lines
        key = bytes.fromhex(name)
        named = sha256(name.encode() + b"\n\x01" + key)[:4] == key_hash and name == key.hex()
        label, origin, revoked, since, reason = parts
        revoked, since = bytes.fromhex(revoked), decimal(since)
    except (OSError, ValueError, Failure):
        raise wrong from None
    good = named and label == "fieldseal/revoke/v1" and len(revoked) == 8 and since is not None
    good = good and revocation_message(origin, revoked, since, reason).decode() == text and reason.strip()
    if not good or key not in approvers or not signed_by(key, signature, text.encode()):
        raise wrong
    return {"origin": origin, "key_id": revoked, "since": since, "reason": reason, "by": key}


def approved_entries(origin, controls, approvers):
    """Indices of entries that an accepted authority approved."""
    leaves = {entry.index: leaf_hash(entry.bytes) for entry, _ in controls}
    found = set()
    for entry, body in controls:
        if entry.control != 16 or leaves.get(body["index"]) != body["leaf"] or body["key"] not in approvers:
            continue
        message = f"fieldseal/approve/v1\n{origin}\n{body['index']}\n{b64(body['leaf'])}\n".encode()
        if signed_by(body["key"], body["signature"], message):
            found.add(body["index"])
    return found


def b64(data):
    return base64.b64encode(data).decode()


def values(config, devices):
    """What decides how words become values, by point name."""
    def of(p):
        factor = config.points[p["scale_from"]]["name"] if "scale_from" in p else None
        return [p.get(k) for k in VALUES] + [factor, devices[p["device"]]]
    return {p["name"]: of(p) for p in config.points}


class Configurations:
    """Which configurations stand approved, and how many measured ticks each was used for."""

    def __init__(self, controls, approved):
        self.all, self.ticks, before, stands = {}, {}, None, False
        for entry, body in controls:
            if entry.control != 2:
                continue
            now = values(body, [(d["name"], d["protocol"], d.get("unit_id")) for d in body.devices])
            stands = entry.index in approved or now == before and stands
            self.all[entry.index], before = (stands, entry.clock[0] if entry.clock[1] else None), now

    def use(self, index, ticks):
        if ticks:
            self.ticks[index] = self.ticks.get(index, 0) + ticks

    def unapproved(self):
        return [{"index": i, "since_ms": self.all[i][1], "ticks": t} for i, t in sorted(self.ticks.items()) if not self.all[i][0]]


def revocations_of(origin, controls, steps, size, options):
    """Every revocation of this log and what is void by it, as the first implementation tells it."""
    spans, current = [], None
    for entry, body in controls:
        if entry.control in (1, 3):
            index = 0 if entry.control == 1 else entry.index + 1
            if current:
                spans.append((*current, index))
            current = (key_id(body["entry_key" if entry.control == 1 else "key"]), index)
    if current:
        spans.append((*current, I64))
    said = [(r, None, True) for r in options.revocations if r["origin"] == origin]
    for entry, body in controls:
        if entry.control == 4:
            message = revocation_message(origin, body["key_id"], body["since"], body["reason"])
            said.append(({**body, "by": body["key"]}, entry.index, signed_by(body["key"], body["signature"], message)))
    found = []
    for r, index, good in said:
        accepted = good and r["by"] in options.approvers
        covered = max((step[0] for step in steps if step[1] is not None and step[1] < r["since"]), default=0)
        mine = [(low, high) for key, low, high in spans if key == r["key_id"]]
        void = [max(low, covered) for low, high in mine if max(low, covered) < min(high, size)]
        found.append({"key_id": r["key_id"].hex(), "since_s": r["since"], "reason": r["reason"], "by": r["by"].hex(), "entry": index,
                      "accepted": accepted, "known": bool(mine), "void_from": min(void) if void and accepted else None})
    return found
