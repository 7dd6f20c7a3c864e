"""The terms of the reconstruction losses: those of csrc/src/score/kernels/loss.h.

LOSS: (code, delta). A term is made of x, which is NaN where it leaves the loss
(kernels/score_columns.py), and its reconstruction y, [BM, C] each.
"""

import triton
import triton.language as tl

from vaelocity.kernels.activation import clamp
from vaelocity.kernels.math import softplus

# Codes: the order of vaelocity.structure.LOSSES.
SQUARED_ERROR = tl.constexpr(0)
ABSOLUTE_ERROR = tl.constexpr(1)
HUBER = tl.constexpr(2)
BCE_WITH_LOGITS = tl.constexpr(3)


@triton.jit
def _term(x, y, LOSS: tl.constexpr):
    """The loss of each feature, of the squared error twice the loss."""
    CODE: tl.constexpr = LOSS[0]
    DELTA: tl.constexpr = LOSS[1]
    difference = y - x
    if CODE == SQUARED_ERROR:
        return difference * difference
    elif CODE == ABSOLUTE_ERROR:
        return tl.abs(difference)
    elif CODE == HUBER:
        far = tl.abs(difference)
        near = tl.minimum(far, DELTA, propagate_nan=tl.PropagateNan.ALL)
        return near * (far - 0.5 * near)
    else:
        # The cross entropy of an x beyond 1 falls without bound, so that it is the clamped one's.
        inside = clamp(x, 0.0, 1.0)
        beyond = x - inside
        return softplus(y) - inside * y + 0.5 * (beyond * beyond)


@triton.jit
def loss_terms(
    x, y, column, LOSS: tl.constexpr, LEAVES_OUT: tl.constexpr, D: tl.constexpr, C: tl.constexpr
):
    """The terms [BM, C] of columns column .. column + C of D, 0 where one leaves the loss."""
    term = _term(x, y, LOSS)
    # The only loss that makes something of a padding of 0.
    if LOSS[0] == BCE_WITH_LOGITS and D % C != 0:
        columns = column + tl.arange(0, C)
        term = tl.where((columns < D)[None, :], term, 0.0)
    if LEAVES_OUT:
        term = tl.where(x == x, term, 0.0)
    return term


@triton.jit
def loss_scale(LOSS: tl.constexpr):
    """What the sum is multiplied by."""
    SCALE: tl.constexpr = 0.5 if LOSS[0] == SQUARED_ERROR else 1.0
    return SCALE
