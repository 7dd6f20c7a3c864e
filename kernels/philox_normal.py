"""Triton kernel of philox_normal: the noise of a draw, in the order of its elements."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import triton.language as tl

from vaelocity.kernels import tile
from vaelocity.kernels.launch import kernel, launch_elements
from vaelocity.kernels.philox import normal_tile


@kernel
def philox_normal_kernel(
    rng_ptr,
    eps_ptr,
    eps_stride,
    B,
    D,
    column_tiles,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows, start = tile.element_tile(tl.program_id(0), column_tiles, BLOCK_M, BLOCK_D)
    cols, mask = tile.noise_columns(rows, start, B, D, ALIGN, BLOCK_D)
    eps = normal_tile(rng_ptr, rows, start, D, BLOCK_D)
    tile.store(eps_ptr, eps_stride, rows, cols, mask, eps, ALIGN)


def philox_normal(
    shape: Sequence[int], rng: torch.Tensor, dtype: torch.dtype, eps: torch.Tensor
) -> None:
    """rng: int64 [2]; eps: of that shape and dtype, contiguous."""
    n = eps.numel()
    launch_elements(
        philox_normal_kernel, [rng, eps], [eps.view(1, n)], (1, n), noise=True, flat=True
    )


def variants(new: Callable[..., torch.Tensor]) -> Iterator[tuple[Any, ...]]:
    """Calls whose kernels the compile test compiles. new(*shape, dtype=...) makes a tensor."""
    eps = new(4096, 16)
    yield philox_normal, eps.shape, new(2, dtype=torch.int64), eps.dtype, eps
