"""Triton kernels of gaussian_kl: kl[b] = 1/2 sum_d (mu^2 + expm1(logvar) - logvar)."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import triton
import triton.language as tl

from vaelocity.kernels import tile
from vaelocity.kernels.launch import kernel, launch_elements, launch_rows
from vaelocity.kernels.math import expm1


@triton.jit
def kl_term(mu, logvar):
    """Twice the divergence of a latent variable. expm1, so that nothing cancels at logvar ~ 0."""
    return tl.fma(mu, mu, expm1(logvar) - logvar)


@triton.jit
def kl_rows(
    mu_ptr,
    logvar_ptr,
    mu_stride,
    logvar_stride,
    rows,
    B,
    D,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """The divergence of a program's rows, [BLOCK_M, 1]."""
    total = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    seen = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for start in range(0, D, BLOCK_D):
        cols, mask = tile.columns(rows, start, B, D, ALIGN, BLOCK_D)
        mu = tile.load(mu_ptr, mu_stride, rows, cols, mask, ALIGN)
        logvar = tile.load(logvar_ptr, logvar_stride, rows, cols, mask, ALIGN)
        total += kl_term(mu, logvar)
        seen = tile.not_finite(tile.not_finite(seen, mu), logvar)
    return tile.row_sum(total, seen, 0.5)


@kernel
def gaussian_kl_kernel(
    mu_ptr,
    logvar_ptr,
    kl_ptr,
    mu_stride,
    logvar_stride,
    B,
    D,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows = tile.row_indices(tl.program_id(0), BLOCK_M)
    kl = kl_rows(mu_ptr, logvar_ptr, mu_stride, logvar_stride, rows, B, D, ALIGN, BLOCK_M, BLOCK_D)
    tile.store_per_row(kl_ptr, rows, B, kl)


@triton.jit
def kl_slopes(grad, mu, logvar):
    """(d mu, d logvar) for the gradient of the row's divergence."""
    return grad * mu, grad * (0.5 * expm1(logvar))


@triton.jit
def kl_gradient(
    grad,
    mu_ptr,
    logvar_ptr,
    grad_mu_ptr,
    grad_logvar_ptr,
    mu_stride,
    logvar_stride,
    rows,
    start,
    B,
    D,
    ALIGN: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Store a tile of d mu and d logvar for the gradient of each row's divergence, [BLOCK_M, 1]."""
    cols, mask = tile.columns(rows, start, B, D, ALIGN, BLOCK_D)
    mu = tile.load(mu_ptr, mu_stride, rows, cols, mask, ALIGN)
    logvar = tile.load(logvar_ptr, logvar_stride, rows, cols, mask, ALIGN)
    grad_mu, grad_logvar = kl_slopes(grad, mu, logvar)
    tile.store(grad_mu_ptr, D, rows, cols, mask, grad_mu, ALIGN)
    tile.store(grad_logvar_ptr, D, rows, cols, mask, grad_logvar, ALIGN)


@kernel
def gaussian_kl_backward_kernel(
    grad_kl_ptr,
    mu_ptr,
    logvar_ptr,
    grad_mu_ptr,
    grad_logvar_ptr,
    mu_stride,
    logvar_stride,
    grad_kl_stride,
    B,
    D,
    column_tiles,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows, start = tile.element_tile(tl.program_id(0), column_tiles, BLOCK_M, BLOCK_D)
    grad = tile.load_per_row(grad_kl_ptr, grad_kl_stride, rows, B)
    kl_gradient(
        grad, mu_ptr, logvar_ptr, grad_mu_ptr, grad_logvar_ptr, mu_stride, logvar_stride,
        rows, start, B, D, ALIGN, BLOCK_D,
    )  # fmt: skip


def gaussian_kl(mu: torch.Tensor, logvar: torch.Tensor, kl: torch.Tensor) -> None:
    """mu, logvar: [B, D]; kl: [B] float32."""
    launch_rows(gaussian_kl_kernel, [mu, logvar, kl], [mu, logvar], mu.shape)


def gaussian_kl_backward(
    grad_kl: torch.Tensor,
    mu: torch.Tensor,
    logvar: torch.Tensor,
    grad_mu: torch.Tensor,
    grad_logvar: torch.Tensor,
) -> None:
    """grad_kl: [B]; mu, logvar and their gradients: [B, D]."""
    args = [grad_kl, mu, logvar, grad_mu, grad_logvar]
    launch_elements(gaussian_kl_backward_kernel, args, [mu, logvar], mu.shape, per_row=[grad_kl])


def variants(new: Callable[..., torch.Tensor]) -> Iterator[tuple[Any, ...]]:
    """Calls whose kernels the compile test compiles. new(*shape, dtype=...) makes a tensor."""
    mu, kl = new(4096, 16), new(4096, dtype=torch.float32)
    yield gaussian_kl, mu, mu, kl
    yield gaussian_kl_backward, kl, mu, mu, mu, mu
