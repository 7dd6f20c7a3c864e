"""A histogram of scores over the bit pattern of a float32: bounded memory, merged exactly.

The counting follows: ScoreHistogram.update -> _core.histogram_count (csrc/bind/histogram.cpp) ->
vael::histogram_count (csrc/src/histogram.cpp). The same in NumPy: histogram_reference.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from vaelocity import _core
from vaelocity import histogram_reference as reference
from vaelocity.histogram_arrays import DTYPES, LAYOUT, Steps, checked_arrays
from vaelocity.histogram_reference import BINS
from vaelocity.histogram_tail import Tail, tail_of
from vaelocity.score_arrays import as_scores, as_weights

__all__ = ["ScoreHistogram", "Tail"]

_BACKENDS: dict[str, Any] = {"auto": _core, "cpu": _core, "reference": reference}

_FORGOTTEN = 1e-30


class ScoreHistogram:
    """Counts of float32 scores, 2,048 bins an octave: every bin is 0.024 to 0.049 % wide.

    Bins follow the order of the numbers, negative ones included. Infinities have bins of their
    own, a NaN has none and is counted apart. Memory is bounded (8 MiB, of which the system provides
    only the pages of octaves that occur, 16 kB each), and so is the time of `merge`. Counts are
    integers, so merging is exact in any order. Weighted events add float64 sums of the weights and
    of their squares (these make the interval): exact up to 2^53 where weights are whole numbers, as
    prescales are; else the order matters in the last bits. 24 MiB then.

    One histogram a thread, merged at the end: `update` lets go of the interpreter lock and does not
    lock itself.

    kind     the kind of the scores, or None
    model    identity of the model that gave them (`Scorer.identity`), or None; histograms of two
             models, or of two kinds, do not merge
    """

    def __init__(self, kind: str | None = None, model: str | None = None) -> None:
        self.kind = kind
        self.model = model
        self._counts = np.zeros(BINS, np.uint64)
        self._sums: npt.NDArray[np.float64] | None = None
        self._squares: npt.NDArray[np.float64] | None = None
        self._n_nan = 0
        self._nan_sums = np.zeros(2)
        self._first, self._last = BINS - 1, 0  # bins in use

    # ---- Counting

    def update(
        self,
        scores: Any,
        weights: npt.ArrayLike | None = None,
        backend: str = "auto",
    ) -> Self:
        """Count scores; returns itself.

        Args:
            scores: float [n]; float64 is rounded to float32, the type of every score. Of a torch
                tensor on a GPU only the counts come to the host.
            weights: [n], finite, not negative; None counts every score once.
            backend: "cpu" (C++), "triton" (no weights) or "reference" (NumPy); the counts are the
                same. "auto" takes Triton for a tensor on a GPU.

        Raises:
            ValueError: another shape or dtype, a weight that is negative or not finite, an unknown
                backend.
        """
        if backend == "triton" or (backend == "auto" and getattr(scores, "is_cuda", False)):
            return self._update_on_device(scores, weights)
        values = as_scores(scores)
        if backend not in _BACKENDS:
            known = ", ".join(map(repr, _BACKENDS))
            raise ValueError(f"backend: expected {known} or 'triton', got {backend!r}")
        count = _BACKENDS[backend]
        if weights is None and self._sums is None:
            tally = count.histogram_count(values, self._counts)
        else:
            weight = np.ones(len(values)) if weights is None else as_weights(weights, len(values))
            sums, squares = self._weighted()
            tally = count.histogram_count_weighted(
                values, weight, self._counts, sums, squares, self._nan_sums
            )
        return self._note(tally)

    def merge(self, other: ScoreHistogram) -> Self:
        """Add the counts of `other`, which stays as it is; returns itself.

        Raises TypeError for anything else, ValueError for scores of another kind or model.
        """
        if not isinstance(other, ScoreHistogram):
            raise TypeError(f"other: expected a ScoreHistogram, got {type(other).__name__}")
        kind = _same(self.kind, other.kind, "kind")
        model = _same(self.model, other.model, "model")
        if self._sums is not None or other._sums is not None:
            sums, squares = self._weighted()
            used = other._used()
            theirs = other._counts if other._sums is None else other._sums
            sums[used] += theirs[used]
            theirs = other._counts if other._squares is None else other._squares
            squares[used] += theirs[used]
            self._nan_sums += other._nan_sums if other.weighted else float(other._n_nan)
        used = other._used()
        self._counts[used] += other._counts[used]
        self._n_nan += other._n_nan
        self._first, self._last = min(self._first, other._first), max(self._last, other._last)
        self.kind, self.model = kind, model
        return self

    def add_counts(self, counts: npt.ArrayLike) -> Self:
        """Add scores that were counted elsewhere, `CudaScorer.score_into` for one; returns itself.

        Args:
            counts: integers [2^20 + 1], not negative: one a bin, and the last for NaN.

        Raises ValueError for anything else.
        """
        given = np.asarray(counts)
        whole = given.dtype.kind in "iu" and given.shape == (BINS + 1,)
        if not whole or (given < 0).any():
            raise ValueError(
                f"counts: expected integers of at least 0 of shape ({BINS + 1},), got "
                f"{given.dtype} of shape {given.shape}"
            )
        part = ScoreHistogram()
        part._counts += given[:BINS].astype(np.uint64)
        used = np.flatnonzero(part._counts)
        ends = (int(used[0]), int(used[-1])) if len(used) else (BINS - 1, 0)
        return self.merge(part._note((int(given[BINS]), *ends)))

    def decay(self, factor: float) -> Self:
        """Multiply every weight by `factor`, 0 to 1; returns itself. What weighs less than 1e-30
        is forgotten, so that bins out of use become free again.

        Raises ValueError for a factor out of range.
        """
        if not 0 <= factor <= 1:
            raise ValueError(f"factor: expected a number from 0 to 1, got {factor!r}")
        sums, squares = self._weighted()
        used = self._used()
        sums[used] *= factor
        squares[used] *= factor**2
        self._nan_sums *= (factor, factor**2)
        forgotten = np.flatnonzero((self._counts[used] > 0) & (sums[used] < _FORGOTTEN))
        for array in (self._counts, sums, squares):
            array[forgotten + used.start] = 0
        if self._nan_sums[0] < _FORGOTTEN:
            self._n_nan, self._nan_sums[:] = 0, 0
        return self

    def copy(self) -> ScoreHistogram:
        """Another histogram of the same counts."""
        return ScoreHistogram().merge(self)

    # ---- What was counted

    @property
    def n(self) -> int:
        """Scores counted, NaN included."""
        return int(self._counts[self._used()].sum()) + self._n_nan

    @property
    def n_nan(self) -> int:
        """Scores that were NaN."""
        return self._n_nan

    @property
    def n_infinite(self) -> int:
        """Scores that were infinite, of either sign."""
        ends = reference.bins_of(np.array([-np.inf, np.inf], np.float32))
        return int(self._counts[ends].sum())

    @property
    def weighted(self) -> bool:
        """Whether weights were given."""
        return self._sums is not None

    def steps(self) -> Steps:
        """The bins in use: upper edges, counts, weights. A bin's scores reach up to its edge."""
        index, sums, squares = self._sparse()
        nan = (self._n_nan, self._nan(0), self._nan(1))
        counts = self._counts[index].astype(np.int64)
        edges = reference.upper_edges(index)
        return Steps(edges, counts, sums, squares, nan, self.weighted)

    def quantile(self, q: float) -> float:
        """The lowest bin edge with at least a part `q` of the weight at or below it.

        The exact quantile of the sample, a score in the same bin, is at most 0.049 % below. NaN
        scores are left out.

        Raises ValueError unless 0 <= q <= 1 and there is a score.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"q: expected a number from 0 to 1, got {q!r}")
        index, weight, _ = self._sparse()
        if not weight.sum() > 0:
            raise ValueError("quantile: the histogram is empty")
        below = np.cumsum(weight)
        i = min(int(np.searchsorted(below, q * below[-1])), len(index) - 1)
        return float(reference.upper_edges(index[i : i + 1])[0])

    def tail(self, value: float, confidence: float = 0.95) -> Tail:
        """The part that `Scorer.predict` would accept at a threshold of `value`, with interval.

        Raises ValueError for a NaN, a confidence out of range, an empty histogram.
        """
        return tail_of(self.steps(), value, confidence)

    # ---- Saving

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The bins in use: bins uint32 [m], counts uint64 [m], nan float64 [3] (scores, weight,
        squared weight); weighted also sums and squares, float64 [m]."""
        index = np.flatnonzero(self._counts[self._used()]) + self._used().start
        nan = np.array([self._n_nan, self._nan(0), self._nan(1)], np.float64)
        arrays = {"bins": index.astype(np.uint32), "counts": self._counts[index], "nan": nan}
        if self._sums is not None and self._squares is not None:
            arrays |= {"sums": self._sums[index], "squares": self._squares[index]}
        return arrays

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Any], kind: str | None = None, model: str | None = None
    ) -> ScoreHistogram:
        """The inverse of `to_arrays`. Raises ValueError if these are no such arrays."""
        given = checked_arrays(arrays)
        index = given["bins"].astype(np.int64)
        histogram = cls(kind, model)
        if len(index):
            histogram._first, histogram._last = int(index[0]), int(index[-1])
        histogram._counts[index] = given["counts"]
        histogram._n_nan = int(given["nan"][0])
        if "sums" in given:
            sums, squares = histogram._weighted()
            sums[index], squares[index] = given["sums"], given["squares"]
            histogram._nan_sums[:] = given["nan"][1:]
        return histogram

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON; numbers come back as they were."""
        lists = {name: array.tolist() for name, array in self.to_arrays().items()}
        return {"layout": LAYOUT, "kind": self.kind, "model": self.model, **lists}

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> ScoreHistogram:
        """The inverse of `to_dict`. Raises ValueError for another layout, or none of its dicts."""
        if entry.get("layout") != LAYOUT:
            raise ValueError(
                f"histogram: expected the layout {LAYOUT!r}, got {entry.get('layout')!r}"
            )
        arrays = {name: entry[name] for name in DTYPES if name in entry}
        return cls.from_arrays(arrays, entry.get("kind"), entry.get("model"))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled sparse: a few ten kB instead of 8 MiB between processes."""
        return ScoreHistogram.from_arrays, (self.to_arrays(), self.kind, self.model)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ScoreHistogram):
            return NotImplemented
        mine, theirs = self.to_arrays(), other.to_arrays()
        return (self.kind, self.model, mine.keys()) == (
            other.kind,
            other.model,
            theirs.keys(),
        ) and (all(np.array_equal(mine[name], theirs[name]) for name in mine))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ScoreHistogram(kind={self.kind!r}, n={self.n}, n_nan={self.n_nan})"

    # ---- Helpers

    def _update_on_device(self, scores: Any, weights: npt.ArrayLike | None) -> Self:
        from vaelocity.kernels.histogram_count import histogram_count

        if weights is not None:
            raise ValueError("weights: not on the GPU; move scores and weights to the host")
        if scores.ndim != 1 or not scores.is_floating_point():
            raise ValueError(
                f"scores: expected floats of shape (n,), got {scores.dtype} of shape "
                f"{tuple(scores.shape)}"
            )
        part = ScoreHistogram()
        return self.merge(part._note(histogram_count(scores.float(), part._counts)))

    def _note(self, tally: tuple[int, int, int]) -> Self:
        """Take over what a count returned: NaN scores, lowest and highest bin."""
        self._n_nan += tally[0]
        self._first, self._last = min(self._first, tally[1]), max(self._last, tally[2])
        return self

    def _used(self) -> slice:
        return slice(self._first, max(self._first, self._last + 1))

    def _sparse(
        self,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Bins in use, their weights and squared weights (the counts, without weights)."""
        index = np.flatnonzero(self._counts[self._used()]) + self._used().start
        if self._sums is not None and self._squares is not None:
            return index, self._sums[index], self._squares[index]
        counts = self._counts[index].astype(np.float64)
        return index, counts, counts

    def _nan(self, which: int) -> float:
        """Weight (0) or squared weight (1) of the NaN scores."""
        return float(self._nan_sums[which]) if self.weighted else float(self._n_nan)

    def _weighted(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Sums and squares; what was counted before the first weight has weight 1."""
        if self._sums is None or self._squares is None:
            self._sums, self._squares = np.zeros(BINS), np.zeros(BINS)
            self._sums[self._used()] = self._counts[self._used()]
            self._squares[self._used()] = self._counts[self._used()]
            self._nan_sums[:] = self._n_nan
        return self._sums, self._squares


def _same(mine: str | None, theirs: str | None, what: str) -> str | None:
    if mine is not None and theirs is not None and mine != theirs:
        raise ValueError(f"merge: scores of another {what}: {theirs!r} into {mine!r}")
    return theirs if mine is None else mine
