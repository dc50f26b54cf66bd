"""Hashes and trees, T2."""
import hashlib


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
