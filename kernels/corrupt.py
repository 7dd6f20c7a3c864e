"""Triton kernels of corrupt: Gaussian noise on what is kept, 0 where a feature is dropped.

Both come from one draw: first the blocks of the noise, then as many for the drops.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import triton
import triton.language as tl

from vaelocity.kernels import tile
from vaelocity.kernels.launch import kernel, launch_elements
from vaelocity.kernels.philox import normal_tile, philox_words, tile_blocks, tile_of_blocks


@triton.jit
def kept_tile(rng_ptr, rows, start, D, noise_blocks, threshold, BLOCK_D: tl.constexpr):
    """Which elements of a tile are kept: those whose word is no less than the threshold, which is
    64 bits wide because drop = 1 makes it 2^32."""
    blocks = tile_blocks(rows, start, D, BLOCK_D) + noise_blocks
    a, b, c, d = philox_words(rng_ptr, blocks)
    return tile_of_blocks(a, b, c, d).to(tl.int64) >= threshold


@kernel
def corrupt_kernel(
    x_ptr,
    rng_ptr,
    corrupted_ptr,
    kept_ptr,
    noise,
    threshold: tl.int64,
    noise_blocks: tl.int64,
    x_stride,
    B,
    D,
    column_tiles,
    NOISE: tl.constexpr,
    DROP: tl.constexpr,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows, start = tile.element_tile(tl.program_id(0), column_tiles, BLOCK_M, BLOCK_D)
    cols, mask = tile.noise_columns(rows, start, B, D, ALIGN, BLOCK_D)
    x = tile.load(x_ptr, x_stride, rows, cols, mask, ALIGN)
    kept = tl.full([BLOCK_M, BLOCK_D], True, tl.int1)
    if NOISE:
        x = tl.fma(normal_tile(rng_ptr, rows, start, D, BLOCK_D), noise, x)
    if DROP:
        kept = kept_tile(rng_ptr, rows, start, D, noise_blocks, threshold, BLOCK_D)
        x = tl.where(kept, x, 0.0)
    tile.store(corrupted_ptr, D, rows, cols, mask, x, ALIGN)
    tile.store(kept_ptr, D, rows, cols, mask, kept, ALIGN)


@kernel
def corrupt_backward_kernel(
    grad_ptr,
    rng_ptr,
    grad_x_ptr,
    threshold: tl.int64,
    noise_blocks: tl.int64,
    grad_stride,
    B,
    D,
    column_tiles,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows, start = tile.element_tile(tl.program_id(0), column_tiles, BLOCK_M, BLOCK_D)
    cols, mask = tile.noise_columns(rows, start, B, D, ALIGN, BLOCK_D)
    grad = tile.load(grad_ptr, grad_stride, rows, cols, mask, ALIGN)
    kept = kept_tile(rng_ptr, rows, start, D, noise_blocks, threshold, BLOCK_D)
    tile.store(grad_x_ptr, D, rows, cols, mask, tl.where(kept, grad, 0.0), ALIGN)


def drop_threshold(drop: float) -> int:
    """A feature is dropped where its word is less: drop of all 2^32 words."""
    return int(drop * 2**32)


def corrupt(
    x: torch.Tensor,
    rng: torch.Tensor,
    noise: float,
    drop: float,
    corrupted: torch.Tensor,
    kept: torch.Tensor,
) -> None:
    """x, corrupted, kept (bool): [B, D]; rng: int64 [2]; noise: a standard deviation; drop: a
    probability."""
    launch_elements(
        corrupt_kernel,
        [x, rng, corrupted, kept, float(noise), drop_threshold(drop), triton.cdiv(x.numel(), 4)],
        [x],
        x.shape,
        noise=True,
        flat=True,
        NOISE=noise != 0,
        DROP=drop > 0,
    )


def corrupt_backward(
    grad: torch.Tensor, rng: torch.Tensor, drop: float, grad_x: torch.Tensor
) -> None:
    """grad, grad_x: [B, D]; rng: int64 [2]."""
    args = [grad, rng, grad_x, drop_threshold(drop), triton.cdiv(grad.numel(), 4)]
    launch_elements(corrupt_backward_kernel, args, [grad], grad.shape, noise=True, flat=True)


def variants(new: Callable[..., torch.Tensor]) -> Iterator[tuple[Any, ...]]:
    """Calls whose kernels the compile test compiles. new(*shape, dtype=...) makes a tensor."""
    x, kept, rng = new(4096, 64), new(4096, 64, dtype=torch.bool), new(2, dtype=torch.int64)
    for noise, drop in ((0.1, 0.2), (0.0, 0.2), (0.1, 0.0)):
        yield corrupt, x, rng, noise, drop, x, kept
    yield corrupt_backward, x, rng, 0.2, x
