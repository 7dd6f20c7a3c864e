"""Triton kernels of reparameterize: z = mu + exp(logvar / 2) eps."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import triton
import triton.language as tl

from vaelocity.kernels import tile
from vaelocity.kernels.launch import kernel, launch_elements
from vaelocity.kernels.math import exp
from vaelocity.kernels.philox import normal_tile


@triton.jit
def sample(mu, logvar, eps):
    return tl.fma(exp(0.5 * logvar), eps, mu)


@triton.jit
def logvar_gradient(grad_z, logvar, eps):
    return grad_z * (0.5 * exp(0.5 * logvar) * eps)


@kernel
def reparameterize_kernel(
    mu_ptr,
    logvar_ptr,
    rng_ptr,
    z_ptr,
    mu_stride,
    logvar_stride,
    B,
    D,
    column_tiles,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows, start = tile.element_tile(tl.program_id(0), column_tiles, BLOCK_M, BLOCK_D)
    cols, mask = tile.noise_columns(rows, start, B, D, ALIGN, BLOCK_D)
    mu = tile.load(mu_ptr, mu_stride, rows, cols, mask, ALIGN)
    logvar = tile.load(logvar_ptr, logvar_stride, rows, cols, mask, ALIGN)
    eps = normal_tile(rng_ptr, rows, start, D, BLOCK_D)
    tile.store(z_ptr, D, rows, cols, mask, sample(mu, logvar, eps), ALIGN)


@kernel
def reparameterize_backward_kernel(
    grad_z_ptr,
    logvar_ptr,
    rng_ptr,
    grad_logvar_ptr,
    grad_z_stride,
    logvar_stride,
    B,
    D,
    column_tiles,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows, start = tile.element_tile(tl.program_id(0), column_tiles, BLOCK_M, BLOCK_D)
    cols, mask = tile.noise_columns(rows, start, B, D, ALIGN, BLOCK_D)
    grad_z = tile.load(grad_z_ptr, grad_z_stride, rows, cols, mask, ALIGN)
    logvar = tile.load(logvar_ptr, logvar_stride, rows, cols, mask, ALIGN)
    eps = normal_tile(rng_ptr, rows, start, D, BLOCK_D)
    grad_logvar = logvar_gradient(grad_z, logvar, eps)
    tile.store(grad_logvar_ptr, D, rows, cols, mask, grad_logvar, ALIGN)


def reparameterize(
    mu: torch.Tensor, logvar: torch.Tensor, rng: torch.Tensor, z: torch.Tensor
) -> None:
    """mu, logvar, z: [B, D]; rng: int64 [2]."""
    args = [mu, logvar, rng, z]
    launch_elements(reparameterize_kernel, args, [mu, logvar], mu.shape, noise=True, flat=True)


def reparameterize_backward(
    grad_z: torch.Tensor, logvar: torch.Tensor, rng: torch.Tensor, grad_logvar: torch.Tensor
) -> None:
    """grad_z, logvar and its gradient: [B, D]; rng: int64 [2]."""
    args = [grad_z, logvar, rng, grad_logvar]
    launch_elements(
        reparameterize_backward_kernel,
        args,
        [grad_z, logvar],
        logvar.shape,
        noise=True,
        flat=True,
    )


def variants(new: Callable[..., torch.Tensor]) -> Iterator[tuple[Any, ...]]:
    """Calls whose kernels the compile test compiles. new(*shape, dtype=...) makes a tensor."""
    rng = new(2, dtype=torch.int64)
    flat, odd = new(4096, 16), new(4096, 20)[:, :10]
    for mu in (flat, odd):
        yield reparameterize, mu, mu, rng, mu
        yield reparameterize_backward, mu, mu, rng, mu
