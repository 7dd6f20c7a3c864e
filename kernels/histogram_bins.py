"""Scores counted over their bit pattern, inside any kernel that has them."""

import triton
import triton.language as tl

from vaelocity import histogram_reference

BINS = tl.constexpr(histogram_reference.BINS)
_SHIFT = tl.constexpr(32 - histogram_reference.BITS)


@triton.jit
def count(counts, score, used):
    """Add float32 scores where `used` to counts, int32 [BINS + 1], the last entry for NaN.

    Sums of integers: atomics give the same in any order.
    """
    bits = score.to(tl.int32, bitcast=True)
    magnitude = bits & 0x7FFFFFFF
    # -0 is counted as +0; see csrc/src/histogram.cpp for the order of the keys.
    bits = tl.where(magnitude == 0, 0, bits)
    key = tl.where(bits < 0, ~bits, bits ^ -0x80000000)
    # The arithmetic shift brings copies of the sign from the left, which BINS - 1 cuts off.
    bin = tl.where(magnitude > 0x7F800000, BINS, (key >> _SHIFT) & (BINS - 1))
    tl.atomic_add(counts + bin, 1, mask=used, sem="relaxed")
