"""Has the data changed since the training? PSI and KS of every input and of the score, and channels
that are dead, stuck, hot or missing.

    reference = Reference.of(training_rows)             # stored in the .vael file by `fit`
    monitor = DriftMonitor(reference)
    monitor.update(rows)                                # as often as rows come
    for channel in monitor.channels(names): print(channel.state, channel.psi)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from vaelocity.histogram import ScoreHistogram

__all__ = ["Channel", "DriftMonitor", "Reference", "ks", "psi", "score_drift"]

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.uint64]

BINS = 32
"""Bins a feature: each holds 1/32 of the reference where values do not tie. KS is found at their
edges, so it is at most 1/32 too small."""

MOST_ROWS = 1 << 18
"""Rows, evenly spaced, that a reference is made of: the quantiles are known to 0.1 % then."""

MAJOR_PSI = 0.25
"""The customary mark of credit scoring, where PSI comes from: below 0.1 stable, above 0.25 a major
change."""

_OUTSIDE_SHARE = 0.01
_CHANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Reference:
    """How every feature was distributed in the training rows; every event counts once.

    edges   float32 [d, BINS - 1], rising: bin i holds the values above edge i - 1, up to edge i
    counts  uint64 [d, BINS]
    range   float32 [d, 2], least and largest value
    mode    float32 [d], the part of the rows that have the most frequent value: for a channel that
            is mostly empty, constant is normal
    """

    edges: Floats
    counts: Counts
    range: Floats
    mode: Floats

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.edges)

    @classmethod
    def of(cls, rows: npt.NDArray[Any]) -> Reference:
        """From rows float [n, d], all finite.

        Raises ValueError for no rows, another shape, or a value that is not finite.
        """
        given = np.asarray(rows)
        if given.ndim != 2 or given.dtype.kind != "f" or 0 in given.shape:
            raise ValueError(
                f"rows: expected floats [n, d], got {given.dtype} of shape {given.shape}"
            )
        kept = np.unique(np.linspace(0, len(given) - 1, min(len(given), MOST_ROWS)).astype(int))
        # Sorted as columns in line, which is faster than across rows.
        sample = np.sort(np.ascontiguousarray(given[kept].astype(np.float32).T), axis=1).T
        if not np.isfinite(sample).all():
            raise ValueError("rows: a value is NaN or infinite")
        n = len(sample)
        # The last value of each of BINS equal parts of the sorted column.
        at = np.ceil(np.arange(1, BINS) * n / BINS).astype(int) - 1
        edges = np.ascontiguousarray(sample[np.maximum(at, 0)].T)
        limits = np.stack([sample[0], sample[-1]], axis=1)
        return cls(edges, _count_sorted(sample, edges), limits, _mode(sample))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """As stored in a .vael file."""
        return {
            "edges": self.edges,
            "counts": self.counts,
            "range": self.range,
            "mode": self.mode,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Reference:
        """The inverse of `to_arrays`. Raises ValueError if these are no such arrays."""
        d = len(arrays["edges"]) if "edges" in arrays else 0
        shapes = {"edges": (d, BINS - 1), "counts": (d, BINS), "range": (d, 2), "mode": (d,)}
        got = {name: arrays[name].shape for name in arrays}
        if got != shapes:
            raise ValueError(f"expected the shapes {shapes}, got {got}")
        edges, counts, limits, mode = (arrays[name] for name in shapes)
        if not (np.isfinite(edges).all() and (np.diff(edges, axis=1) >= 0).all()):
            raise ValueError("edges are not finite, or do not rise")
        if not (counts.sum(axis=1) > 0).all():
            raise ValueError("a feature without counts")
        return cls(
            edges.astype(np.float32),
            counts.astype(np.uint64),
            limits.astype(np.float32),
            mode.astype(np.float32),
        )


@dataclass(frozen=True)
class Channel:
    """One input since the monitor started.

    state    "dead": always 0. "stuck": always one other value. "missing": never a number.
             "hot", "low": more than 1 % of the values above, or below, all of the reference.
             "drifted": PSI above MAJOR_PSI. Else "ok". Dead and stuck are said only where chance,
             or a channel that is constant by nature, would do it once in a million times
    psi      population stability index of the values that are finite; NaN if there are none
    ks       Kolmogorov-Smirnov distance of these, at the edges of the bins
    missing  part of the values that are NaN or infinite
    above    part of the values above the reference's largest
    below    part of the values below the reference's smallest
    """

    name: str
    state: str
    psi: float
    ks: float
    missing: float
    above: float
    below: float


class DriftMonitor:
    """Counts rows into the bins of a reference. Memory does not grow; monitors of one reference
    merge by addition. One a thread.

    every    of the rows, each `every`-th is counted: binning 59 features takes longer than scoring
             them
    """

    def __init__(self, reference: Reference, every: int = 1) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"every: expected a positive int, got {every!r}")
        d = reference.n_features
        self.reference, self.every = reference, every
        self.n = 0
        self._skip = 0
        self._counts = np.zeros((d, BINS), np.uint64)
        self._missing = np.zeros(d, np.int64)
        self._above, self._below = np.zeros(d, np.int64), np.zeros(d, np.int64)
        self._low, self._high = np.full(d, np.inf), np.full(d, -np.inf)

    def update(self, rows: npt.NDArray[np.floating[Any]]) -> Self:
        """Count rows [n, d]. Raises ValueError for another shape."""
        d = self.reference.n_features
        if rows.ndim != 2 or rows.shape[1] != d:
            raise ValueError(f"rows: expected shape (n, {d}), got {rows.shape}")
        taken = rows[self._skip :: self.every].astype(np.float32, copy=False)
        self._skip = (self._skip - len(rows)) % self.every
        if len(taken) == 0:
            return self
        finite = np.isfinite(taken)
        self.n += len(taken)
        self._missing += len(taken) - np.count_nonzero(finite, axis=0)
        self._above += np.count_nonzero(taken > self.reference.range[:, 1], axis=0)
        self._below += np.count_nonzero(taken < self.reference.range[:, 0], axis=0)
        self._low = np.minimum(self._low, np.where(finite, taken, np.inf).min(axis=0))
        self._high = np.maximum(self._high, np.where(finite, taken, -np.inf).max(axis=0))
        self._counts += _count(taken, self.reference.edges)
        return self

    def merge(self, other: DriftMonitor) -> Self:
        """Add what another monitor of the same reference saw."""
        if not np.array_equal(self.reference.edges, other.reference.edges):
            raise ValueError("other: a monitor of another reference")
        self.n += other.n
        self._counts += other._counts
        self._missing += other._missing
        self._above += other._above
        self._below += other._below
        self._low = np.minimum(self._low, other._low)
        self._high = np.maximum(self._high, other._high)
        return self

    def channels(self, names: Sequence[str]) -> list[Channel]:
        """What is known about each input by now. Raises ValueError before the first row."""
        if self.n == 0:
            raise ValueError("channels: no rows were counted yet")
        if len(names) != self.reference.n_features:
            raise ValueError(
                f"names: expected {self.reference.n_features} of them, got {len(names)}"
            )
        return [self._channel(j, name) for j, name in enumerate(names)]

    def _channel(self, j: int, name: str) -> Channel:
        counts, expected = self._counts[j], self.reference.counts[j]
        some = counts.sum() > 0
        index = psi(expected, counts) if some else math.nan
        distance = ks(expected, counts) if some else math.nan
        parts = [float(of[j] / self.n) for of in (self._missing, self._above, self._below)]
        return Channel(name, self._state(j, index), index, distance, *parts)

    def _state(self, j: int, index: float) -> str:
        seen = self.n - int(self._missing[j])
        if seen == 0:
            return "missing"
        # The chance that values which are independent of each other are all the most frequent one.
        by_chance = float(self.reference.mode[j]) ** seen
        if self._low[j] == self._high[j] and by_chance < _CHANCE:
            return "dead" if self._low[j] == 0 else "stuck"
        if self._above[j] > _OUTSIDE_SHARE * self.n:
            return "hot"
        if self._below[j] > _OUTSIDE_SHARE * self.n:
            return "low"
        return "drifted" if index > MAJOR_PSI else "ok"


def psi(expected: npt.ArrayLike, found: npt.ArrayLike) -> float:
    """Population stability index of two sets of counts in the same bins, 0 for the same shape.

    sum (q - p) ln(q / p), the symmetrised Kullback-Leibler divergence [1] of the parts p and q of
    the two in each bin, with half a count added to every bin that is not empty in both. Without any
    change it is about (bins - 1) (1 / n + 1 / m) for n and m events.

    [1] H. Jeffreys, Proc. R. Soc. A 186 (1946) 453.
    """
    p, q = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    used = (p > 0) | (q > 0)
    p, q = p[used] + 0.5, q[used] + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def ks(expected: npt.ArrayLike, found: npt.ArrayLike) -> float:
    """Kolmogorov-Smirnov distance of two sets of counts in the same bins, at the bins' edges."""
    p, q = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    return float(np.abs(np.cumsum(p) / p.sum() - np.cumsum(q) / q.sum()).max())


