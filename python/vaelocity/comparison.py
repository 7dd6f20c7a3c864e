"""Two models on the same events: what each accepts, how their scores go together, and where not.

comparison = Comparison((live.threshold(), shadow.threshold()))
comparison.update(live.score(rows), shadow.score(rows), lambda i: {"event": int(event[i])})
comparison.summary()
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from vaelocity.histogram import ScoreHistogram
from vaelocity.histogram_tail import parts_from
from vaelocity.overlap import Overlap, Share

__all__ = ["Comparison", "Disagreement"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_NAMES = ("live", "shadow")


@dataclass(frozen=True)
class Disagreement:
    """An event that is much rarer to one model than to the other.

    event    what `update` was told of it
    scores   of the live model and of the shadow; NaN where it has none
    parts    of the events so far that have at least such a score
    decades  |log10 of one part - log10 of the other|
    """

    event: Mapping[str, Any]
    scores: tuple[float, float]
    parts: tuple[float, float]
    decades: float


class Comparison:
    """Counts events that a live model and its shadow have both scored. Memory is bounded.

    One thread updates; any may ask for `n` and `decisions`.

    Scores of two models have no common scale, so two things are compared that need none: decisions
    at each one's threshold, and how rare a score is among the scores of its own model.

    n   events counted
    """

    def __init__(
        self,
        thresholds: tuple[float | None, float | None],
        *,
        keep: int = 20,
        sample: int = 4096,
        seed: int = 0,
    ) -> None:
        """
        Args:
            thresholds: of the live model and of the shadow; None where it has none, and decisions
                are not compared then.
            keep: disagreements to remember.
            sample: events, drawn evenly from all, of which the rank correlation is found.
            seed: of that drawing.
        """
        self.n = 0
        self.thresholds = thresholds
        self.histograms = (ScoreHistogram(), ScoreHistogram())
        self._overlap = Overlap(_NAMES)
        self._moments = _Moments()
        self._sample = _Sample(sample, np.random.default_rng(seed))
        self._keep = keep
        self._worst: list[Disagreement] = []
        # How rare scores are is looked at again whenever there are a tenth more of them.
        self._steps = tuple(histogram.steps() for histogram in self.histograms)
        self._next = 0.0

    def update(
        self, live: Floats, shadow: Floats, event: Callable[[int], Mapping[str, Any]]
    ) -> Self:
        """Count events.

        Args:
            live, shadow: scores float32 [n] of the same events in the same order.
            event: what names the i-th of them; called only for those that are remembered.

        Raises ValueError for other shapes.
        """
        if live.ndim != 1 or live.shape != shadow.shape:
            raise ValueError(
                f"live, shadow: expected one shape (n,), got {live.shape} and {shadow.shape}"
            )
        if len(live) == 0:
            return self
        for histogram, scores in zip(self.histograms, (live, shadow), strict=True):
            histogram.update(scores)
        if None not in self.thresholds:
            pairs = zip((live, shadow), self.thresholds, strict=True)
            self._overlap.update([~(scores <= np.float32(cut)) for scores, cut in pairs])
        self._moments.update(live, shadow)
        self._sample.update(live, shadow)
        self.n += len(live)
        self._remember(live, shadow, event)
        return self

    def decisions(self) -> dict[str, Share] | None:
        """Events that both accept, only one, and neither, with Clopper-Pearson intervals; None
        without two thresholds, or without events."""
        if None in self.thresholds or self._overlap.n == 0:
            return None
        live, shadow = (self._overlap.accepted(name) for name in _NAMES)
        return {
            "live": live,
            "shadow": shadow,
            "both": self._overlap.both(*_NAMES),
            "only_live": self._overlap.pure("live"),
            "only_shadow": self._overlap.pure("shadow"),
            "neither": self._overlap.neither(),
        }

    def disagreements(self) -> list[Disagreement]:
        """The events remembered, the largest disagreement first, judged by all scores so far."""
        if not self._worst:
            return []
        self._steps = tuple(histogram.steps() for histogram in self.histograms)
        scores = np.array([one.scores for one in self._worst], np.float32)
        parts, decades = self._rarity(scores[:, 0], scores[:, 1])
        found = [
            Disagreement(one.event, one.scores, (float(a), float(b)), float(d))
            for one, (a, b), d in zip(self._worst, parts.T, decades, strict=True)
        ]
        return sorted(found, key=lambda one: -one.decades)

    def summary(self) -> dict[str, Any]:
        """All of it as JSON; a number that cannot be given is None."""
        decisions = self.decisions()
        return {
            "events": self.n,
            "thresholds": dict(zip(_NAMES, self.thresholds, strict=True)),
            "decisions": None
            if decisions is None
            else {name: asdict(share) for name, share in decisions.items()},
            "jaccard": None if decisions is None else _number(self._overlap.jaccard(*_NAMES)),
            "correlation": _number(self._moments.correlation()),
            "correlation_events": self._moments.n,
            "rank_correlation": _number(self._sample.rank_correlation()),
            "rank_correlation_events": self._sample.n,
            "quantiles": self._quantiles(),
            "disagreements": [
                {
                    "event": dict(one.event),
                    "scores": [_number(score) for score in one.scores],
                    "parts": list(one.parts),
                    "decades": one.decades,
                }
                for one in self.disagreements()
            ],
        }

    def _quantiles(self) -> list[dict[str, float]]:
        if any(histogram.n == histogram.n_nan for histogram in self.histograms):
            return []
        live, shadow = self.histograms
        return [
            {"q": q, "live": live.quantile(q), "shadow": shadow.quantile(q)} for q in _QUANTILES
        ]

    def _rarity(self, live: Floats, shadow: Floats) -> tuple[Doubles, Doubles]:
        """Parts [2, n] and how many decades they are apart [n]."""
        pairs = zip(self._steps, (live, shadow), strict=True)
        parts = np.array([parts_from(steps, scores) for steps, scores in pairs])
        return parts, np.abs(np.diff(np.log10(parts), axis=0)[0])

    def _remember(
        self, live: Floats, shadow: Floats, event: Callable[[int], Mapping[str, Any]]
    ) -> None:
        if self.n >= self._next:
            self._next = 1.1 * self.n
            self._steps = tuple(histogram.steps() for histogram in self.histograms)
            self._worst = self.disagreements()
        parts, decades = self._rarity(live, shadow)
        least = self._worst[-1].decades if len(self._worst) == self._keep else 0.0
        new = np.flatnonzero(decades > least)
        self._worst += [
            Disagreement(
                event(int(i)),
                (float(live[i]), float(shadow[i])),
                (float(parts[0, i]), float(parts[1, i])),
                float(decades[i]),
            )
            for i in new[np.argsort(-decades[new], kind="stable")][: self._keep]
        ]
        self._worst = sorted(self._worst, key=lambda one: -one.decades)[: self._keep]


class _Moments:
    """Means and second moments of log10 of two scores, of events where both are above 0."""

    def __init__(self) -> None:
        self.n = 0
        self._mean = np.zeros(2)
        self._products = np.zeros((2, 2))

    def update(self, live: Floats, shadow: Floats) -> None:
        both = np.stack([live, shadow]).astype(np.float64)
        x = np.log10(both[:, (np.isfinite(both) & (both > 0)).all(axis=0)])
        n = x.shape[1]
        if n == 0:
            return
        # T. F. Chan, G. H. Golub, R. J. LeVeque, Am. Stat. 37 (1983) 242.
        mean = x.mean(axis=1)
        centred, step = x - mean[:, None], mean - self._mean
        whole = self.n + n
        self._products += centred @ centred.T + np.outer(step, step) * self.n * n / whole
        self._mean += step * n / whole
        self.n = whole

    def correlation(self) -> float:
        """Pearson's; NaN for fewer than two events, or where one score is always the same."""
        spread = self._products[0, 0] * self._products[1, 1]
        if self.n < 2 or not spread > 0:
            return math.nan
        return float(self._products[0, 1] / math.sqrt(spread))


