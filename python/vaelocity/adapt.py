"""Following slow drift with a frozen model: a scaler and a threshold that forget.

    follower = Follower.load("jets.vael", half_life=100_000, threshold="tight")
    for rows in stream:
        scores, accepted = follower.predict(rows)

The network stays what it is. What moves is where its inputs are centred and how wide they are, and
the threshold, so that the rate stays what was asked. For drift that changes how features depend on
each other, train again (`Model.partial_fit`).
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.bundle import BundleError, read_bundle
from vaelocity.bundle_parts import get_histogram
from vaelocity.histogram import ScoreHistogram
from vaelocity.preprocess import only_standardized
from vaelocity.scorer import Scorer, load
from vaelocity.threshold import Threshold, threshold_for

__all__ = ["DecayingScaler", "Follower"]

# Twice the rate for as long as the half-life takes away half of the rate that is wanted.
_FEEDBACK = 0.5

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


class DecayingScaler:
    """Mean and deviation of every feature, older rows counting less: half after `half_life` rows.

    It begins as if rows of the given mean and deviation had come for ever. The result depends on
    the order of the rows, not (but for rounding) on how they are cut into batches.

    mean, scale   float64 [d], of now
    """

    def __init__(self, mean: npt.ArrayLike, scale: npt.ArrayLike, half_life: float) -> None:
        """Raises ValueError for shapes that differ, a scale or a half-life that is not positive."""
        self._mean, self._scale = np.asarray(mean, np.float64), np.asarray(scale, np.float64)
        if self._mean.ndim != 1 or self._mean.shape != self._scale.shape:
            raise ValueError(
                f"mean, scale: expected one shape (d,), got {self._mean.shape} and "
                f"{self._scale.shape}"
            )
        if not ((self._scale > 0) & np.isfinite(self._scale) & np.isfinite(self._mean)).all():
            raise ValueError("mean, scale: expected finite numbers, the scale above 0")
        self.half_life = _checked_half_life(half_life)
        # Moments of (x - mean) / scale of the frozen model: near 0 and 1, so nothing cancels.
        self._first = np.zeros(len(self._mean))
        self._second = np.ones(len(self._mean))

    @property
    def mean(self) -> Doubles:
        """The mean of now."""
        return self._mean + self._scale * self._first

    @property
    def scale(self) -> Doubles:
        """The deviation of now; at least a millionth of the one it began with."""
        return self._scale * self._deviation()

    def update(self, rows: npt.NDArray[Any]) -> None:
        """Learn rows [n, d]; one that holds a NaN or an infinity is left out."""
        d = len(self._mean)
        if rows.ndim != 2 or rows.shape[1] != d:
            raise ValueError(f"rows: expected shape (n, {d}), got {rows.shape}")
        x = (rows[np.isfinite(rows).all(axis=1)].astype(np.float64) - self._mean) / self._scale
        if len(x) == 0:
            return
        weights = (1 - self._decay) * _weights(self._decay, len(x))
        kept = self._decay ** len(x)
        self._first = kept * self._first + weights @ x
        self._second = kept * self._second + weights @ x**2

    def transform(self, rows: npt.NDArray[Any]) -> Floats:
        """Rows as they would have been before the drift: float32 [n, d] that have the mean and the
        scale it began with where `rows` have those of now."""
        x = (rows.astype(np.float64) - self._mean) / self._scale
        with np.errstate(over="ignore"):
            back = (x - self._first) / self._deviation() * self._scale + self._mean
            return back.astype(np.float32)

    @property
    def _decay(self) -> float:
        return float(2.0 ** (-1.0 / self.half_life))

    def _deviation(self) -> Doubles:
        return np.sqrt(np.maximum(self._second - self._first**2, 1e-12))


class Follower:
    """A frozen scorer that follows slow drift.

    Every batch is decided upon with what was learned before it, then learned from: the scaler
    learns the events that were not accepted, so that an anomaly does not teach it; the histogram
    counts every score, and from it the threshold is found again.

    It is found for the part `wanted` of the remembered scores, which follows what was accepted: an
    event accepted beyond the rate asked for lowers it by 1 / (2 half_life), and so in the long run
    the rate is held whatever the scores do: adaptive conformal inference [1]. Where less than one
    remembered event may lie above, the threshold stays, or rises to the largest score remembered if
    too many were accepted of late.

    threshold   of now; its `fpr` is what was asked for
    wanted      part of the remembered scores above it
    scaler      of now

    [1] I. Gibbs, E. Candes, Advances in Neural Information Processing Systems 34 (2021) 1660.
    """

    def __init__(
        self,
        scorer: Scorer,
        threshold: Threshold,
        half_life: float,
        scaler: DecayingScaler,
        histogram: ScoreHistogram | None = None,
    ) -> None:
        """See `Follower.load`, which takes all of it from a file.

        Args:
            scorer: the frozen model.
            threshold: what to begin with; its `fpr` is what is kept.
            half_life: events after which an event counts half, in the scaler and the threshold.
            scaler: begins with the model's own mean and scale.
            histogram: scores to begin with, as many as its size says; None begins with none.

        Raises:
            ValueError: a threshold or a histogram of another model or kind, a half-life that is not
                positive.
        """
        scorer.threshold(threshold)
        self.scorer, self.threshold, self.scaler = scorer, threshold, scaler
        self.half_life = _checked_half_life(half_life)
        self.wanted = threshold.fpr
        self.histogram = ScoreHistogram(scorer.kind, scorer.identity)
        if histogram is not None:
            self.histogram.merge(histogram)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        half_life: float,
        threshold: str | None = None,
        kind: str | None = None,
    ) -> Follower:
        """From a .vael file: its model, a threshold in it by name (None: the first), and the
        histogram of its held-out scores, if it has one. Raises what `vaelocity.load` and
        `read_bundle` raise, BundleError for preprocessing beside standardize, which the scaler
        would come before, ValueError for an unknown threshold."""
        scorer = load(path, kind=kind)
        metadata, tensors = read_bundle(path)
        if not only_standardized(metadata):
            raise BundleError(f"{path}: a Follower takes no preprocessing but standardize")
        step = metadata["preprocess"][-1]
        scaler = DecayingScaler(tensors[step["mean"]], tensors[step["scale"]], half_life)
        histogram = get_histogram(metadata, tensors, scorer.kind)
        return cls(scorer, scorer.stored_threshold(threshold), half_life, scaler, histogram)

    def predict(self, rows: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Scores float32 [n] and which events are accepted, bool [n]; then learns from the rows."""
        scores = self.scorer.score(self.scaler.transform(rows))
        accepted = ~(scores <= np.float32(self.threshold.value))
        self.scaler.update(rows[~accepted])
        decay = float(2.0 ** (-1.0 / self.half_life))
        self.histogram.decay(decay ** len(scores))
        self.histogram.update(scores, _weights(decay, len(scores)))
        excess = np.count_nonzero(accepted) - len(scores) * self.threshold.fpr
        self.wanted = min(max(self.wanted - _FEEDBACK / self.half_life * excess, 0.0), 1.0)
        self.threshold = self._found_again()
        return scores, accepted

    def _found_again(self) -> Threshold:
        now = self.threshold
        try:
            found = threshold_for(
                histogram=self.histogram,
                fpr=self.wanted,
                input_rate=now.input_rate,
                name=now.name,
                confidence=now.confidence,
                least_above=1,
                not_finite="count",
            )
        except ValueError:  # too few events remembered, or more without a score than are wanted
            return self._raised() if self.wanted < now.fpr else now
        return replace(found, fpr=now.fpr, model=now.model)

    def _raised(self) -> Threshold:
        """Above all scores that are remembered."""
        edges = self.histogram.steps().edges
        if len(edges) == 0 or not edges[-1] > self.threshold.value:
            return self.threshold
        tail = self.histogram.tail(float(edges[-1]), self.threshold.confidence)
        return replace(
            self.threshold, value=tail.value, achieved=tail.fraction, interval=tail.interval,
            n=self.histogram.n, ties=0,
        )  # fmt: skip


def _weights(decay: float, n: int) -> Doubles:
    """What each of n events in order counts after the last: 1 for that, [n]."""
    return np.asarray(decay ** np.arange(n - 1, -1, -1, dtype=np.float64))


def _checked_half_life(half_life: float) -> float:
    if not (np.isfinite(half_life) and half_life > 0):
        raise ValueError(f"half_life: expected a positive number of events, got {half_life!r}")
    return float(half_life)
