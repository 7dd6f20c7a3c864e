"""What both scorers share: reading rows, the sums that make a score, and writing the results."""

import triton
import triton.language as tl

from vaelocity.kernels.activation import exp, expm1
from vaelocity.kernels.histogram_bins import count
from vaelocity.kernels.math import LARGEST
from vaelocity.kernels.score_loss import loss_scale

# Codes: the order of vaelocity.structure.SCORES.
RECONSTRUCTION = tl.constexpr(0)
KL = tl.constexpr(1)
MU2 = tl.constexpr(2)
RZ = tl.constexpr(3)
ELBO = tl.constexpr(4)
LATENT_RECONSTRUCTION = tl.constexpr(5)
OUTPUT = tl.constexpr(6)


@triton.jit
def load_rows(
    x, rows, n, row_stride, column_stride, column,
    D: tl.constexpr, C: tl.constexpr, READ_PADDING: tl.constexpr,
):  # fmt: skip
    """Features column .. column + C of `rows` [BM] as float32 [BM, C].

    Rows from n on and features from D on are 0. READ_PADDING: what lies behind a row up to its
    padded width may be read (and is dropped), so that 16 bytes are read at a time.
    """
    columns = column + tl.arange(0, C)
    # int64: 60 columns of 16 M rows reach further than int32. Products of two int32 that depend on
    # the tile take one instruction each, where offsets within a tile would be kept in registers.
    row = rows.to(tl.int64) * row_stride
    at = x + row[:, None] + columns.to(tl.int64)[None, :] * column_stride
    used = (rows < n)[:, None]
    if D % C == 0:
        return tl.load(at, mask=used, other=0.0).to(tl.float32)
    real = (columns < D)[None, :]
    if READ_PADDING:
        return tl.where(real, tl.load(at, mask=used, other=0.0).to(tl.float32), 0.0)
    return tl.load(at, mask=used & real, other=0.0).to(tl.float32)


@triton.jit
def standardize(raw, scaling, column, C: tl.constexpr, PADDED: tl.constexpr):
    """(raw - mean) * inverse_scale. scaling: both, each [PADDED], 0 behind D."""
    columns = column + tl.arange(0, C)
    mean = tl.load(scaling + columns)
    inverse_scale = tl.load(scaling + PADDED + columns)
    return (raw - mean[None, :]) * inverse_scale[None, :]


@triton.jit
def nonfinite(raw):
    """NaN for every row with a NaN or inf, else 0: float32 [BM]."""
    return tl.sum(raw * 0.0, 1)


@triton.jit
def latent_sum(mu, logvar, KIND: tl.constexpr):
    """The kind's sum over a block of latent variables [BM, C]; padding, 0 in both, adds 0."""
    if KIND == MU2:
        return tl.sum(mu * mu, 1)
    elif KIND == RZ:
        return tl.sum(mu * mu * exp(0.0 - logvar), 1)
    elif KIND == OUTPUT:  # one value, and padding
        return tl.sum(mu, 1)
    else:  # expm1, so that nothing cancels at logvar ~ 0
        return tl.sum(mu * mu + (expm1(logvar) - logvar), 1)


@triton.jit
def combine(reconstruction, latent, beta, KIND: tl.constexpr, LOSS: tl.constexpr):
    """The score that the sums make, before saturation."""
    if KIND == RECONSTRUCTION or KIND == LATENT_RECONSTRUCTION:
        return loss_scale(LOSS) * reconstruction
    elif KIND == KL:
        return 0.5 * latent
    elif KIND == ELBO:
        return loss_scale(LOSS) * reconstruction + beta * (0.5 * latent)
    else:
        return latent


@triton.jit
def saturate(value, bad):
    """value, or float32's largest number where it overflowed, or NaN where bad is NaN."""
    # A NaN of finite features is an overflow too: inf - inf.
    return tl.where(value <= LARGEST, value, LARGEST) + bad


@triton.jit
def tiles_of(accepted, n, programs, BM: tl.constexpr):
    """(first, end, step) of this program's tiles: every programs-th; or, where accepted rows are
    counted for kernels/score_accept.py, a range of neighbours."""
    tiles = tl.cdiv(n, BM)
    program = tl.program_id(0)
    if accepted is None:
        return program, tiles, programs
    else:
        share = tl.cdiv(tiles, programs)
        return program * share, tl.minimum((program + 1) * share, tiles), 1


@triton.jit
def write(
    scores, flags, decisions, counts, threshold, rows, n, value, bad, missed, KIND: tl.constexpr
):  # fmt: skip
    """Scores [n] float32, flags and decisions [n] uint8, and the histogram's counts, where their
    pointers are not None. missed: positive for rows with a missing value, or None. Returns what was
    accepted, int1 [BM]."""
    used = rows < n
    within = value <= LARGEST
    score = saturate(value, bad)
    if KIND == OUTPUT:  # the one that may be negative
        within = within & (value >= -LARGEST)
        score = tl.where(score < -LARGEST, -LARGEST, score)
    # Not score <= threshold: a row that cannot be scored is kept.
    accept = used & ~(score <= threshold)
    if scores is not None:
        tl.store(scores + rows, score, mask=used)
    if flags is not None:
        flag = tl.where(within, 0, 2)
        if missed is not None:
            flag += tl.where(missed > 0.0, 4, 0)
        flag = tl.where(bad == 0.0, flag, 1)
        tl.store(flags + rows, flag.to(tl.uint8), mask=used)
    if decisions is not None:
        tl.store(decisions + rows, accept.to(tl.uint8), mask=used)
    if counts is not None:
        count(counts, score, used)
    return accept


@triton.jit
def write_features(
    features, rows, n, column, terms, bad, D: tl.constexpr, C: tl.constexpr, LOSS: tl.constexpr
):  # fmt: skip
    """The loss of C features, float32 [n, D], from the terms [BM, C] that kernels/score_loss.py
    makes."""
    columns = column + tl.arange(0, C)
    used = (rows < n)[:, None] & (columns < D)[None, :]
    at = features + rows.to(tl.int64)[:, None] * D + columns[None, :]
    tl.store(at, saturate(loss_scale(LOSS) * terms, bad[:, None]), mask=used)
