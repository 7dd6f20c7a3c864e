"""Thresholds for a false-positive rate, found on held-out scores and honest about their error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LEAST_ABOVE", "Threshold", "clopper_pearson", "threshold_for"]

LEAST_ABOVE = 10
"""Scores a threshold must leave above it. With 10 the 95 % interval of the false-positive rate
reaches from 0.48 to 1.84 times the rate; with 1 it would reach from 0.03 to 5.6 times, and with
fewer than 1 the threshold would lie beyond every score seen: an extrapolation."""


@dataclass(frozen=True)
class Threshold:
    """Scores above `value` are anomalous: `not score <= value`, so a NaN score is, too.

    name      unique in a file: "fpr=0.01"
    kind      the kind of score it is for
    value     exactly a float32
    fpr       false-positive rate that was asked for
    achieved  part of the n scores above `value`; below `fpr` where scores tie
    interval  Clopper-Pearson interval of the true false-positive rate
    n         held-out scores it was found on
    """

    name: str
    kind: str
    value: float
    fpr: float
    achieved: float
    interval: tuple[float, float]
    n: int

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the JSON of a .vael file."""
        return {**asdict(self), "interval": list(self.interval)}

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Threshold:
        """The inverse of `to_dict`."""
        low, high = entry["interval"]
        return cls(**{**entry, "interval": (float(low), float(high))})


def threshold_for(
    scores: npt.ArrayLike,
    *,
    fpr: float,
    kind: str = "reconstruction",
    confidence: float = 0.95,
    least_above: int = LEAST_ABOVE,
) -> Threshold:
    """The smallest observed score with at most a fraction `fpr` of the scores above it.

    The scores must be of normal events that neither trained the model nor chose when to stop.
    Where scores tie at the threshold fewer than asked lie above it: see `Threshold.achieved`.
    Weighted events are not supported.

    The Clopper-Pearson interval [1] is kept although the threshold is an order statistic of the
    same scores: the true rate above the k-th largest of n continuous scores is distributed as
    Beta(k + 1, n - k), whose upper quantile is the interval's and whose lower quantile is larger.

    Args:
        scores: float [n], finite; float64 is rounded to float32, the type of every score.
        fpr: between 0 and 1, both excluded.
        kind: the kind of the scores.
        confidence: of the interval, between 0 and 1.
        least_above: refuse if fewer than so many scores may lie above; at least 1, see
            LEAST_ABOVE.

    Raises:
        ValueError: too few scores (the message says how many it takes), a score that is NaN or
            infinite, an argument out of its range.

    [1] C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404.
    """
    values = _checked(scores)
    for name, number in (("fpr", fpr), ("confidence", confidence)):
        if not 0 < number < 1:
            raise ValueError(f"{name}: expected a number between 0 and 1, got {number!r}")
    if not isinstance(least_above, int) or least_above < 1:
        raise ValueError(f"least_above: expected an int of at least 1, got {least_above!r}")
    n = len(values)
    allowed = _largest_count(fpr, n)
    if allowed < least_above:
        needed = _fewest_events(fpr, least_above)
        raise ValueError(
            f"fpr={fpr:g} needs at least {needed} held-out scores ({least_above} above the "
            f"threshold), got {n}: hold out more events or ask for a higher rate"
        )
    value = np.partition(values, n - 1 - allowed)[n - 1 - allowed]
    above = int(np.count_nonzero(values > value))
    interval = clopper_pearson(above, n, confidence)
    return Threshold(f"fpr={fpr:g}", kind, float(value), fpr, above / n, interval, n)


def clopper_pearson(count: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Clopper-Pearson interval of a rate of which `count` of n were seen."""
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, n - count + 1))
    high = 1.0 if count == n else float(beta.ppf(1 - tail, count + 1, n - count))
    return low, high


def _checked(scores: npt.ArrayLike) -> npt.NDArray[np.float32]:
    given = np.asarray(scores)
    if given.ndim != 1 or given.dtype.kind != "f":
        raise ValueError(
            f"scores: expected floats of shape (n,), got {given.dtype} of shape {given.shape}"
        )
    with np.errstate(over="ignore"):
        values = given.astype(np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        raise ValueError(
            f"scores: {np.count_nonzero(bad)} of {len(given)} are NaN or infinite, the first at "
            f"{int(np.argmax(bad))}; leave those events out, or a rate cannot be counted"
        )
    return values


def _largest_count(fpr: float, n: int) -> int:
    """The largest k with k / n <= fpr, in the arithmetic in which `achieved` is computed."""
    k = min(math.floor(fpr * n) + 1, n - 1)
    while k > 0 and k / n > fpr:
        k -= 1
    return k


def _fewest_events(fpr: float, count: int) -> int:
    n = math.ceil(count / fpr)
    while n > count and _largest_count(fpr, n - 1) >= count:
        n -= 1
    while _largest_count(fpr, n) < count:
        n += 1
    return n
