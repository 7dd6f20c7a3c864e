"""One event in many: prescales of accepted events, and a stream that no score decides on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Prescale", "pass_through"]

Mask = npt.NDArray[np.bool_]


class Prescale:
    """Keeps every `factor`-th accepted event, the first one first, whatever the batches.

    Counted, as prescalers in trigger hardware do: the rate is exact. A kept event stands for
    `factor` accepted ones; that is its weight.
    """

    def __init__(self, factor: int) -> None:
        self.factor = _checked_factor(factor)
        self.accepted = 0

    def __call__(self, accepted: Mask) -> Mask:
        """The events that are kept, bool [n], of those that are accepted, bool [n]."""
        if accepted.dtype != np.bool_ or accepted.ndim != 1:
            raise ValueError(
                f"accepted: expected bool of shape (n,), got {accepted.dtype} of shape "
                f"{accepted.shape}"
            )
        number = np.cumsum(accepted) - 1 + self.accepted
        self.accepted += int(np.count_nonzero(accepted))
        kept: Mask = accepted & (number % self.factor == 0)
        return kept


def pass_through(events: npt.NDArray[Any], factor: int, seed: int = 0) -> Mask:
    """One event in `factor`, chosen by a hash of its number alone: bool [n].

    What is kept beside the accepted events to see what the score rejects. The choice is the same in
    any batch, order, shard or replay, and independent of the score; unlike counting it does not
    beat with a structure of the stream, such as the 3,564 bunch places of an LHC orbit. Each event
    that is kept stands for `factor`; about n / factor are, with a binomial spread.

    Args:
        events: integers [n], distinct numbers of the events.
        factor: at least 1.
        seed: another seed is another choice, independent of the first.

    Raises:
        ValueError: no integers, a factor below 1.
    """
    if events.dtype.kind not in "iu" or events.ndim != 1:
        raise ValueError(
            f"events: expected integers of shape (n,), got {events.dtype} of shape {events.shape}"
        )
    _checked_factor(factor)
    start = _mixed(np.array([seed % (1 << 64)], np.uint64))
    kept: Mask = _mixed(events.astype(np.uint64) + start) % np.uint64(factor) == 0
    return kept


def _mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64: what that generator gives at state x (Steele, Lea, Flood, OOPSLA 2014)."""
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _checked_factor(factor: int) -> int:
    if isinstance(factor, bool) or not isinstance(factor, int) or factor < 1:
        raise ValueError(f"factor: expected a whole number of at least 1, got {factor!r}")
    return factor
