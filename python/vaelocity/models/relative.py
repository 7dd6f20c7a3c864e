"""Scores relative to those of the rows around."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

FLOOR = 0.1
"""Of the median score of the training rows, below which no neighbourhood counts: rows that are
there several times have neighbours at distance 0."""

_LARGEST = float(np.finfo(np.float32).max)


def floor_of(training: Floats) -> float:
    """What is added to the mean score of neighbours, from the scores of all training rows [N].

    Raises ValueError unless these are finite, not negative, and most of them above 0.
    """
    bad = ~(np.isfinite(training) & (training >= 0))
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(
            f"X, kind: relative scores need scores of the training rows that are finite and not "
            f"negative, {np.count_nonzero(bad)} of {len(training)} are not, the first is "
            f"{training[first]} of row {first}"
        )
    median = float(np.median(training.astype(np.float64)))
    if median == 0:
        raise ValueError(
            "X: the median score of the training rows is 0, to which no score can be relative; "
            "rows that are there several times have the distance 0"
        )
    return FLOOR * median


def relative(scores: Floats, training: Floats, who: npt.NDArray[np.int64], floor: float) -> Floats:
    """s / sqrt(m + floor): float32 [n]; s the score of a row, m the mean score of its neighbours.

    What a score means differs from place to place: a row is as unusual as it is worse than those
    beside it. This is, but for a factor, the geometric mean of s and of s / m; s / m alone, as
    local outlier factors have it (Breunig et al., SIGMOD 2000), forgets how unusual all of them
    are.

    Args:
        scores: [n]; a NaN stays.
        training: the scores of the training rows, [N].
        who: the neighbours of each row among these, [n, neighbours].
        floor: from `floor_of`.
    """
    around = training.astype(np.float64)[who].mean(axis=1) + floor
    return saturated(scores / np.sqrt(around))


def saturated(scores: npt.NDArray[np.float64]) -> Floats:
    """float32, at most its largest number in either direction; a NaN stays."""
    return np.clip(scores, -_LARGEST, _LARGEST).astype(np.float32)
