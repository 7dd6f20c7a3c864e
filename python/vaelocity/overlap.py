"""Which events several selections accept: each one's pure rate, and how they overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from vaelocity.intervals import clopper_pearson

__all__ = ["MOST_SELECTIONS", "Overlap", "Share"]

MOST_SELECTIONS = 16
"""All 2^m patterns of m decisions are counted: 512 kB for 16."""


@dataclass(frozen=True)
class Share:
    """A part of the events, with its Clopper-Pearson interval."""

    events: int
    fraction: float
    interval: tuple[float, float]


class Overlap:
    """Counts how often every pattern of decisions occurs; everything else follows from these.

    Memory does not grow with the events, and `merge` is exact.

    names    of the selections, distinct, at most MOST_SELECTIONS
    n        events counted
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        if not 1 <= len(self.names) <= MOST_SELECTIONS:
            raise ValueError(
                f"names: expected 1 to {MOST_SELECTIONS} selections, got {len(self.names)}"
            )
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"names: expected distinct ones, got {self.names}")
        # counts[p]: events that were accepted by just the selections whose bits p has
        self._counts = np.zeros(1 << len(self.names), np.int64)

    def update(self, decisions: Sequence[npt.NDArray[np.bool_]]) -> Self:
        """Count events: one array bool [n] a selection, in the order of the names."""
        if len(decisions) != len(self.names):
            raise ValueError(f"decisions: expected {len(self.names)} arrays, got {len(decisions)}")
        n = len(decisions[0])
        pattern = np.zeros(n, np.int64)
        for bit, accepted in enumerate(decisions):
            if accepted.dtype != np.bool_ or accepted.shape != (n,):
                raise ValueError(
                    f"decisions: {self.names[bit]}: expected bool of shape ({n},), got "
                    f"{accepted.dtype} of shape {accepted.shape}"
                )
            pattern |= accepted.astype(np.int64) << bit
        self._counts += np.bincount(pattern, minlength=len(self._counts))
        return self

    def merge(self, other: Overlap) -> Self:
        """Add what another overlap of the same selections counted."""
        if self.names != other.names:
            raise ValueError(f"other: of {other.names}, expected {self.names}")
        self._counts += other._counts
        return self

    @property
    def n(self) -> int:
        """Events counted."""
        return int(self._counts.sum())

    def accepted(self, name: str) -> Share:
        """Events that this selection accepts."""
        return self._share(self._having(1 << self._bit(name)))

    def pure(self, name: str) -> Share:
        """Events that this selection accepts and no other does."""
        return self._share(int(self._counts[1 << self._bit(name)]))

    def both(self, one: str, other: str) -> Share:
        """Events that both accept."""
        return self._share(self._having(1 << self._bit(one) | 1 << self._bit(other)))

    def any(self) -> Share:
        """Events that at least one accepts."""
        return self._share(self.n - int(self._counts[0]))

    def neither(self) -> Share:
        """Events that no selection accepts."""
        return self._share(int(self._counts[0]))

    def jaccard(self, one: str, other: str) -> float:
        """Events that both accept, of those that either does; NaN where none does."""
        shared = self.both(one, other).events
        either = self.accepted(one).events + self.accepted(other).events - shared
        return shared / either if either else float("nan")

    def _bit(self, name: str) -> int:
        if name not in self.names:
            raise ValueError(f"name: expected one of {', '.join(self.names)}, got {name!r}")
        return self.names.index(name)

    def _having(self, bits: int) -> int:
        patterns = np.arange(len(self._counts))
        return int(self._counts[(patterns & bits) == bits].sum())

    def _share(self, events: int) -> Share:
        n = self.n
        if n == 0:
            raise ValueError("overlap: no events were counted yet")
        return Share(events, events / n, clopper_pearson(events, n))
