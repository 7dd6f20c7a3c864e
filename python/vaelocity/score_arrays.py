"""Scores and weights as callers hand them over, checked and made into arrays of one type."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def as_scores(scores: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """float32 [n], contiguous. Raises ValueError for anything but floats of one dimension."""
    given = np.asarray(scores)
    if given.ndim != 1 or given.dtype.kind != "f":
        raise ValueError(
            f"scores: expected floats of shape (n,), got {given.dtype} of shape {given.shape}"
        )
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(given, np.float32)


def as_weights(weights: npt.ArrayLike, n: int) -> npt.NDArray[np.float64]:
    """float64 [n], contiguous. Raises ValueError for another shape, or a weight that is negative
    or not finite: a tail with negative weights does not fall as the threshold rises."""
    given = np.asarray(weights)
    if given.shape != (n,) or given.dtype.kind not in "fiub":
        raise ValueError(
            f"weights: expected numbers of shape ({n},), got {given.dtype} of shape {given.shape}"
        )
    values = np.ascontiguousarray(given, np.float64)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(
            f"weights: {np.count_nonzero(bad)} are negative or not finite, the first is "
            f"{values[first]} at {first}"
        )
    return values
