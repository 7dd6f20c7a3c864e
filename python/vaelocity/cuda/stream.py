"""Host memory to scores in host memory, with copies and kernels that overlap: CudaScorer's
score_stream.

Copies within host memory are NumPy's, one thread each. torch's, of more than 32,768 values, are
OpenMP regions, and a region of 16 threads took some 10 ms on the host of an H200, for 1 MB as for
62: more than a batch takes over PCIe (1.2 ms).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from vaelocity.cuda.accept import Accepted
from vaelocity.cuda.staging import Staging
from vaelocity.histogram import ScoreHistogram
from vaelocity.histogram_reference import BINS

if TYPE_CHECKING:
    from vaelocity.cuda.scorer import CudaScorer

Tensor = torch.Tensor
Array = npt.NDArray[Any]

_SLOTS = 2
_RESULT_BYTES = 5  # a float32 score and a uint8 flag
_ACCEPTED_BYTES = 12  # an int64 row and a float32 score

_MOST_COUNTED = 1 << 30  # counts on the device are int32


@dataclass(frozen=True)
class Wanted:
    """What a stream gives: scores, with flags beside them, or, with a threshold, the accepted
    events alone. histogram: takes in all scores."""

    flags: bool
    threshold: float | None
    histogram: ScoreHistogram | None


class _Slot:
    """One of the two streams, with the buffers of a part of a batch on both sides."""

    def __init__(self, scorer: CudaScorer, rows: int, dtype: torch.dtype, wanted: Wanted) -> None:
        self._scorer, self._wanted = scorer, wanted
        self.stream = torch.cuda.Stream(scorer.device)  # type: ignore[no-untyped-call]
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._rows = torch.empty((rows, scorer.n_features), dtype=dtype, device=scorer.device)
        self._host_rows: Tensor | None = None
        self._scores = torch.empty(rows, dtype=torch.float32, device=scorer.device)
        back, self._flags, self._accepted = [self._scores], None, None
        if wanted.flags:
            self._flags = torch.empty(rows, dtype=torch.uint8, device=scorer.device)
            back.append(self._flags)
        if wanted.threshold is not None:
            self._accepted = Accepted.empty(rows, scorer.device)
            back = [self._accepted.index, self._accepted.scores, self._accepted.count]
        self._back = back
        self._host = [torch.empty(len(t), dtype=t.dtype, pin_memory=True) for t in back]
        self._found: list[Array] = [t.numpy() for t in self._host]
        # The scorer's parameters may still be on their way.
        self.stream.wait_stream(torch.cuda.current_stream(scorer.device))

    def start(self, rows: Tensor, counts: Tensor | None, before: _Slot, staging: Staging) -> None:
        """Queue copy in, kernel and copy back of at most `rows` events; the kernel behind what the
        slot `before` has queued: both use the scorer's scratch memory."""
        n = len(rows)
        source = rows
        if not (rows.is_pinned() and rows.is_contiguous()):
            if self._host_rows is None:
                shape = tuple(self._rows.shape)
                self._host_rows = torch.empty(shape, dtype=rows.dtype, pin_memory=True)
            source = self._host_rows[:n]
            staging.copy(source, rows)
        with torch.cuda.stream(self.stream):
            self._rows[:n].copy_(source, non_blocking=True)
            self.stream.wait_stream(before.stream)
            self._scorer.score_into(
                self._rows[:n],
                scores=self._scores[:n],
                flags=None if self._flags is None else self._flags[:n],
                counts=counts,
                accepted=self._accepted,
                threshold=self._wanted.threshold,
            )
            # Of accepted events the count alone: how many to copy is not known before.
            for host, result in zip(self._host, self._back, strict=True):
                if self._accepted is None:
                    host[:n].copy_(result[:n], non_blocking=True)
                elif result is self._accepted.count:
                    host.copy_(result, non_blocking=True)
            self._done.record(self.stream)

    def finish(self, n: int) -> list[Array]:
        """Wait for what was started: its scores [n] and flags, or index and scores of the accepted
        events, in the pinned memory, where the next start() overwrites them."""
        self._done.synchronize()
        if self._accepted is None:
            return [found[:n] for found in self._found]
        m = int(self._host[2])
        with torch.cuda.stream(self.stream):
            for host, result in zip(self._host[:2], self._back[:2], strict=True):
                host[:m].copy_(result[:m], non_blocking=True)
            self._done.record(self.stream)
        self._done.synchronize()
        return [found[:m] for found in self._found[:2]]


class _Batch:
    """What comes back of a batch; left: its parts that are under way or to come."""

    def __init__(self, rows: int, parts: int, wanted: Wanted) -> None:
        self.left = parts
        self._accepted: list[tuple[Array, Array]] | None = None
        self._results: list[Tensor] = []
        if wanted.threshold is not None:
            self._accepted = [(np.empty(0, np.int64), np.empty(0, np.float32))]
            return
        kinds = (torch.float32, torch.uint8) if wanted.flags else (torch.float32,)
        self._results = [torch.empty(rows, dtype=kind) for kind in kinds]

    def take(self, found: list[Array], at: int) -> None:
        """Copy what a slot has found of the part that begins at row `at`."""
        self.left -= 1
        if self._accepted is not None:
            index, scores = found
            self._accepted.append((index + at, scores.copy()))
            return
        for result, part in zip(self._results, found, strict=True):
            np.copyto(result.numpy()[at : at + len(part)], part)

    def result(self) -> Any:
        """What the stream yields of it."""
        if self._accepted is not None:
            index, scores = map(np.concatenate, zip(*self._accepted, strict=True))
            return torch.from_numpy(index), torch.from_numpy(scores)
        return tuple(self._results) if len(self._results) > 1 else self._results[0]


