"""Triton kernels of sparsity: the sum of |z| over a row."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import triton.language as tl

from vaelocity.kernels import tile
from vaelocity.kernels.launch import kernel, launch_elements, launch_rows
from vaelocity.kernels.math import sign


@kernel
def sparsity_kernel(
    z_ptr,
    sum_ptr,
    z_stride,
    B,
    D,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows = tile.row_indices(tl.program_id(0), BLOCK_M)
    total = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    seen = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for start in range(0, D, BLOCK_D):
        cols, mask = tile.columns(rows, start, B, D, ALIGN, BLOCK_D)
        z = tile.load(z_ptr, z_stride, rows, cols, mask, ALIGN)
        total += tl.abs(z)
        seen = tile.not_finite(seen, z)
    tile.store_per_row(sum_ptr, rows, B, tile.row_sum(total, seen, 1.0))


@kernel
def sparsity_backward_kernel(
    grad_ptr,
    z_ptr,
    grad_z_ptr,
    z_stride,
    grad_stride,
    B,
    D,
    column_tiles,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows, start = tile.element_tile(tl.program_id(0), column_tiles, BLOCK_M, BLOCK_D)
    cols, mask = tile.columns(rows, start, B, D, ALIGN, BLOCK_D)
    grad = tile.load_per_row(grad_ptr, grad_stride, rows, B)
    z = tile.load(z_ptr, z_stride, rows, cols, mask, ALIGN)
    tile.store(grad_z_ptr, D, rows, cols, mask, grad * sign(z), ALIGN)


def sparsity(z: torch.Tensor, total: torch.Tensor) -> None:
    """z: [B, D]; total: [B] float32."""
    launch_rows(sparsity_kernel, [z, total], [z], z.shape)


def sparsity_backward(grad: torch.Tensor, z: torch.Tensor, grad_z: torch.Tensor) -> None:
    """grad: [B]; z and its gradient: [B, D]."""
    args = [grad, z, grad_z]
    launch_elements(sparsity_backward_kernel, args, [z], z.shape, per_row=[grad])


def variants(new: Callable[..., torch.Tensor]) -> Iterator[tuple[Any, ...]]:
    """Calls whose kernels the compile test compiles. new(*shape, dtype=...) makes a tensor."""
    z, total = new(4096, 16), new(4096, dtype=torch.float32)
    yield sparsity, z, total
    yield sparsity_backward, total, z, z
