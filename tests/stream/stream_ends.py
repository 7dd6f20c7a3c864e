"""Ends of a stream that the tests hold in their hands, and what flows between them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vaelocity.stream.message import Message

D = 7
NAMES = [f"f{j}" for j in range(D)]


def rows_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)


def table_of(rows: np.ndarray, kind: Any = np.float32) -> pa.Table:
    """Rows with a column for every feature, and events numbered from 2^53 on."""
    columns = {name: rows[:, j].astype(kind) for j, name in enumerate(NAMES)}
    return pa.table({"event": np.arange(2**53, 2**53 + len(rows)), **columns})


def numbered(n: int, first: int = 0) -> np.ndarray:
    """The features of n events with numbers from `first` on: they follow from the number."""
    number = np.arange(first, first + n)
    return np.sin(number[:, None] * 0.7 + np.arange(D)).astype(np.float32)


def batch_of(n: int, first: int = 0, **more: object) -> pa.RecordBatch:
    """Events with numbers from `first` on, their features in one column of rows."""
    lists = pa.FixedSizeListArray.from_arrays(pa.array(numbered(n, first).reshape(-1)), D)
    return pa.record_batch({"event": np.arange(first, first + n), **more, "features": lists})


def stream_of(*batches: pa.RecordBatch, end: bool = True) -> bytes:
    """An Arrow IPC stream. end: with the mark that nothing follows."""
    out = pa.BufferOutputStream()
    writer = pa.ipc.new_stream(out, batches[0].schema)
    for batch in batches:
        writer.write_batch(batch)
    if end:
        writer.close()
    return out.getvalue().to_pybytes()


def messages(sizes: Sequence[int]) -> list[Message]:
    edges = np.cumsum([0, *sizes]).tolist()
    return [
        Message(batch_of(n, first), time.perf_counter(), f"message {i}", i)
        for i, (n, first) in enumerate(zip(sizes, edges, strict=False))
    ]


class ListSource:
    """Gives `at_once` messages a poll; `taken` counts them. Ends after the last, or at stop()."""

    name = "a list"
    commits = True

    def __init__(
        self,
        given: Sequence[Message],
        *,
        at_once: int = 1,
        replays: bool = True,
        log: list[Any] | None = None,
    ) -> None:
        self.replays, self.log = replays, log if log is not None else []
        self.taken = 0
        self._given, self._at_once, self._stopped = given, at_once, False

    def poll(self, timeout: float) -> Sequence[Message] | None:
        if self._stopped or self.taken == len(self._given):
            return None
        found = self._given[self.taken : self.taken + self._at_once]
        self.taken += len(found)
        return found

    def stop(self) -> None:
        self._stopped = True

    def commit(self, positions: Sequence[Any]) -> None:
        self.log.append(("commit", list(positions)))

    def close(self) -> None:
        self.log.append(("source closed",))


class ListSink:
    """Keeps what it is given. fail_at: the row at which writing raises."""

    name = "a sink"

    def __init__(self, log: list[Any] | None = None, fail_at: int | None = None) -> None:
        self.log = log if log is not None else []
        self.batches: list[pa.RecordBatch] = []
        self._fail_at = fail_at

    @property
    def events(self) -> list[int]:
        return [event for batch in self.batches for event in batch.column("event").to_pylist()]

    def write(self, batch: pa.RecordBatch) -> None:
        if self._fail_at is not None and len(self.events) + batch.num_rows > self._fail_at:
            raise OSError(28, "No space left on device")
        self.batches.append(batch)
        self.log.append(("write", batch.num_rows))

    def flush(self, positions: Sequence[Any]) -> None:
        self.log.append(("flush", list(positions)))

    def close(self, *, complete: bool) -> None:
        self.log.append(("sink closed", complete))
