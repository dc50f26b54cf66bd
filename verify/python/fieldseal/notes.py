"""Names, keys, notes and policies, T3 to T7."""
import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .failures import I64, Failure, Mistake, need
from .tree import sha256


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
    @staticmethod
    def split(data, code):
        """Text and signature lines (name, key hash, signature) of any signed note."""
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
        found = []
        for line in lines:
            mark, _, rest = line.partition(" ")
            name, space, coded = rest.partition(" ")
            sig = unbase64(coded)
            need(mark == "—" and space and is_key_name(name) and sig and len(sig) >= 5, code, "a signature line is malformed")
            found.append((name, sig[:4], sig[4:]))
        return text + "\n", found

    def __init__(self, data, code):
        self.text, self.lines = self.split(data, code)
        self.code = code
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
