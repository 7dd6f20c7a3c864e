"""A plan's float32 weights as the tensor units take them: three bfloat16, or tf32. NumPy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vaelocity.cuda.columns import Floats

Bits = npt.NDArray[np.uint16]


def nearest_tf32(values: Floats) -> Floats:
    """float32 values rounded to the 10 bits behind the point that tf32 has, ties to even."""
    bits = values.view(np.uint32)
    found: Floats = ((bits + 0xFFF + (bits >> 13 & 1)) & np.uint32(0xFFFFE000)).view(np.float32)
    return found


def split(values: Floats) -> Bits:
    """Three bfloat16 pieces whose sum is the value, one after the other: [3 * n] bits.

    Each piece takes the 8 leading bits of what is left, as split_dot of kernels/score_dense.py
    takes the activations apart.
    """
    pieces = []
    left = values
    for _ in range(3):
        bits = left.view(np.uint32) & np.uint32(0xFFFF0000)
        pieces.append((bits >> 16).astype(np.uint16))
        left = left - bits.view(np.float32)
    return np.concatenate(pieces)
