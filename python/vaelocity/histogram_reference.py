"""What csrc/src/histogram.cpp does, in NumPy: the layout of the bins, written to be read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint32]

BITS = 20
"""Bits of a key that name its bin: sign, exponent and 11 of the mantissa's 23."""

BINS = 1 << BITS
KEYS_PER_BIN = 1 << (32 - BITS)

_SIGN = np.uint32(0x80000000)
_LAST_NEGATIVE = 0x7FFFFFFE
_INFINITY = 0xFF800000


def keys_of(scores: Floats) -> Keys:
    """Integers uint32 [n] in the order of the numbers (no NaN among them).

    The bits of a negative float32 fall as it rises, so all are flipped; of a positive one the sign
    alone. -0 gets the key of +0, which it equals.
    """
    bits = np.ascontiguousarray(scores).view(np.uint32)
    bits = np.where(bits == _SIGN, np.uint32(0), bits)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def bins_of(scores: Floats) -> npt.NDArray[np.int64]:
    """The bin of every number: int64 [n]."""
    return (keys_of(scores) >> np.uint32(32 - BITS)).astype(np.int64)


def upper_edges(bins: npt.NDArray[np.int64]) -> Floats:
    """The largest number that is counted in each bin: float32 [n]."""
    top = (bins + 1) * KEYS_PER_BIN - 1
    # -0 is counted as +0, and beyond the key of infinity are NaNs, which have no bin.
    top = np.where(top == _LAST_NEGATIVE + 1, _LAST_NEGATIVE, top)
    keys = np.where(bins == _INFINITY >> (32 - BITS), _INFINITY, top).astype(np.uint32)
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).astype(np.uint32).view(np.float32)


def histogram_count(scores: Floats, counts: npt.NDArray[np.uint64]) -> tuple[int, int, int]:
    """`_core.histogram_count`."""
    numbers = scores[~np.isnan(scores)]
    bins = bins_of(numbers)
    if len(bins):
        found, times = np.unique(bins, return_counts=True)
        counts[found] += times.astype(np.uint64)
    return _tally(scores, bins)


def histogram_count_weighted(
    scores: Floats,
    weights: npt.NDArray[np.float64],
    counts: npt.NDArray[np.uint64],
    sums: npt.NDArray[np.float64],
    squares: npt.NDArray[np.float64],
    nan_sums: npt.NDArray[np.float64],
) -> tuple[int, int, int]:
    """`_core.histogram_count_weighted`: add.at adds in the order of the scores, as C++ does."""
    nan = np.isnan(scores)
    bins = bins_of(scores[~nan])
    np.add.at(counts, bins, np.uint64(1))
    np.add.at(sums, bins, weights[~nan])
    np.add.at(squares, bins, weights[~nan] ** 2)
    slots = np.zeros(np.count_nonzero(nan), np.int64)
    np.add.at(nan_sums, slots, weights[nan])
    np.add.at(nan_sums, slots + 1, weights[nan] ** 2)
    return _tally(scores, bins)


def _tally(scores: Floats, bins: npt.NDArray[np.int64]) -> tuple[int, int, int]:
    n_nan = len(scores) - len(bins)
    return (n_nan, int(bins.min()), int(bins.max())) if len(bins) else (n_nan, BINS - 1, 0)