def score_drift(expected: ScoreHistogram, found: ScoreHistogram) -> tuple[float, float]:
    """(PSI, KS) of the scores in two histograms, NaN scores left out.

    PSI is over the reference's 32 quantiles, as that of the inputs; KS over all bins.
    Raises ValueError where a histogram is empty.
    """
    steps, other = expected.steps(), found.steps()
    if not (len(steps.edges) and len(other.edges)):
        raise ValueError("score_drift: a histogram is empty")
    edges = np.union1d(steps.edges, other.edges)
    p, q = np.zeros(len(edges)), np.zeros(len(edges))
    p[np.searchsorted(edges, steps.edges)] = steps.sums
    q[np.searchsorted(edges, other.edges)] = other.sums
    cuts = np.unique(np.searchsorted(np.cumsum(p), np.arange(1, BINS) * p.sum() / BINS) + 1)
    starts = np.concatenate([[0], cuts[cuts < len(edges)]])
    return psi(np.add.reduceat(p, starts), np.add.reduceat(q, starts)), ks(p, q)


def _count(rows: Floats, edges: Floats) -> Counts:
    """Finite values of every column in its bins: uint64 [d, BINS]."""
    counts = np.empty((len(edges), BINS), np.uint64)
    for j, edge in enumerate(edges):
        column = rows[:, j]
        bins = np.searchsorted(edge, column[np.isfinite(column)], side="left")
        counts[j] = np.bincount(bins, minlength=BINS)
    return counts


def _count_sorted(ordered: Floats, edges: Floats) -> Counts:
    """`_count` of sorted, finite columns: only the edges are searched for."""
    n = len(ordered)
    columns = zip(ordered.T, edges, strict=True)
    up_to = [np.searchsorted(column, edge, side="right") for column, edge in columns]
    return np.diff(np.array(up_to), axis=1, prepend=0, append=n).astype(np.uint64)


def _mode(ordered: Floats) -> Floats:
    """The part that the most frequent value has in every sorted column: float32 [d]."""
    n = len(ordered)
    longest = np.empty(ordered.shape[1], np.float32)
    for j, column in enumerate(ordered.T):
        starts = np.flatnonzero(np.concatenate([[True], column[1:] != column[:-1], [True]]))
        longest[j] = np.diff(starts).max() / n
    return longest
