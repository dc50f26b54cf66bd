"""Payloads, chunks and values: F3 to F5."""
import re
import struct
from collections import namedtuple

from .entries import Config
from .failures import I64, Failure, need
from .tree import inner_root, leaf_hash

Chunk = namedtuple("Chunk", "codec w point n first texts at column records end")
# Values are integers on the point's grid; `bad` has the codes of every sample that is not good.
Column = namedtuple("Column", "point values bad offsets")

EXACT = 1 << 53
RANGES = {"u16": (0, 65_535), "bcd16": (0, 65_535), "bit": (0, 65_535), "i16": (-32_768, 32_767), "u32": (0, 2**32 - 1),
          "f32": (0, 2**32 - 1), "bcd32": (0, 2**32 - 1), "i32": (-2**31, 2**31 - 1)}


HEADER = struct.Struct("<BBHHHq")


def split_chunks(payload, at=0, most=1 << 22):
    """The chunks of a payload by header and lengths alone, as plain tuples: a year has 26 million of them."""
    chunks, size, header = [], len(payload), HEADER.unpack_from
    while at < size and len(chunks) < most:
        if size - at < 16:
            raise Failure("E16", "a chunk ends early")
        codec, w, point, n, e, first = header(payload, at)
        column = at + 16
        if codec == 1:
            texts = False
            if w > 56 or n == 0:
                raise Failure("E16", "width or length of a chunk")
            records = column + ((n - 1) * w + 7 >> 3)
        else:
            texts = codec == 2 or w == 255
            need(codec in (2, 3) and (codec == 3 or w == 0) and (texts or w <= 56), "E16", "codec or width of a chunk")
            need(not ((texts or n == 0) and first) and (n or not texts), "E16", "a field of a chunk must be zero")
            column += 4 * n if codec == 3 else 0
            records = texts_end(payload, column, n) if texts else column + (max(n - 1, 0) * w + 7) // 8
        end = records + 4 * e
        if end > size:
            raise Failure("E16", "a chunk ends early")
        chunks.append((codec, w, point, n, first, texts, at, column, records, end))
        at = end
    return chunks


def texts_end(payload, at, count):
    for _ in range(count):
        need(at + 2 <= len(payload), "E16", "a chunk ends early")
        at += 2 + int.from_bytes(payload[at:at + 2], "little")
    return at


def unpack(payload, chunk):
    """The integers of a packed column; refuses any but the smallest width."""
    n, w, value = chunk.n, chunk.w, chunk.first
    if w == 0 or n < 2:
        need(w == 0, "E16", "the width is not the smallest")
        return [value] * n
    packed, mask, values, most = int.from_bytes(payload[chunk.column:chunk.records], "little"), (1 << w) - 1, [value], 0
    append = values.append
    for _ in range(n - 1):
        z = packed & mask
        packed >>= w
        most |= z
        value += -(z + 1 >> 1) if z & 1 else z >> 1
        append(value)
    need(most.bit_length() == w, "E16", "the width is not the smallest")
    need(packed == 0, "E16", "stray bits")
    need(-I64 <= min(values) and max(values) < I64, "E16", "a delta leaves the range")
    return values


def samples(payload, chunk):
    """(values or texts, offsets, codes by sample) in the one encoding of F3."""
    if chunk.texts:
        values, p = [], chunk.column
        for _ in range(chunk.n):
            length = int.from_bytes(payload[p:p + 2], "little")
            values.append(bytes(payload[p + 2:p + 2 + length]))
            p += 2 + length
    else:
        values = unpack(payload, chunk)
    offsets = list(struct.unpack_from(f"<{chunk.n}I", payload, chunk.at + 16)) if chunk.codec == 3 else None
    need(not offsets or all(a <= b for a, b in zip(offsets, offsets[1:])), "E16", "offsets decrease")
    codes, last, absent = {}, (-1, 0), False
    for p in range(chunk.records, chunk.end, 4):
        sample, code = payload[p] | payload[p + 1] << 8, payload[p + 2]
        need(1 <= code <= 9 or 32 <= code <= 47, "E16", f"quality code {code}")
        need((sample, code) > last and sample < chunk.n, "E16", "quality records out of order")
        last, absent = (sample, code), absent or code < 32
        codes.setdefault(sample, []).append(code)
    if absent:
        empty = {sample for sample, found in codes.items() if found[0] < 32}
        zero = 0 if not chunk.texts else bytes(8) if values and len(values[0]) == 8 else b""
        previous = next((v for i, v in enumerate(values) if i not in empty), zero)
        for i, v in enumerate(values):
            need(i not in empty or v == previous, "E16", "an empty slot does not repeat its predecessor")
            previous = v
    return values, offsets, codes


