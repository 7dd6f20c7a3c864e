"""bfloat16 in NumPy, which has no such type: as its bits, or as float32 of the same values.

The bits of a bfloat16 are the upper half of those of the float32 that is equal to it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["from_bits", "rounded", "to_bits"]

Floats = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint16]


def to_bits(values: Floats) -> Bits:
    """The nearest bfloat16, ties to even, uint16 of the same shape. A NaN stays one; from 2^128 -
    2^119 on a number becomes inf."""
    bits = values.view(np.uint32)
    nearest = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), bits >> 16 | 0x40, nearest).astype(np.uint16)


def from_bits(bits: Bits) -> Floats:
    """float32 of the same shape and values."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded(values: Floats) -> Floats:
    """The nearest bfloat16 as float32."""
    return from_bits(to_bits(values))
