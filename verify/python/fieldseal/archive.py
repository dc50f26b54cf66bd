"""The archive, B1."""
import os

from .failures import MISSING, Failure, need
from .notes import decimal


class Tar:
    """The archive, B1: a list of (path, offset, size) in order."""

    ORDER = ["origin", "checkpoint", "range-start", "disclosure", "control", "blobs", "trail", "time", "entries.bin", "payload.bin"]

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
        self.project = any(name.startswith("project/") for name in self.files)
        if self.project:
            for name in ("origin", "checkpoint", "entries.bin"):
                if f"project/{name}" not in self.files:
                    raise Failure("V01", f"project/{name} is missing", exit_code=MISSING)
            self.complete("project/")

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
        for name in self.under(log, "time/"):
            if f"logs/{log}/trail/{name.split('/')[1].removesuffix('.tsr')}" not in self.files:
                raise Failure("V01", "the trail note of a timestamp is missing", exit_code=MISSING)

    def under(self, log, folder):
        start = log if log.endswith("/") else f"logs/{log}/"
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
        if parts[0] == "inputs":
            known = len(parts) == 2 and len(parts[1]) == 64 and not set(parts[1]) - set("0123456789abcdef")
            return (5, parts[1]) if known else None
        if parts[0] == "project":
            rest = self.log_file(parts[1:]) if parts[1:2] not in (["range-start"], ["disclosure"], ["control"], ["time"], ["payload.bin"]) else None
            return rest and (4, *rest)
        if parts[0] != "logs" or len(parts) < 3 or len(parts[1]) != 64 or set(parts[1]) - set("0123456789abcdef"):
            return None
        rest = self.log_file(parts[2:])
        return rest and (3, parts[1], *rest)

    def log_file(self, parts):
        """The place of a file among those of one log."""
        kind, rest = parts[0], parts[1:]
        if kind not in self.ORDER or len(rest) != (kind in ("control", "blobs", "trail", "time")):
            return None
        own = ()
        if kind == "control":
            index, _, suffix = rest[0].partition(".")
            if decimal(index) is None or suffix not in ("entry", "proof"):
                return None
            own = (int(index), suffix)
        elif kind in ("trail", "time"):
            if kind == "time" and not rest[0].endswith(".tsr"):
                return None
            size, _, number = rest[0].removesuffix(".tsr" if kind == "time" else "").partition("-")
            if decimal(size) is None or decimal(number) is None:
                return None
            own = (int(size), int(number))
        elif kind == "blobs":
            if len(rest[0]) != 64 or set(rest[0]) - set("0123456789abcdef"):
                return None
            own = (rest[0],)
        return (self.ORDER.index(kind), *own)