def bounds(p):
    low = Config.on_grid(p, p["min"]) if "min" in p else 1 - EXACT
    high = Config.on_grid(p, p["max"]) if "max" in p else EXACT - 1
    return max(low, 1 - EXACT), min(high, EXACT - 1)


def json_value(data, decimals):
    """A JSON number exactly on the grid, or None."""
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
    return None if value >= EXACT else -value if m[1] else value


def number(p, kind, x):
    """One column value as an integer on the grid, or None."""
    if kind in ("f32", "f64"):
        v = struct.unpack("<f", struct.pack("<I", x))[0] if kind == "f32" else struct.unpack("<d", struct.pack("<q", x))[0]
        scaled = v * float(10 ** p["decimals"])
        return round(scaled) if abs(scaled) < 9.2e18 else None
    if kind == "u64":
        x &= (1 << 64) - 1
    elif kind.startswith("bits"):
        low, high = map(int, kind[4:].split("-"))
        x = x >> low & (1 << high - low + 1) - 1
    elif kind.startswith("bit"):
        x = x >> int(kind[3:]) & 1
    elif kind.startswith("bcd"):
        digits = f"{x & (1 << 64) - 1:x}"
        if not digits.isdigit():
            return None
        x = int(digits)
    return x * Config.on_grid(p, p["scale"]) + Config.on_grid(p, p["offset"])


def is_nan(kind, x):
    """Whether a column value of a float type is a NaN: all exponent bits and one more."""
    width, infinity = (32, 0x7F800000) if kind == "f32" else (64, 0x7FF0000000000000)
    return kind in ("f32", "f64") and x & (1 << width - 1) - 1 > infinity


def sentinel(p):
    """What tells whether a column value is one of the point's sentinels; a NaN among them stands for every NaN."""
    kind, sentinels = p["format"][0], set(p.get("sentinels", ()))
    if any(is_nan(kind, s) for s in sentinels):
        return lambda x: x in sentinels or is_nan(kind, x)
    return sentinels.__contains__


def scaled(p, values, exponents):
    """As `decode`, for a point with a scale factor; `exponents` are the factor's good values by sample."""
    kind, is_sentinel, out, bad = p["format"][0], sentinel(p), [], {}
    low, high = bounds(p)
    for i, x in enumerate(values):
        exponent, m = exponents[i], None
        if is_sentinel(x):
            bad[i] = 32
        elif exponent is None or not -10 <= exponent <= 10:
            bad[i] = 33
        else:
            x = x & (1 << 64) - 1 if kind == "u64" else x
            shift = exponent + p["decimals"]
            m, rest = (x * 10 ** shift, 0) if shift >= 0 else divmod(x, 10 ** -shift)
            if rest:
                bad[i] = 43
            elif not low <= m <= high:
                bad[i] = 33
        out.append(m)
    return out, bad


def decode(p, values, wanted):
    """(values on the grid, {sample: derived code}) of integer column values."""
    kind, sentinels = p["format"][0], p.get("sentinels", ())
    low, high = bounds(p)
    least, most = (min(values), max(values)) if values else (0, 0)
    if not any(least <= s <= most for s in sentinels):
        if kind == "number":
            if low <= least and most <= high:
                return values, {}
        elif kind in ("u16", "i16", "u32", "i32", "i64"):
            scale, offset = Config.on_grid(p, p["scale"]), Config.on_grid(p, p["offset"])
            ends = sorted((least * scale + offset, most * scale + offset))
            if low <= ends[0] and ends[1] <= high:
                return ([v * scale + offset for v in values] if wanted else values), {}
        elif kind == "f32" and not wanted and "min" not in p and "max" not in p:
            # Positive floats are ordered like their bits, so the largest one decides.
            top = number(p, kind, most) if most < 0x7F800000 else None
            if top is not None and top < EXACT:
                return values, {}
    out, bad, is_sentinel = [], {}, sentinel(p)
    for i, x in enumerate(values):
        m = None
        if is_sentinel(x):
            bad[i] = 32
        else:
            m = x if kind == "number" else number(p, kind, x)
            if m is None or not low <= m <= high:
                bad[i] = 33
        out.append(m)
    return out, bad


