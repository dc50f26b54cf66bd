"""Checking entries that need no order, on as many processors as there are.

A job is a list of (index, key, signature, message, payload or None, signed, config body, stream, ticks, tick_ms, shown names).
Jobs come back in order; the first entry that fails ends the list of results with its failure.
"""
import collections
import functools
import multiprocessing
import os

from .chunks import open_payload
from .entries import Config
from .failures import Failure
from .notes import signed_by

JOB_ENTRIES = 128
# Below this many entries starting processes costs more than it saves.
FEW_ENTRIES = 4_000


@functools.lru_cache(maxsize=8)
def table(body):
    return Config(body)


def check(job, wanted):
    results = []
    for index, key, signature, message, payload, signed, body, stream, ticks, tick_ms, names in job:
        try:
            if key is not None and not signed_by(key, signature, message):
                raise Failure("E06", "the signature does not verify")
            opened = None
            if payload is not None:
                config = table(body)
                opened = open_payload(payload, signed, config.points, config.of_stream[stream], ticks, tick_ms, wanted, names)
            results.append(opened)
        except Failure as failure:
            results.append((failure.code, failure.text, index))
            return results, True
    return results, False


class Workers:
    """Takes entries in order and hands their results to `sink(meta, opened)` in order."""

    def __init__(self, entries, wanted, sink, processes=None):
        self.wanted, self.sink, self.job, self.metas = wanted, sink, [], []
        self.pending, self.pool = collections.deque(), None
        if processes is None:
            processes = os.cpu_count() or 1 if entries > FEW_ENTRIES else 1
        if processes > 1:
            self.pool = multiprocessing.get_context("fork").Pool(processes)
            self.most = 4 * processes

    def add(self, meta, *task):
        self.metas.append(meta)
        self.job.append(task)
        if len(self.job) >= JOB_ENTRIES:
            self.send()

    def send(self):
        job, metas = self.job, self.metas
        self.job, self.metas = [], []
        if self.pool is None:
            self.take(metas, check(job, self.wanted))
            return
        self.pending.append((metas, self.pool.apply_async(check, (job, self.wanted))))
        if len(self.pending) >= self.most:
            metas, result = self.pending.popleft()
            self.take(metas, result.get())

    def take(self, metas, outcome):
        results, failed = outcome
        for meta, opened in zip(metas, results):
            if failed and meta is metas[len(results) - 1]:
                raise Failure(opened[0], opened[1], opened[2])
            self.sink(meta, opened)

    def finish(self):
        """Checks what was added and is not checked yet."""
        self.send()
        while self.pending:
            metas, result = self.pending.popleft()
            self.take(metas, result.get())

    def stop(self):
        if self.pool is not None:
            self.pool.terminate()
