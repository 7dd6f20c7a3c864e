"""Where the threshold lies: in an array of scores, weighted or not, and in a histogram."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.histogram import ScoreHistogram
from vaelocity.histogram_arrays import Steps
from vaelocity.intervals import effective_counts
from vaelocity.score_arrays import as_scores, as_weights

LEAST_ABOVE = 10
"""Scores a threshold must leave above it. With 10 the 95 % interval of the false-positive rate
reaches from 0.48 to 1.84 times the rate; with 1 it would reach from 0.03 to 5.6 times, and with
fewer than 1 the threshold would lie beyond every score seen: an extrapolation."""


@dataclass(frozen=True)
class Found:
    """A threshold and what lies above it.

    above, total  weight (number, without weights) above `value` and in all
    effective     (count, n) for the interval
    n, ties       numbers of scores
    """

    value: float
    above: float
    total: float
    effective: tuple[float, float]
    n: int
    ties: int


def found_in_scores(
    scores: npt.ArrayLike,
    weights: npt.ArrayLike | None,
    part: float,
    least_above: int,
    asked: str,
    keep_not_finite: bool,
) -> Found:
    """The smallest score with at most `part` of the weight above it; see `threshold_for`."""
    values = as_scores(scores)
    bad = ~np.isfinite(values)
    if bad.any() and not keep_not_finite:
        raise ValueError(
            f"scores: {np.count_nonzero(bad)} of {len(values)} are NaN or infinite, the first at "
            f"{int(np.argmax(bad))}; leave those events out, or a rate cannot be counted"
        )
    n = len(values)
    if weights is not None:
        return _found_in(_steps_of(values, as_weights(weights, n)), part, least_above, asked)
    # A NaN is accepted by every threshold, as +inf is.
    values = np.where(np.isnan(values), np.float32(np.inf), values) if bad.any() else values
    allowed = _checked_count(part, n, least_above, asked)
    value = np.partition(values, n - 1 - allowed)[n - 1 - allowed]
    above = int(np.count_nonzero(values > value))
    ties = int(np.count_nonzero(values == value))
    return _finite(Found(float(value), above, n, (above, n), n, ties), asked)


def found_in_histogram(
    histogram: ScoreHistogram, part: float, least_above: int, asked: str, keep_not_finite: bool
) -> Found:
    """The lowest bin edge with at most `part` of the weight above it; see `threshold_for`."""
    bad = histogram.n_nan + histogram.n_infinite
    if bad and not keep_not_finite:
        raise ValueError(
            f"histogram: {bad:,} of {histogram.n:,} scores are NaN or infinite; "
            'not_finite="count" takes a NaN as accepted, which it is'
        )
    return _found_in(histogram.steps(), part, least_above, asked)


def _steps_of(values: npt.NDArray[np.float32], weights: npt.NDArray[np.float64]) -> Steps:
    """Every distinct score with the weight of its events."""
    nan = np.isnan(values)
    edges, index = np.unique(values[~nan], return_inverse=True)
    nan_weights, weight = weights[nan], weights[~nan]
    return Steps(
        edges,
        np.bincount(index, minlength=len(edges)),
        np.bincount(index, weight, len(edges)).astype(np.float64),
        np.bincount(index, weight**2, len(edges)).astype(np.float64),
        (len(nan_weights), float(nan_weights.sum()), float((nan_weights**2).sum())),
        weighted=True,
    )


def _found_in(steps: Steps, part: float, least_above: int, asked: str) -> Found:
    n = int(steps.counts.sum()) + steps.nan[0]
    if steps.weighted:
        above, above_squares = (_above(of, nan) for of, nan in steps.weights())
        total, total_squares = (float(of.sum()) + nan for of, nan in steps.weights())
        if not total > 0:
            raise ValueError(f"{asked}: the weights of {n:,} scores add up to {total}")
        enough = above / total <= part
    else:
        above = above_squares = _above(steps.counts, steps.nan[0])
        total = total_squares = n
        enough = above <= _checked_count(part, n, least_above, asked)
    i = int(np.argmax(enough)) if enough.any() else -1
    if i < 0:
        return _finite(Found(math.inf, 0, total, (0, n), n, 0), asked)
    found_above = above[i].item()
    if steps.weighted:
        squares_above = float(above_squares[i])
        _check_effective(
            part * total,
            found_above + float(steps.sums[i]),
            squares_above + float(steps.squares[i]),
            least_above,
            asked,
        )
        effective = effective_counts(found_above, squares_above, total, total_squares)
    else:
        effective = (found_above, n)
    found = Found(float(steps.edges[i]), found_above, total, effective, n, int(steps.counts[i]))
    return _finite(found, asked)


def _above(of: npt.NDArray[Any], nan: float) -> npt.NDArray[Any]:
    """What lies above every edge: sums from the top, NaN scores first."""
    from_top = np.cumsum(np.append(of, of.dtype.type(nan))[::-1])
    return from_top[-2::-1]


def _check_effective(
    allowed: float, weight: float, squares: float, least_above: int, asked: str
) -> None:
    """Refuse where the weight that may lie above is of fewer than least_above effective events.

    weight, squares: of the events above the threshold and at it.
    """
    effective = allowed * weight / squares
    if effective < least_above:
        raise ValueError(
            f"{asked} needs at least {least_above} effective events above the threshold, and the "
            f"weights leave {effective:.2g}: about {math.ceil(least_above / effective)} times as "
            "many events would do"
        )


def _checked_count(part: float, n: int, least_above: int, asked: str) -> int:
    """How many of n scores may lie above."""
    allowed = largest_count(part, n)
    if allowed < least_above:
        needed = fewest_events(part, least_above)
        raise ValueError(
            f"{asked} needs at least {needed} held-out scores ({least_above} above the "
            f"threshold), got {n}: hold out more events or ask for a higher rate"
        )
    return allowed


def _finite(found: Found, asked: str) -> Found:
    if math.isinf(found.value):
        raise ValueError(f"{asked}: NaN and infinite scores alone are more than that")
    return found


def largest_count(part: float, n: int) -> int:
    """The largest k with k / n <= part, in the arithmetic in which `achieved` is computed."""
    k = min(math.floor(part * n) + 1, n - 1)
    while k > 0 and k / n > part:
        k -= 1
    return k


def fewest_events(part: float, count: int) -> int:
    """The smallest n of which `count` are no larger a part than `part`."""
    n = math.ceil(count / part)
    while n > count and largest_count(part, n - 1) >= count:
        n -= 1
    while largest_count(part, n) < count:
        n += 1
    return n
