"""What is done to a column before it is standardised: missing values, absent objects, clip, wrap,
log1p, in this order. The steps of csrc/src/score/kernels/columns.h.

COLUMNS tells where in `scaling`, rows of PADDED numbers, the arrays of vaelocity.preprocess.COLUMNS
lie, 0 for one that there is not (row 0 is the mean); then 1 where a term may leave the loss, and 1
where what is prepared is to be `_pinned`:

    (policy, imputed, absent, low, high, wrapped, logged, leaves_out, pinned)

Where all of them are 0, nothing but standardising is compiled.

A feature whose term leaves the loss is a NaN from `prepare` on. To the loss that is all there is to
say (kernels/score_loss.py), and `network_input` makes it the 0 that the network gets: so it takes
no register to remember. A row that brings a NaN of its own has the score NaN, whatever is left out.
"""

import triton
import triton.language as tl

from vaelocity.kernels.math import LARGEST, signed_log1p, wrap_angle
from vaelocity.kernels.score_dense import INTERPRETED
from vaelocity.kernels.score_terms import load_rows, nonfinite, standardize


@triton.jit
def _entry(scaling, PLACE: tl.constexpr, column, C: tl.constexpr, PADDED: tl.constexpr):
    """Columns column .. column + C of row PLACE of `scaling`, float32 [1, C]."""
    return tl.load(scaling + PLACE * PADDED + column + tl.arange(0, C))[None, :]


@triton.jit
def _policy(raw, scaling, column, COLUMNS: tl.constexpr, C: tl.constexpr, PADDED: tl.constexpr):
    """What becomes of each value [BM, C]: 0 where it is finite, or rejects its row; 1 it is left
    out; 2 it is replaced."""
    finite = tl.abs(raw) <= LARGEST
    return tl.where(finite, 0.0, _entry(scaling, COLUMNS[0], column, C, PADDED))


@triton.jit
def rejected(raw, scaling, column, COLUMNS: tl.constexpr, C: tl.constexpr, PADDED: tl.constexpr):
    """NaN for every row with a NaN or inf that no policy deals with, else 0: float32 [BM]."""
    if COLUMNS[0]:
        lost = _policy(raw, scaling, column, COLUMNS, C, PADDED)
        return nonfinite(tl.where(lost > 0.0, 0.0, raw))
    else:
        return nonfinite(raw)


@triton.jit
def missing(raw, scaling, column, COLUMNS: tl.constexpr, C: tl.constexpr, PADDED: tl.constexpr):
    """Positive for every row with a missing value that is left out or replaced: float32 [BM]."""
    return tl.sum(_policy(raw, scaling, column, COLUMNS, C, PADDED), 1)


@triton.jit
def _pinned(x):
    """x, by an instruction of NVIDIA's that Triton does not look into and may not repeat.

    A product wants its left operand once in every warp. Rather than moving what is prepared there,
    Triton moves the rows, and prepares them once more in every warp: with all steps 1280 bytes of
    stack a thread, and 56 with this (Triton 3.9, sm_90, tiles of 64 rows, 4 warps).
    """
    if INTERPRETED:
        return x
    else:
        return tl.inline_asm_elementwise(
            "mov.b32 $0, $1;", "=r,r", [x], dtype=tl.float32, is_pure=False, pack=1
        )


@triton.jit
def prepare(raw, scaling, column, COLUMNS: tl.constexpr, C: tl.constexpr, PADDED: tl.constexpr):
    """Features column .. column + C, raw [BM, C], after their steps and standardised; NaN where the
    term leaves the loss."""
    v = raw
    out = tl.zeros_like(raw)  # positive where the term leaves the loss
    if COLUMNS[0]:
        lost = _policy(raw, scaling, column, COLUMNS, C, PADDED)
        v = tl.where(lost > 0.0, _entry(scaling, COLUMNS[1], column, C, PADDED), v)
        out = tl.where(lost == 1.0, 1.0, out)
    if COLUMNS[2]:
        out = tl.where(v == 0.0, _entry(scaling, COLUMNS[2], column, C, PADDED) + out, out)
    if COLUMNS[3]:
        low = _entry(scaling, COLUMNS[3], column, C, PADDED)
        high = _entry(scaling, COLUMNS[4], column, C, PADDED)
        v = tl.minimum(v, high, propagate_nan=tl.PropagateNan.ALL)
        v = tl.maximum(v, low, propagate_nan=tl.PropagateNan.ALL)
    if COLUMNS[5]:
        v = tl.where(_entry(scaling, COLUMNS[5], column, C, PADDED) > 0.0, wrap_angle(v), v)
    if COLUMNS[6]:
        v = tl.where(_entry(scaling, COLUMNS[6], column, C, PADDED) > 0.0, signed_log1p(v), v)
    x = standardize(v, scaling, column, C, PADDED)
    if COLUMNS[7]:
        x = tl.where(out > 0.0, float("nan"), x)
    return _pinned(x) if COLUMNS[8] else x


@triton.jit
def network_input(x, COLUMNS: tl.constexpr):
    """What the network gets of a block x that `prepare` has made: 0 where the term is left out."""
    if COLUMNS[7]:
        return tl.where(x == x, x, 0.0)
    else:
        return x


# Else a call with other rows would compile anew: one row, a multiple of 16, another number.
@triton.jit(do_not_specialize=["n", "programs"])
def score_columns(
    x,  # [n, D] float32, bfloat16 or float16 with any strides
    row_stride, column_stride,  # in elements
    n,  # rows; with those of the last tile less than 2^31
    scaling,  # [rows of COLUMNS, PADDED] float32
    prepared,  # [n, D] float32: what the network gets
    programs,
    D: tl.constexpr, COLUMNS: tl.constexpr, BM: tl.constexpr, C: tl.constexpr,
    PADDED: tl.constexpr,
):  # fmt: skip
    """For networks whose layers are torch's; kernels/score_layered.py prepares the rows again."""
    for tile in tl.range(tl.program_id(0), tl.cdiv(n, BM), programs):
        rows = tile * BM + tl.arange(0, BM)
        for c in tl.range(0, PADDED, C):
            raw = load_rows(x, rows, n, row_stride, column_stride, c, D, C, False)
            block = network_input(prepare(raw, scaling, c, COLUMNS, C, PADDED), COLUMNS)
            columns = c + tl.arange(0, C)
            used = (rows < n)[:, None] & (columns < D)[None, :]
            at = prepared + rows.to(tl.int64)[:, None] * D + columns[None, :]
            tl.store(at, block, mask=used)
