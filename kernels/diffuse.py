"""Triton kernels of diffuse: x_t = sqrt(alpha_bar[t]) x0 + sqrt(1 - alpha_bar[t]) eps."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import triton
import triton.language as tl

from vaelocity.kernels import tile
from vaelocity.kernels.launch import kernel, launch_elements
from vaelocity.kernels.philox import normal_tile


@triton.jit
def alpha_bar_of_rows(t_ptr, alpha_bar_ptr, t_stride, rows, B, T):
    """alpha_bar[t] of each row, [BLOCK_M, 1]; NaN where t is outside the schedule, because nothing
    can be raised without waiting for the device."""
    t = tl.load(t_ptr + rows * t_stride, mask=rows < B, other=0)
    return tl.load(alpha_bar_ptr + t, mask=(t >= 0) & (t < T), other=float("nan"))


@kernel
def diffuse_kernel(
    x0_ptr,
    t_ptr,
    alpha_bar_ptr,
    rng_ptr,
    x_t_ptr,
    T,
    x0_stride,
    t_stride,
    B,
    D,
    column_tiles,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows, start = tile.element_tile(tl.program_id(0), column_tiles, BLOCK_M, BLOCK_D)
    cols, mask = tile.noise_columns(rows, start, B, D, ALIGN, BLOCK_D)
    alpha_bar = alpha_bar_of_rows(t_ptr, alpha_bar_ptr, t_stride, rows, B, T)
    x0 = tile.load(x0_ptr, x0_stride, rows, cols, mask, ALIGN)
    eps = normal_tile(rng_ptr, rows, start, D, BLOCK_D)
    x_t = tl.fma(tl.sqrt_rn(1.0 - alpha_bar), eps, tl.sqrt_rn(alpha_bar) * x0)
    tile.store(x_t_ptr, D, rows, cols, mask, x_t, ALIGN)


@kernel
def diffuse_backward_kernel(
    grad_ptr,
    t_ptr,
    alpha_bar_ptr,
    grad_x0_ptr,
    T,
    grad_stride,
    t_stride,
    B,
    D,
    column_tiles,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows, start = tile.element_tile(tl.program_id(0), column_tiles, BLOCK_M, BLOCK_D)
    cols, mask = tile.columns(rows, start, B, D, ALIGN, BLOCK_D)
    alpha_bar = alpha_bar_of_rows(t_ptr, alpha_bar_ptr, t_stride, rows, B, T)
    grad = tile.load(grad_ptr, grad_stride, rows, cols, mask, ALIGN)
    tile.store(grad_x0_ptr, D, rows, cols, mask, tl.sqrt_rn(alpha_bar) * grad, ALIGN)


def diffuse(
    x0: torch.Tensor,
    t: torch.Tensor,
    alpha_bar: torch.Tensor,
    rng: torch.Tensor,
    x_t: torch.Tensor,
) -> None:
    """x0, x_t: [B, D]; t: int64 [B]; alpha_bar: float32 [T] without gaps; rng: int64 [2]."""
    args = [x0, t, alpha_bar, rng, x_t, alpha_bar.shape[0]]
    launch_elements(diffuse_kernel, args, [x0], x0.shape, per_row=[t], noise=True)


def diffuse_backward(
    grad: torch.Tensor, t: torch.Tensor, alpha_bar: torch.Tensor, grad_x0: torch.Tensor
) -> None:
    """grad, grad_x0: [B, D]; t: int64 [B]; alpha_bar: float32 [T] without gaps."""
    args = [grad, t, alpha_bar, grad_x0, alpha_bar.shape[0]]
    launch_elements(diffuse_backward_kernel, args, [grad], grad.shape, per_row=[t])


def variants(new: Callable[..., torch.Tensor]) -> Iterator[tuple[Any, ...]]:
    """Calls whose kernels the compile test compiles. new(*shape, dtype=...) makes a tensor."""
    x0, alpha_bar = new(4096, 64), new(1000, dtype=torch.float32)
    t, rng = new(4096, dtype=torch.int64), new(2, dtype=torch.int64)
    yield diffuse, x0, t, alpha_bar, rng, x0
    yield diffuse_backward, x0, t, alpha_bar, x0
