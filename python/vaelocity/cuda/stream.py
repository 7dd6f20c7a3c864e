"""Host memory to scores in host memory, with copies and kernels that overlap: CudaScorer's
score_stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from vaelocity.cuda.accept import Accepted
from vaelocity.histogram import ScoreHistogram
from vaelocity.histogram_reference import BINS

if TYPE_CHECKING:
    from vaelocity.cuda.scorer import CudaScorer

Tensor = torch.Tensor

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
        shape = (rows, scorer.n_features)
        self._host_rows = torch.empty(shape, dtype=dtype, pin_memory=True)
        self._rows = torch.empty(shape, dtype=dtype, device=scorer.device)
        self._scores = torch.empty(rows, dtype=torch.float32, device=scorer.device)
        self._flags = torch.empty(rows, dtype=torch.uint8, device=scorer.device)
        self._accepted: Accepted | None = None
        back = [self._scores, self._flags]
        if wanted.threshold is not None:
            self._accepted = Accepted.empty(rows, scorer.device)
            back = [self._accepted.index, self._accepted.scores, self._accepted.count]
        self._back = back
        self._host = [torch.empty(len(t), dtype=t.dtype, pin_memory=True) for t in back]
        # The scorer's parameters may still be on their way.
        self.stream.wait_stream(torch.cuda.current_stream(scorer.device))

    def start(self, rows: Tensor, counts: Tensor | None, before: _Slot) -> None:
        """Queue copy in, kernel and copy back of at most `rows` events; the kernel behind what the
        slot `before` has queued: both use the scorer's scratch memory."""
        n = len(rows)
        source = rows
        if not rows.is_pinned():
            source = self._host_rows[:n]
            source.copy_(rows)
        with torch.cuda.stream(self.stream):
            self._rows[:n].copy_(source, non_blocking=True)
            self.stream.wait_stream(before.stream)
            self._scorer.score_into(
                self._rows[:n],
                scores=self._scores[:n],
                flags=self._flags[:n] if self._accepted is None else None,
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

    def finish(self, n: int) -> tuple[Tensor, Tensor]:
        """Wait for what was started, and copy its results out of the pinned memory: scores and
        flags [n], or index and scores of the accepted events."""
        self._done.synchronize()
        if self._accepted is None:
            return self._host[0][:n].clone(), self._host[1][:n].clone()
        m = int(self._host[2])
        with torch.cuda.stream(self.stream):
            for host, result in zip(self._host[:2], self._back[:2], strict=True):
                host[:m].copy_(result[:m], non_blocking=True)
            self._done.record(self.stream)
        self._done.synchronize()
        return self._host[0][:m].clone(), self._host[1][:m].clone()


class _Batch:
    """A batch whose parts are under way; parts: what came back of those that are done."""

    def __init__(self, parts: int) -> None:
        self.left = parts
        self.parts: list[tuple[Tensor, Tensor]] = []

    def result(self, wanted: Wanted) -> Any:
        """What the stream yields of it."""
        kinds = (torch.float32, torch.uint8)
        if wanted.threshold is not None:
            kinds = (torch.int64, torch.float32)
        first, second = (torch.empty(0, dtype=kind) for kind in kinds)
        if len(self.parts) == 1:
            first, second = self.parts[0]
        elif self.parts:
            first, second = map(torch.cat, zip(*self.parts, strict=True))
        return (first, second) if wanted.flags or wanted.threshold is not None else first


class _Pipeline:
    """The slots, and what runs in them."""

    def __init__(self, scorer: CudaScorer, rows: int, dtype: torch.dtype, wanted: Wanted) -> None:
        self._scorer, self._wanted = scorer, wanted
        self.rows, self.dtype = rows, dtype
        self._counts = None if wanted.histogram is None else scorer.new_counts()
        self._counted = 0
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
        slot.start(rows, self._counts, before)
        self._running.append((slot, batch, at, len(rows)))

    def finish_oldest(self) -> bool:
        """Wait for the part that was begun first; False if none is under way."""
        if not self._running:
            return False
        slot, batch, at, n = self._running.popleft()
        first, second = slot.finish(n)
        batch.parts.append((first + at if self._wanted.threshold is not None else first, second))
        batch.left -= 1
        return True

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
            yield started.popleft().result(wanted)

    try:
        for given in batches:
            dtype = None if pipeline is None else pipeline.dtype
            rows = _checked(given, scorer.n_features, dtype)
            if pipeline is None:
                at_once = _rows_that_fit(scorer, batch_rows, rows.element_size(), wanted)
                pipeline = _Pipeline(scorer, at_once, rows.dtype, wanted)
            starts = range(0, len(rows), pipeline.rows)
            batch = _Batch(len(starts))
            started.append(batch)
            for start in starts:
                pipeline.start(rows[start : start + pipeline.rows], batch, start)
            yield from finished()
        while pipeline is not None and pipeline.finish_oldest():
            pass
        yield from finished()
    finally:
        if pipeline is not None:
            pipeline.count()


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
