"""What both scorers share: reading rows, the sums that make a score, and writing the results."""

import triton
import triton.language as tl

from vaelocity.kernels.activation import exp, expm1
from vaelocity.kernels.histogram_bins import count

# Codes: the order of vaelocity.structure.GAUSSIAN_KINDS.
RECONSTRUCTION = tl.constexpr(0)
KL = tl.constexpr(1)
MU2 = tl.constexpr(2)
RZ = tl.constexpr(3)
ELBO = tl.constexpr(4)

_LARGEST = tl.constexpr(3.4028234663852886e38)


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
def load_grouped(
    x, tile, column, D: tl.constexpr, C: tl.constexpr, GROUP: tl.constexpr, BM: tl.constexpr
):
    """Features column .. column + C of a tile's rows as float32 [BM, C], as load_rows.

    x: a descriptor of [n / GROUP, GROUP * D] with blocks [BM, C]. Rows one behind the other begin
    anywhere, and the tensor memory accelerator copies rows that lie a multiple of 16 bytes apart:
    GROUP of them do. A tile takes the same one of every group; what a block has of the next one is
    dropped, what lies behind the last group is 0.
    """
    block = x.load([tile // GROUP * BM, tile % GROUP * D + column]).to(tl.float32)
    if D % C == 0:
        return block
    return tl.where((column + tl.arange(0, C) < D)[None, :], block, 0.0)


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
    else:  # expm1, so that nothing cancels at logvar ~ 0
        return tl.sum(mu * mu + (expm1(logvar) - logvar), 1)


@triton.jit
def combine(reconstruction, latent, beta, KIND: tl.constexpr):
    """The score that the sums make, before saturation."""
    if KIND == RECONSTRUCTION:
        return 0.5 * reconstruction
    elif KIND == KL:
        return 0.5 * latent
    elif KIND == ELBO:
        return 0.5 * reconstruction + beta * (0.5 * latent)
    else:
        return latent


@triton.jit
def saturate(value, bad):
    """value, or float32's largest number where it overflowed, or NaN where bad is NaN."""
    # A NaN of finite features is an overflow too: inf - inf.
    return tl.where(value <= _LARGEST, value, _LARGEST) + bad


@triton.jit
def tiles_of(accepted, n, programs, BM: tl.constexpr, GROUP: tl.constexpr):
    """(first, end, step) of this program's tiles: every programs-th; or, where accepted rows are
    counted for kernels/score_accept.py (never with GROUP), a range of neighbours."""
    tiles = tl.cdiv(n // GROUP, BM) * GROUP if GROUP else tl.cdiv(n, BM)
    program = tl.program_id(0)
    if accepted is None:
        return program, tiles, programs
    else:
        share = tl.cdiv(tiles, programs)
        return program * share, tl.minimum((program + 1) * share, tiles), 1


@triton.jit
def rows_of(tile, BM: tl.constexpr, GROUP: tl.constexpr):
    """The rows of a tile, int32 [BM]: neighbours, or with GROUP one of every group of so many."""
    each = tl.arange(0, BM)
    if GROUP:
        return (tile // GROUP * BM + each) * GROUP + tile % GROUP
    else:
        return tile * BM + each


@triton.jit
def write(scores, flags, decisions, counts, threshold, rows, n, value, bad):
    """Scores [n] float32, flags and decisions [n] uint8, and the histogram's counts, where their
    pointers are not None. Returns what was accepted, int1 [BM]."""
    used = rows < n
    score = saturate(value, bad)
    # Not score <= threshold: a row that cannot be scored is kept.
    accept = used & ~(score <= threshold)
    if scores is not None:
        tl.store(scores + rows, score, mask=used)
    if flags is not None:
        flag = tl.where(bad == 0.0, tl.where(value <= _LARGEST, 0, 2), 1)
        tl.store(flags + rows, flag.to(tl.uint8), mask=used)
    if decisions is not None:
        tl.store(decisions + rows, accept.to(tl.uint8), mask=used)
    if counts is not None:
        count(counts, score, used)
    return accept


@triton.jit
def write_features(features, rows, n, column, difference, bad, D: tl.constexpr, C: tl.constexpr):
    """1/2 difference^2 of C features, float32 [n, D]."""
    columns = column + tl.arange(0, C)
    used = (rows < n)[:, None] & (columns < D)[None, :]
    at = features + rows.to(tl.int64)[:, None] * D + columns[None, :]
    tl.store(at, saturate(0.5 * (difference * difference), bad[:, None]), mask=used)
