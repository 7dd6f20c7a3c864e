"""A plan's float32 weights as three bfloat16, which the tensor units take. NumPy only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vaelocity.cuda.plan import Floats

Bits = npt.NDArray[np.uint16]


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
