"""How much of a histogram lies above a value, counted at the edge of a bin, interpolated inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaelocity import histogram_reference as reference
from vaelocity.histogram_arrays import Steps
from vaelocity.histogram_reference import KEYS_PER_BIN
from vaelocity.intervals import clopper_pearson, effective_counts

__all__ = ["Tail", "parts_from", "tail_of"]


@dataclass(frozen=True)
class Tail:
    """How much of a histogram a threshold at `value` accepts: scores above it, and every NaN.

    fraction   of the total weight (of the number of scores, without weights)
    interval   Clopper-Pearson, widened to both edges of the bin where `exact` is False
    above      the weight above `value`, NaN scores included
    total      the weight of all scores
    exact      counted, since `value` is the upper edge of a bin; otherwise the part of its own bin
               is an interpolation
    """

    value: float
    fraction: float
    interval: tuple[float, float]
    above: float
    total: float
    exact: bool


def tail_of(steps: Steps, value: float, confidence: float) -> Tail:
    """See `ScoreHistogram.tail`."""
    key, edge = _key_and_edge(value)
    total = float(steps.sums.sum()) + steps.nan[1]
    total_squares = float(steps.squares.sum()) + steps.nan[2]
    if not total > 0:
        raise ValueError("tail: the histogram is empty")
    i = int(np.searchsorted(steps.edges, edge, side="right"))
    above = float(steps.sums[i:].sum()) + steps.nan[1]
    above_squares = float(steps.squares[i:].sum()) + steps.nan[2]
    here = (0.0, 0.0)
    if i and steps.edges[i - 1] == edge:
        here = (float(steps.sums[i - 1]), float(steps.squares[i - 1]))
    # The part of the bin's numbers that are above the value; scores are taken to lie evenly.
    part = (_key_and_edge(float(edge))[0] - key) / KEYS_PER_BIN
    within = (0.0, part, 1.0) if part and here[0] else (0.0,)
    counts = [(above + f * here[0], above_squares + f * here[1]) for f in within]
    intervals = [
        clopper_pearson(*effective_counts(a, s, total, total_squares), confidence)
        if steps.weighted
        else clopper_pearson(a, total, confidence)
        for a, s in (counts[0], counts[-1])
    ]
    found = counts[len(counts) // 2][0]
    return Tail(
        float(np.float32(value)),
        found / total,
        (intervals[0][0], intervals[1][1]),
        found,
        total,
        len(within) == 1,
    )


def parts_from(steps: Steps, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The part of the weight with at least each score, float64 [n]: that in its bin and above it.

    A NaN lies above all numbers, as it does for a threshold. At least the smallest part that a
    score can have, 1 / n: of a score that is not among those counted, 0 would be too little.
    """
    above = np.append(np.cumsum(steps.sums[::-1])[::-1], 0.0) + steps.nan[1]
    at = np.where(
        np.isnan(scores), len(steps.edges), np.searchsorted(steps.edges, scores, side="left")
    )
    n = steps.counts.sum() + steps.nan[0]
    parts: npt.NDArray[np.float64] = np.maximum(above[at] / above[0], 1 / n)
    return parts


def _key_and_edge(value: float) -> tuple[int, np.float32]:
    """Key of a threshold, which is compared with scores as a float32, and the edge of its bin."""
    with np.errstate(over="ignore"):
        as_float32 = np.array([value], np.float32)
    if np.isnan(as_float32[0]):
        raise ValueError("value: got NaN")
    return (
        int(reference.keys_of(as_float32)[0]),
        reference.upper_edges(reference.bins_of(as_float32))[0],
    )
