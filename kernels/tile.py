"""Tiles [BLOCK_M, BLOCK_D] of [B, D] tensors inside a kernel: where they lie, their rows' sums."""

import triton
import triton.language as tl

FLOAT32_MAX = tl.constexpr(3.4028234663852886e38)


@triton.jit
def row_indices(pid, BLOCK_M: tl.constexpr):
    """The rows of a tile, [BLOCK_M, 1]: int64, because rows * stride passes 2^31."""
    return pid.to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]


@triton.jit
def multiple(count, ALIGN: tl.constexpr):
    """count, of which ALIGN is a divisor: written so that the compiler knows it."""
    return count // ALIGN * ALIGN


@triton.jit
def element_tile(pid, column_tiles, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr):
    """(rows, start): the tile of a program that has one; column_tiles of them lie side by side."""
    return row_indices(pid // column_tiles, BLOCK_M), (pid % column_tiles).to(tl.int64) * BLOCK_D


@triton.jit
def columns(rows, start, B, D, ALIGN: tl.constexpr, BLOCK_D: tl.constexpr):
    """(cols, mask): the columns of a tile, [1, BLOCK_D], and which elements lie inside [B, D]."""
    cols = start + tl.arange(0, BLOCK_D)[None, :]
    return cols, (rows < B) & (cols < multiple(D, ALIGN))


@triton.jit
def slack(ALIGN: tl.constexpr):
    """launch.slack of a kernel with noise: how far its tiles have to reach beyond D."""
    return 0 if ALIGN % 4 == 0 else 3


@triton.jit
def noise_columns(rows, start, B, D, ALIGN: tl.constexpr, BLOCK_D: tl.constexpr):
    """(cols, mask) of a tile that begins on a Philox block in every row.

    A block is four elements of the flat [B, D]. Where 4 does not divide D a row starts inside one,
    and its tile begins up to 3 columns before the row.
    """
    cols, mask = columns(rows, start, B, D, ALIGN, BLOCK_D)
    if ALIGN % 4 != 0:
        cols = cols - (rows * D & 3).to(tl.int32)
        mask = (rows < B) & (cols >= 0) & (cols < D)
    return cols, mask


@triton.jit
def load(ptr, stride, rows, cols, mask, ALIGN: tl.constexpr):
    """A tile of a tensor as float32, 0 where the mask is False."""
    pointers = ptr + rows * multiple(stride, ALIGN) + cols
    return tl.load(pointers, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def store(ptr, stride, rows, cols, mask, value, ALIGN: tl.constexpr):
    """Round a tile to the tensor's type and store it."""
    tl.store(ptr + rows * multiple(stride, ALIGN) + cols, value, mask=mask)


@triton.jit
def load_per_row(ptr, stride, rows, B):
    """One value a row, [BLOCK_M, 1] float32. A gradient that was expanded has stride 0."""
    return tl.load(ptr + rows * stride, mask=rows < B, other=0.0).to(tl.float32)


@triton.jit
def not_finite(seen, x):
    """seen + 0 * x: stays 0 until an x is NaN or infinite, and is NaN from then on."""
    return tl.fma(x, 0.0, seen)


@triton.jit
def row_sum(total, seen, SCALE: tl.constexpr):
    """SCALE times the sums of a tile's rows, [BLOCK_M, 1].

    NaN where an input was not finite (not_finite above); finite inputs whose sum overflows give the
    largest float32 of its sign, or the positive one where overflows cancel.
    """
    x = SCALE * tl.sum(total, 1, keep_dims=True)
    largest = tl.where(x < 0.0, -FLOAT32_MAX, FLOAT32_MAX)
    x = tl.where(tl.abs(x) <= FLOAT32_MAX, x, largest)
    return x + tl.sum(seen, 1, keep_dims=True)


@triton.jit
def store_per_row(ptr, rows, B, value):
    """Store one value a row, [BLOCK_M, 1], to a tensor [B]."""
    tl.store(ptr + rows, value, mask=rows < B)
