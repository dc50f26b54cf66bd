#!/usr/bin/env python3
"""Verifies single readings, each from its own file of some 1 to 2 KB (FORMAT.md, S1), without the bundle.

A second implementation of `fieldseal-verify spot-check --proof`. Exit codes: 0 every reading is proven,
2 integrity, 4 witnesses missing, 6 a mistake in the verifier's own files.
"""
import argparse
import json
import sys

from fieldseal.chunks import Chunk, samples, split_chunks
from fieldseal.entries import Entry
from fieldseal.failures import INPUT, INTEGRITY, TIME, Failure, Mistake
from fieldseal.notes import Note, Policy, Vkey
from fieldseal.tree import included, leaf_hash

FIRST = b"fieldseal-reading/1\n"
NO_SAMPLE = 65_535


class Refused(Exception):
    """A link that does not hold, with its code."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def need(condition, code, text):
    if not condition:
        raise Refused(code, text)


class Parts:
    """Takes a file apart from the front."""

    def __init__(self, data):
        need(data.startswith(FIRST), "S01", "not a file of this form and version")
        self.rest = data[len(FIRST):]

    def take(self, length):
        need(length <= len(self.rest), "S01", "it ends early")
        part, self.rest = self.rest[:length], self.rest[length:]
        return part

    def number(self, width):
        return int.from_bytes(self.take(width), "big")

    def hashes(self):
        count = self.number(1)
        need(count <= 63, "S01", "a path of more than 63 hashes")
        return [self.take(32) for _ in range(count)]


def coded(code, step):
    """What a step gives; what it refuses is refused under this code."""
    try:
        return step()
    except Failure as failure:
        raise Refused(code, failure.text) from None


def verify(data, anchors, policy):
    """What the file proves, as a dictionary."""
    parts = Parts(data)
    entry_bytes, position, chunk_bytes = parts.take(parts.number(2)), parts.number(4), parts.take(parts.number(4))
    sample, inner, outer = parts.number(2), parts.hashes(), parts.hashes()
    note = coded("S01", lambda: Note(parts.rest, "S01"))
    anchor = anchors.get(note.origin)
    if anchor is None:
        raise Mistake(f"you brought no key for the log `{note.origin}`")
    need(coded("S02", lambda: note.by(anchor)), "S02", "the checkpoint is not signed by the log's key")
    need(not policy.logs or anchor in policy.logs, "S02", "the policy does not know the log")
    times = [min(found) if (found := coded("S02", lambda vkey=vkey: note.by(vkey))) else None for _, vkey in policy.witnesses]
    need(policy.met(times)[0], "S03", "the quorum is not met")
    entry = coded("S04", lambda: Entry(entry_bytes, note.origin))
    need(included(leaf_hash(entry_bytes), entry.index, note.size, outer, note.root), "S05", "the entry is not in the log")
    need(entry.kind == 1, "S07", "it is no data entry")
    root, count, _ = entry.payload
    need(included(leaf_hash(chunk_bytes), position, count, inner, root), "S06", "the chunk is not of this entry")
    found = coded("S07", lambda: split_chunks(chunk_bytes))
    need(len(found) == 1, "S07", "not one chunk")
    chunk = Chunk._make(found[0])
    need(chunk.codec == 3 or chunk.n == entry.count, "S07", "the chunk does not fill the ticks of the entry")
    values, offsets, codes = coded("S07", lambda: samples(chunk_bytes, chunk))
    if sample == NO_SAMPLE and chunk.n == 0:
        raw = None
    else:
        need(sample < chunk.n, "S07", "the chunk has no such sample")
        raw = values[sample].hex() if chunk.texts else values[sample]
    return {
        "log": note.origin, "entry": entry.index, "leaf": leaf_hash(entry_bytes).hex(), "stream": entry.stream, "point": chunk.point,
        "tick": entry.first + (0 if chunk.codec == 3 else sample), "offset_ms": offsets[sample] if offsets and sample < chunk.n else None,
        "raw": raw, "codes": codes.get(sample, []), "size": note.size, "root": note.root.hex(),
        "cosigned": [[name, time] for (name, _), time in zip(policy.witnesses, times) if time is not None], "bytes": len(data),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="+", help="proof files, FILE.reading")
    parser.add_argument("--policy", required=True, help="your witness policy")
    parser.add_argument("--anchor", action="append", required=True, help="verification key of a log")
    args = parser.parse_args()
    readings, failures, exits = [], [], []
    try:
        with open(args.policy, encoding="utf-8") as file:
            policy = Policy(file.read())
        anchors = {vkey.name: vkey for vkey in map(Vkey, args.anchor)}
        for name in args.file:
            try:
                with open(name, "rb") as file:
                    readings.append({"file": name, **verify(file.read(), anchors, policy)})
            except Refused as refused:
                failures.append({"code": refused.code, "text": f"{name}: {refused}"})
                exits.append(TIME if refused.code == "S03" else INTEGRITY)
    except (Mistake, OSError, UnicodeDecodeError) as mistake:
        failures.append({"code": None, "text": str(mistake)})
        exits.append(INPUT)
    print(json.dumps({"readings": readings, "failures": failures}, indent=1))
    return min(exits, default=0)


if __name__ == "__main__":
    sys.exit(main())
