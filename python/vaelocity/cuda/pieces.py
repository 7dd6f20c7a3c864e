"""A plan's float32 weights in the type the tensor units take. NumPy only: bfloat16 as its bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vaelocity.cuda.plan import Floats

Bits = npt.NDArray[np.uint16]


def bfloat16(values: Floats) -> Bits:
    """The nearest bfloat16 (ties to even) of finite float32 values, as bits."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


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