class _Pipeline:
    """The slots, and what runs in them."""

    def __init__(self, scorer: CudaScorer, rows: int, dtype: torch.dtype, wanted: Wanted) -> None:
        self._scorer, self._wanted = scorer, wanted
        self.rows, self.dtype = rows, dtype
        self._counts = None if wanted.histogram is None else scorer.new_counts()
        self._counted = 0
        self._staging = Staging()
        self._slots = deque(_Slot(scorer, rows, dtype, wanted) for _ in range(_SLOTS))
        self._running: deque[tuple[_Slot, _Batch, int, int]] = deque()

    def start(self, rows: Tensor, batch: _Batch, at: int) -> None:
        """Begin rows at .. of a batch; first finish the oldest part if all slots are taken."""
        if len(self._running) == _SLOTS:
            self.finish_oldest()
        if self._counted + len(rows) > _MOST_COUNTED:
            self.count()
        self._counted += len(rows)
        slot, before = self._slots[0], self._slots[-1]
        self._slots.rotate(-1)
        slot.start(rows, self._counts, before, self._staging)
        self._running.append((slot, batch, at, len(rows)))

    def finish_oldest(self) -> bool:
        """Wait for the part that was begun first; False if none is under way."""
        if not self._running:
            return False
        slot, batch, at, n = self._running.popleft()
        batch.take(slot.finish(n), at)
        return True

    def close(self) -> None:
        """What has been counted goes to the histogram, and the threads end."""
        self._staging.close()
        self.count()

    def count(self) -> None:
        """Wait for all that is under way, and add what was counted to the histogram."""
        if self._counts is None or self._wanted.histogram is None:
            return
        for slot in self._slots:
            slot.stream.synchronize()
        part = ScoreHistogram(self._scorer.kind, self._scorer.identity)
        self._wanted.histogram.merge(part.add_counts(self._counts.cpu().numpy()))
        self._counts.zero_()
        # The next kernel must not count before that.
        for slot in self._slots:
            slot.stream.wait_stream(torch.cuda.current_stream(self._scorer.device))
        self._counted = 0


def score_stream(
    scorer: CudaScorer, batches: Iterable[Any], batch_rows: int, wanted: Wanted
) -> Iterator[Any]:
    """See CudaScorer.score_stream."""
    if batch_rows < 1:
        raise ValueError(f"batch_rows: expected at least 1, got {batch_rows}")
    pipeline: _Pipeline | None = None
    started: deque[_Batch] = deque()

    def finished() -> Iterator[Any]:
        while started and not started[0].left:
            yield started.popleft().result()

    try:
        for given in batches:
            dtype = None if pipeline is None else pipeline.dtype
            rows = _checked(given, scorer.n_features, dtype)
            if pipeline is None:
                at_once = _rows_that_fit(scorer, batch_rows, rows.element_size(), wanted)
                pipeline = _Pipeline(scorer, at_once, rows.dtype, wanted)
            starts = range(0, len(rows), pipeline.rows)
            batch = _Batch(len(rows), len(starts), wanted)
            started.append(batch)
            for start in starts:
                pipeline.start(rows[start : start + pipeline.rows], batch, start)
            yield from finished()
        while pipeline is not None and pipeline.finish_oldest():
            pass
        yield from finished()
    finally:
        if pipeline is not None:
            pipeline.close()


def _checked(given: Any, n_features: int, dtype: torch.dtype | None) -> Tensor:
    rows = given if isinstance(given, torch.Tensor) else torch.from_numpy(given)
    if rows.device.type != "cpu":
        raise ValueError(f"batches: expected tensors on the CPU, got one on {rows.device}")
    if rows.ndim != 2 or rows.shape[1] != n_features:
        raise ValueError(f"batches: expected shape [m, {n_features}], got {tuple(rows.shape)}")
    allowed = (torch.float32, torch.bfloat16, torch.float16) if dtype is None else (dtype,)
    if rows.dtype not in allowed:
        names = " or ".join(map(str, allowed))
        raise TypeError(f"batches: expected {names}, got {rows.dtype}")
    return rows


def _rows_that_fit(scorer: CudaScorer, batch_rows: int, element_size: int, wanted: Wanted) -> int:
    """Rows of a buffer within the scorer's memory limit."""
    if scorer.memory_limit is None:
        return batch_rows
    accepted = 0 if wanted.threshold is None else _ACCEPTED_BYTES
    counts = 0 if wanted.histogram is None else 4 * (BINS + 1)
    left = scorer.memory_limit - scorer.device_bytes - counts
    per_row = _SLOTS * (scorer.n_features * element_size + _RESULT_BYTES + accepted)
    if left < per_row:
        raise ValueError(
            f"memory_limit: {scorer.memory_limit} bytes leave no room for a row, the model "
            f"takes {scorer.device_bytes}" + (f", the counts {counts}" if counts else "")
        )
    return min(batch_rows, left // per_row)
