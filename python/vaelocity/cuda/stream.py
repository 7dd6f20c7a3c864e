"""Host memory to scores in host memory, with copies and kernels that overlap: CudaScorer's
score_stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from vaelocity.cuda.scorer import CudaScorer

Tensor = torch.Tensor

_SLOTS = 2
_RESULT_BYTES = 5  # a float32 score and a uint8 flag


class _Slot:
    """One of the two streams, with the buffers of a part of a batch on both sides."""

    def __init__(self, scorer: CudaScorer, rows: int, dtype: torch.dtype) -> None:
        self._scorer = scorer
        self._stream = torch.cuda.Stream(scorer.device)  # type: ignore[no-untyped-call]
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        shape = (rows, scorer.n_features)
        self._host_rows = torch.empty(shape, dtype=dtype, pin_memory=True)
        self._rows = torch.empty(shape, dtype=dtype, device=scorer.device)
        self._host = [
            torch.empty(rows, dtype=kind, pin_memory=True) for kind in (torch.float32, torch.uint8)
        ]
        self._results = [torch.empty_like(host, device=scorer.device) for host in self._host]
        # The scorer's parameters may still be on their way.
        self._stream.wait_stream(torch.cuda.current_stream(scorer.device))

    def start(self, rows: Tensor) -> None:
        """Queue copy in, kernel and copy back of at most `rows` events."""
        n = len(rows)
        source = rows
        if not rows.is_pinned():
            source = self._host_rows[:n]
            source.copy_(rows)
        with torch.cuda.stream(self._stream):
            self._rows[:n].copy_(source, non_blocking=True)
            scores, flags = (result[:n] for result in self._results)
            self._scorer.score_into(self._rows[:n], scores=scores, flags=flags)
            for host, result in zip(self._host, (scores, flags), strict=True):
                host[:n].copy_(result, non_blocking=True)
            self._done.record(self._stream)

    def finish(self, n: int, scores: Tensor, flags: Tensor) -> None:
        """Wait for what was started, and copy its n results out of the pinned memory."""
        self._done.synchronize()
        scores.copy_(self._host[0][:n])
        flags.copy_(self._host[1][:n])


class _Batch:
    """A batch whose parts are under way."""

    def __init__(self, n: int, parts: int) -> None:
        self.scores = torch.empty(n, dtype=torch.float32)
        self.flags = torch.empty(n, dtype=torch.uint8)
        self.left = parts


def score_stream(
    scorer: CudaScorer, batches: Iterable[Any], batch_rows: int, flags: bool
) -> Iterator[Any]:
    """See CudaScorer.score_stream."""
    if batch_rows < 1:
        raise ValueError(f"batch_rows: expected at least 1, got {batch_rows}")
    slots: list[_Slot] = []
    dtype = None
    rows_at_once = batch_rows
    running: deque[tuple[_Slot, _Batch, int, int]] = deque()
    started: deque[_Batch] = deque()

    def finish_oldest() -> None:
        slot, batch, start, n = running.popleft()
        slot.finish(n, batch.scores[start : start + n], batch.flags[start : start + n])
        batch.left -= 1

    def finished() -> Iterator[Any]:
        while started and not started[0].left:
            batch = started.popleft()
            yield (batch.scores, batch.flags) if flags else batch.scores

    for given in batches:
        rows = _checked(given, scorer.n_features, dtype)
        if dtype is None:
            dtype = rows.dtype
            rows_at_once = _rows_that_fit(scorer, batch_rows, rows.element_size())
            slots = [_Slot(scorer, rows_at_once, dtype) for _ in range(_SLOTS)]
        starts = range(0, len(rows), rows_at_once)
        batch = _Batch(len(rows), len(starts))
        started.append(batch)
        for start in starts:
            if len(running) == _SLOTS:
                finish_oldest()
            part = rows[start : start + rows_at_once]
            slot = slots.pop(0)
            slots.append(slot)
            slot.start(part)
            running.append((slot, batch, start, len(part)))
        yield from finished()
    while running:
        finish_oldest()
    yield from finished()


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


def _rows_that_fit(scorer: CudaScorer, batch_rows: int, element_size: int) -> int:
    """Rows of a buffer within the scorer's memory limit."""
    if scorer.memory_limit is None:
        return batch_rows
    left = scorer.memory_limit - scorer.device_bytes
    per_row = _SLOTS * (scorer.n_features * element_size + _RESULT_BYTES)
    if left < per_row:
        raise ValueError(
            f"memory_limit: {scorer.memory_limit} bytes leave no room for a row, the model "
            f"takes {scorer.device_bytes}"
        )
    return min(batch_rows, left // per_row)
