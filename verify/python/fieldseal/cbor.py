"""Deterministic CBOR, F9, and the checks of its values."""
from .failures import I64, Failure


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
