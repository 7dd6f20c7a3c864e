"""What a stream saw of late: its scores, and how they and the inputs differ from the training's."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
# Nobody looks more often, and every look takes some milliseconds of the interpreter's time.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Drift:
    """How the events of the window differ from those of the model's file.

    scores     of the window, counted
    psi, ks    of the scores against the held-out ones; None where the file has none of this kind,
               or none was seen
    channels   the inputs against the training rows, the worst first; empty where the file does not
               say how these were distributed
    rows       input rows that the channels were counted from
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
    """A sixth of the window."""

    def __init__(self, model: StreamScorer, now: float) -> None:
        rows = model.expected.rows
        self.began = now
        self.scores = ScoreHistogram()
        self.inputs = None if rows is None else DriftMonitor(rows)


class Recent:
    """The last `seconds` of a stream, in parts of which the oldest is forgotten.

    One thread updates, any may look. A new model begins a new window: its scores are others, and
    so may be what its file expects.

    every    of the rows, each `every`-th is taken for the inputs: binning 59 features takes longer
             than scoring them
    """

    def __init__(self, seconds: float = 600.0, every: int = 64) -> None:
        """Raises ValueError for a number that is not positive."""
        if not seconds > 0:
            raise ValueError(f"seconds: expected a positive number, got {seconds!r}")
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"every: expected a positive int, got {every!r}")
        self._seconds, self._every = seconds, every
        self._lock = threading.Lock()
        self._parts: deque[_Part] = deque()
        self._model: StreamScorer | None = None
        self._skip = 0
        self._looked: tuple[float, Drift | None] = (-np.inf, None)

    def update(self, batches: Sequence[pa.RecordBatch], scored: Scored) -> None:
        """Count a micro-batch."""
        taken = self._sampled(batches, scored.model)
        with self._lock:
            part = self._part(scored.model, time.monotonic())
            part.scores.update(scored.scores)
            if part.inputs is not None and taken is not None:
                part.inputs.update(taken)

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
            scores = ScoreHistogram(model.scorer.kind, model.scorer.identity)
            inputs = None if model.expected.rows is None else DriftMonitor(model.expected.rows)
            for part in self._parts:
                scores.merge(part.scores)
                if inputs is not None and part.inputs is not None:
                    inputs.merge(part.inputs)
        found = _compared(model, scores, inputs)
        self._looked = (time.monotonic(), found)
        return found

    def _part(self, model: StreamScorer, now: float) -> _Part:
        """The part to count in; what has left the window is dropped."""
        if model is not self._model:
            self._model = model
            self._parts.clear()
        if not self._parts or now - self._parts[-1].began >= self._seconds / _PARTS:
            self._parts.append(_Part(model, now))
        while now - self._parts[0].began >= self._seconds * (1 + 1 / _PARTS):
            self._parts.popleft()
        return self._parts[-1]

    def _sampled(
        self, batches: Sequence[pa.RecordBatch], model: StreamScorer
    ) -> npt.NDArray[np.float32] | None:
        """Every `every`-th row of the stream, float32 [n, d]."""
        if model.expected.rows is None:
            return None
        found = []
        for batch in batches:
            if batch.num_rows > self._skip:
                layout = _rows.layout_of(batch, model.scorer.feature_names)
                some = slice(self._skip, None, self._every)
                if isinstance(layout, list):
                    found.append(np.stack([column[some] for column in layout], axis=1))
                else:
                    found.append(layout[some])
            self._skip = (self._skip - batch.num_rows) % self._every
        return np.concatenate(found) if found else None


def _compared(model: StreamScorer, scores: ScoreHistogram, inputs: DriftMonitor | None) -> Drift:
    psi = ks = None
    expected = model.expected.scores
    if expected is not None and scores.n > scores.n_nan and expected.n > expected.n_nan:
        psi, ks = score_drift(expected, scores)
    channels: list[Channel] = []
    rows = 0
    if inputs is not None and inputs.n:
        rows = inputs.n
        channels = inputs.channels(model.scorer.feature_names)
        channels.sort(key=lambda one: (one.state == "ok", -np.nan_to_num(one.psi, nan=np.inf)))
    return Drift(scores, psi, ks, channels, rows)
