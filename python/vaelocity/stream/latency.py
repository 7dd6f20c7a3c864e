"""Latencies counted in logarithmic bins: constant memory, percentiles within 3 %."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["LatencyHistogram"]

# Bins per power of two: a bin's edges are at most 1/32 apart, relative to its value.
_BITS = 5
_PER_OCTAVE = 1 << _BITS
_BINS = 64 * _PER_OCTAVE


class LatencyHistogram:
    """Counts latencies in nanoseconds; one thread adds, any may read."""

    def __init__(self) -> None:
        self.counts = np.zeros(_BINS, np.int64)
        self.seconds = 0.0

    def add(self, seconds: float, n: int = 1) -> None:
        """n events took `seconds` each."""
        self.counts[_bin(seconds)] += n
        self.seconds += n * seconds

    @property
    def n(self) -> int:
        """Events counted."""
        return int(self.counts.sum())

    def quantile(self, q: float) -> float:
        """The upper edge in seconds of the bin in which the q-quantile lies; NaN for no events."""
        counts = self.counts.copy()
        total = int(counts.sum())
        if total == 0:
            return math.nan
        wanted = max(1, math.ceil(q * total))
        return _upper(int(np.searchsorted(np.cumsum(counts), wanted)))

    def below(self, seconds: float) -> int:
        """Events in bins that end at or below `seconds`."""
        return int(self.counts[: _bin(seconds)].sum())


def _bin(seconds: float) -> int:
    ns = max(1, int(seconds * 1e9))
    if ns < _PER_OCTAVE:
        return ns
    shift = ns.bit_length() - 1 - _BITS
    return min(_BINS - 1, (shift << _BITS) + (ns >> shift))


def _upper(bin_: int) -> float:
    if bin_ < _PER_OCTAVE:
        return (bin_ + 1) * 1e-9
    shift = (bin_ >> _BITS) - 1
    return float(((bin_ & (_PER_OCTAVE - 1)) + _PER_OCTAVE + 1) << shift) * 1e-9