def column(p, chunk, payload, ticks, tick_ms, wanted):
    """The decoded samples of a point."""
    kind = p["format"][0]
    message = kind == "number"
    need(message == (chunk.codec == 3), "E18", f"point {chunk.point} uses another codec than its format")
    need(message or chunk.n == ticks, "E17", f"point {chunk.point} has {chunk.n} samples for {ticks} ticks")
    values, offsets, codes = samples(payload, chunk)
    need(not offsets or offsets[-1] < ticks * tick_ms, "E17", "a message outside the segment")
    if chunk.texts and message:
        need(any(43 in found for found in codes.values()), "E18", "texts without one that is off the grid")
        low, high = bounds(p)
        values = [json_value(t, p["decimals"]) for t in values]
        derived = {i: 43 if v is None else 33 for i, v in enumerate(values) if v is None or not low <= v <= high}
    elif kind == "text":
        need(chunk.texts, "E18", "a text point without texts")
        some = any(codes.get(i, (64,))[0] >= 32 for i in range(chunk.n))
        length = 2 * p["source"][3] if some else 0
        need(all(len(t) == length for t in values), "E18", "a text of another length than its registers")
        derived = dict.fromkeys(range(chunk.n), 43)
    else:
        if chunk.texts:
            need(all(len(t) == 8 for t in values), "E18", "a wide integer is not eight bytes")
            values = [int.from_bytes(t, "big", signed=True) for t in values]
            deltas = [b - a for a, b in zip(values, values[1:])]
            wide = any(not -I64 <= d < I64 or ((d << 1) ^ (d >> 63)).bit_length() > 56 for d in deltas)
        low, high = RANGES.get("bit" if kind.startswith("bit") else kind, (-I64, I64 - 1))
        need(not values or low <= min(values) and max(values) <= high, "E18", "a value that no register can hold")
        need(not chunk.texts or wide, "E18", "codec 2 where codec 1 fits")
        # A point with a scale factor waits for the factor's column.
        values, derived = (values, {}) if "scale_from" in p else decode(p, values, wanted)
    for sample, code in derived.items():
        codes.setdefault(sample, [code])
    return Column(p, values, codes, offsets)


def split_shown(payload, expected, shown):
    """Class B: (leaf hashes, chunks) of a part in which hashes stand for the chunks that are not shown."""
    leaves, chunks, at, places = [], [], 0, iter(expected)
    while at < len(payload):
        point = next(places, None)
        if point is not None and point not in shown:
            need(at + 32 <= len(payload), "E16", "a chunk's hash ends early")
            leaves.append(bytes(payload[at:at + 32]))
            at += 32
        else:
            chunk = split_chunks(payload, at, 1)[0]
            leaves.append(leaf_hash(payload[at:chunk[9]]))
            chunks.append(chunk)
            at = chunk[9]
    return leaves, chunks


def shown_points(points, names):
    """The points whose chunks class B shows: the listed ones and the scale factors of those."""
    listed = {i for i, p in enumerate(points) if p["name"] in names}
    return listed | {points[i]["scale_from"] for i in listed if "scale_from" in points[i]}


def open_payload(payload, signed, points, expected, ticks, tick_ms, wanted, names=None):
    """F8.8: a payload against what was signed. `names`: the points that class B lists; None in class A.

    `wanted`: names of points whose columns are handed back; None decodes nothing.
    Returns (columns by name, samples, {code: samples that are not good}).
    """
    root, count, length = signed
    if names is None:
        chunks = split_chunks(payload)
        leaves = [leaf_hash(payload[c[6]:c[9]]) for c in chunks]
    else:
        shown = shown_points(points, names)
        leaves, chunks = split_shown(payload, expected, shown)
    need(inner_root(list(leaves)) == root, "E15", "the payload's root is not the signed one")
    need(len(leaves) == count, "E16", "another number of chunks than signed")
    if names is not None:
        hidden = len(leaves) - len(chunks)
        least = sum(c[9] - c[6] for c in chunks) + 16 * hidden
        need(least == length or hidden and least < length, "E14", "what is shown does not fit the signed length")
        expected = [point for point in expected if point in shown]
    if wanted is None:
        need([c[2] for c in chunks] == expected, "E17", "not exactly the points of the stream")
        return None, 0, {}
    opened, total, bad = {}, 0, {}
    factors = {points[i]["scale_from"] for i in expected if "scale_from" in points[i]}
    for i, chunk in enumerate(map(Chunk._make, chunks)):
        need(i < len(expected) and chunk.point == expected[i], "E17", "not exactly the points of the stream")
        p = points[chunk.point]
        opened[chunk.point] = column(p, chunk, payload, ticks, tick_ms, p["name"] in wanted or chunk.point in factors)
    need(len(chunks) == len(expected), "E17", "not exactly the points of the stream")
    columns = {}
    for index, found in opened.items():
        p = points[index]
        if "scale_from" in p:
            factor = opened[p["scale_from"]]
            exponents = [None if i in factor.bad else v for i, v in enumerate(factor.values)]
            values, derived = scaled(p, found.values, exponents)
            found = found._replace(values=values)
            for sample, code in derived.items():
                found.bad.setdefault(sample, [code])
        total += len(found.values)
        for codes in found.bad.values():
            bad[codes[0]] = bad.get(codes[0], 0) + 1
        if p["name"] in wanted:
            columns[p["name"]] = found
    return columns, total, bad


__all__ = ["Column", "Failure", "open_payload"]
