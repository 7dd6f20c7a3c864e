"""What a stream saw of late: its scores, and how they and the inputs differ from the training's."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vaelocity import rows as _rows
from vaelocity.drift import Channel, DriftMonitor, score_drift
from vaelocity.histogram import ScoreHistogram
from vaelocity.stream.scoring import Scored, StreamScorer

__all__ = ["Drift", "Recent"]

# The window moves on by such a part of it.
_PARTS = 6
# With fewer events the PSI of no change at all would be 0.03 and more: 31 bins / 1000.
_LEAST = 1000
# Nobody looks more often, and every look takes some milliseconds of the interpreter's time.
_LOOK_SECONDS = 1.0
# Rows of the inputs that are counted at a time: most of the time of a few is not for the rows.
_AT_ONCE = 512


@dataclass(frozen=True)
class Drift:
    """How the events of the window differ from those of the model's file.

    scores     of the window, counted
    psi, ks    of the scores against the held-out ones; None where the file has none of this kind,
               or fewer than a thousand were seen
    channels   the inputs against the training rows, the worst first; empty where the file does not
               say how these were distributed, or of fewer than a thousand rows
    rows       that the inputs were counted of
    """

    scores: ScoreHistogram
    psi: float | None
    ks: float | None
    channels: Sequence[Channel]
    rows: int

    @property
    def bad(self) -> list[Channel]:
        """Channels that are not ok."""
        return [channel for channel in self.channels if channel.state != "ok"]

    def summary(self, most: int = 10) -> dict[str, Any]:
        """JSON, with the `most` worst inputs."""
        return {
            "events": self.scores.n,
            "score": None if self.psi is None else {"psi": self.psi, "ks": self.ks},
            "input_rows": self.rows,
            "inputs_not_ok": len(self.bad),
            "worst_inputs": [
                {
                    "name": one.name,
                    "state": one.state,
                    "psi": None if np.isnan(one.psi) else one.psi,
                    "ks": None if np.isnan(one.ks) else one.ks,
                    "missing": one.missing,
                }
                for one in self.channels[:most]
            ],
        }


class _Part:
    """A sixth of the window.

    inputs   what was counted of the inputs; None where the model does not say what to expect
    held     rows still to be counted, float32 [n, d] each
    rows     counted and held
    """

    def __init__(self, model: StreamScorer, now: float) -> None:
        rows = model.expected.rows
        self.began = now
        self.scores = ScoreHistogram(model.scorer.kind, model.scorer.identity)
        self.inputs = None if rows is None else DriftMonitor(rows)
        self.held: list[npt.NDArray[np.float32]] = []
        self.rows = 0

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        """Count rows, in some time: to count two takes as long as to count a hundred."""
        self.held.append(rows)
        self.rows += len(rows)
        if self.inputs is not None and self.rows - self.inputs.n >= _AT_ONCE:
            self.settle()

    def settle(self) -> None:
        """Count what is held."""
        if self.inputs is not None and self.held:
            self.inputs.update(np.concatenate(self.held))
            self.held = []

    def copy(self, model: StreamScorer) -> _Part:
        """model: the same."""
        return _Part(model, self.began).merge(self)

    def merge(self, other: _Part) -> Self:
        self.scores.merge(other.scores)
        if self.inputs is not None and other.inputs is not None:
            self.inputs.merge(other.inputs)
        return self


class Recent:
    """The last `seconds` of a stream, in parts of which the oldest is forgotten.

    One thread updates, any may look. A new model begins a new window: its scores are others, and
    so may be what its file expects.

    every    of the rows, each `every`-th is taken for the inputs, since binning 59 features takes
             longer than scoring them; but
    whole    so many rows of each part are taken all, for streams that are slow
    """

    def __init__(self, seconds: float = 600.0, every: int = 256, whole: int = 20_000) -> None:
        """Raises ValueError for `seconds` or `every` that is not positive."""
        if not seconds > 0:
            raise ValueError(f"seconds: expected a positive number, got {seconds!r}")
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"every: expected a positive int, got {every!r}")
        self._seconds, self._every, self._whole = seconds, every, whole
        self._lock = threading.Lock()
        self._parts: deque[_Part] = deque()
        self._model: StreamScorer | None = None
        self._skip = 0
        self._looked: tuple[float, Drift | None] = (-np.inf, None)

    def update(self, batches: Sequence[pa.RecordBatch], scored: Scored) -> None:
        """Count a micro-batch."""
        with self._lock:
            part = self._part(scored.model, time.monotonic())
            part.scores.update(scored.scores)
            if part.inputs is not None:
                every = 1 if part.rows < self._whole else self._every
                for rows in self._sampled(batches, scored.model.scorer.feature_names, every):
                    part.add(rows)

    def look(self) -> Drift | None:
        """The window as it is; None before the first event. Not older than a second."""
        now = time.monotonic()
        when, found = self._looked
        if now - when < _LOOK_SECONDS:
            return found
        return self.drift()

    def drift(self) -> Drift | None:
        """The window as it is now; None before the first event."""
        with self._lock:
            model = self._model
            if model is None:
                return None
            # Only the last part still changes.
            parts = [*self._parts][:-1]
            self._parts[-1].settle()
            whole = self._parts[-1].copy(model)
        for part in parts:
            whole.merge(part)
        found = _compared(model, whole)
        self._looked = (time.monotonic(), found)
        return found

    def _part(self, model: StreamScorer, now: float) -> _Part:
        """The part to count in; what has left the window is dropped."""
        if model is not self._model:
            self._model = model
            self._parts.clear()
        if not self._parts or now - self._parts[-1].began >= self._seconds / _PARTS:
            if self._parts:
                self._parts[-1].settle()
            self._parts.append(_Part(model, now))
        while now - self._parts[0].began >= self._seconds * (1 + 1 / _PARTS):
            self._parts.popleft()
        return self._parts[-1]

    def _sampled(
        self, batches: Sequence[pa.RecordBatch], names: Sequence[str], every: int
    ) -> Iterator[npt.NDArray[np.float32]]:
        """Every `every`-th row of the stream, float32 [n, d]; copies, so that no
        message is kept."""
        for batch in batches:
            some = slice(self._skip, None, every)
            if batch.num_rows > self._skip:
                layout = _rows.layout_of(batch, names)
                if isinstance(layout, list):
                    yield np.stack([column[some] for column in layout], axis=1)
                else:
                    yield layout[some].copy()
            self._skip = (self._skip - batch.num_rows) % every


def _compared(model: StreamScorer, whole: _Part) -> Drift:
    expected, scores, inputs = model.expected.scores, whole.scores, whole.inputs
    psi = ks = None
    if expected is not None and scores.n - scores.n_nan >= _LEAST and expected.n > expected.n_nan:
        psi, ks = score_drift(expected, scores)
    channels: list[Channel] = []
    rows = 0 if inputs is None else inputs.n
    if inputs is not None and rows >= _LEAST:
        channels = inputs.channels(model.scorer.feature_names)
        channels.sort(key=lambda one: (one.state == "ok", -np.nan_to_num(one.psi, nan=np.inf)))
    return Drift(scores, psi, ks, channels, rows)
