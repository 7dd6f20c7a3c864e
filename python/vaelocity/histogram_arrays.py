"""A histogram as arrays: the steps of its tail, and what is saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity import histogram_reference as reference


@dataclass(frozen=True)
class Steps:
    """Where the tail of a sample falls: arrays [m], one entry a bin or a distinct score.

    edges     float32, rising; the scores of a step are at its edge or between the one before and it
    counts    int64, scores
    sums      float64, their weight; squares: sum of squared weights
    nan       scores that are NaN, their weight, their squared weight
    weighted  False: every weight is 1
    """

    edges: npt.NDArray[np.float32]
    counts: npt.NDArray[np.int64]
    sums: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]
    nan: tuple[int, float, float]
    weighted: bool

    def weights(self) -> tuple[tuple[npt.NDArray[np.float64], float], ...]:
        """(sums, weight of NaN), (squares, squared weight of NaN)."""
        return (self.sums, self.nan[1]), (self.squares, self.nan[2])


LAYOUT = f"float32>>{32 - reference.BITS}"
"""Names the bins in a file: bins of another layout are refused, never guessed at."""

DTYPES = {
    "bins": np.uint32,
    "counts": np.uint64,
    "sums": np.float64,
    "squares": np.float64,
    "nan": np.float64,
}


def checked_arrays(arrays: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of `ScoreHistogram.to_arrays`. Raises ValueError if these are no such arrays."""
    expected = {"bins", "counts", "nan"} | ({"sums", "squares"} & set(arrays))
    if set(arrays) != expected or len(expected) == 4:
        raise ValueError(f"histogram: expected {sorted(expected)}, got {sorted(arrays)}")
    given = {name: np.asarray(arrays[name]).astype(DTYPES[name]) for name in sorted(expected)}
    index = given["bins"]
    same = all(given[name].shape == index.shape for name in expected - {"nan"})
    if index.ndim != 1 or not same or given["nan"].shape != (3,):
        raise ValueError("histogram: the arrays are not of one length")
    rising = (np.diff(index.astype(np.int64)) > 0).all()
    if len(index) and not (rising and index[-1] < reference.BINS):
        raise ValueError(f"histogram: the bins do not rise, or are not below {reference.BINS}")
    if not all(np.isfinite(values).all() and (values >= 0).all() for values in given.values()):
        raise ValueError("histogram: a count is negative or not finite")
    return given