class _Sample:
    """Pairs of scores without NaN, drawn evenly from all: those with the smallest random keys."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self._size, self._rng = size, rng
        self._keys, self._pairs = np.empty(0), np.empty((2, 0), np.float32)

    @property
    def n(self) -> int:
        return len(self._keys)

    def update(self, live: Floats, shadow: Floats) -> None:
        keys = self._rng.random(len(live))
        full = self.n == self._size
        taken = ~(np.isnan(live) | np.isnan(shadow))
        if full:
            taken &= keys < self._keys.max()
        if not taken.any():
            return
        self._keys = np.concatenate([self._keys, keys[taken]])
        self._pairs = np.concatenate([self._pairs, np.stack([live[taken], shadow[taken]])], axis=1)
        if self.n > self._size:
            kept = np.argpartition(self._keys, self._size - 1)[: self._size]
            self._keys, self._pairs = self._keys[kept], self._pairs[:, kept]

    def rank_correlation(self) -> float:
        """Spearman's: Pearson's of the ranks, equal scores sharing theirs."""
        if self.n < 2:
            return math.nan
        ranks = np.array([_ranks(scores) for scores in self._pairs])
        spread = ranks.std(axis=1)
        return float(np.corrcoef(ranks)[0, 1]) if spread.all() else math.nan


def _ranks(values: Floats) -> Doubles:
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Doubles = (np.cumsum(counts) - (counts - 1) / 2)[index]
    return ranks


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
