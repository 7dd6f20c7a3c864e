"""Triton kernels of reparameterize_kl: z = mu + exp(logvar / 2) eps and the divergence of each row.

One pass over mu and logvar. Backward makes eps again from its name.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import triton.language as tl

from vaelocity.kernels import tile
from vaelocity.kernels.gaussian_kl import kl_slopes, kl_term
from vaelocity.kernels.launch import kernel, launch_elements, launch_rows
from vaelocity.kernels.philox import normal_tile
from vaelocity.kernels.reparameterize import logvar_gradient, sample


@kernel
def reparameterize_kl_kernel(
    mu_ptr,
    logvar_ptr,
    rng_ptr,
    z_ptr,
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
    total = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    seen = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    # The first columns may lie before the row, so the last ones lie as far behind D.
    for start in range(0, D + tile.slack(ALIGN), BLOCK_D):
        cols, mask = tile.noise_columns(rows, start, B, D, ALIGN, BLOCK_D)
        mu = tile.load(mu_ptr, mu_stride, rows, cols, mask, ALIGN)
        logvar = tile.load(logvar_ptr, logvar_stride, rows, cols, mask, ALIGN)
        eps = normal_tile(rng_ptr, rows, start, D, BLOCK_D)
        tile.store(z_ptr, D, rows, cols, mask, sample(mu, logvar, eps), ALIGN)
        total += kl_term(mu, logvar)
        seen = tile.not_finite(tile.not_finite(seen, mu), logvar)
    tile.store_per_row(kl_ptr, rows, B, tile.row_sum(total, seen, 0.5))


@kernel
def reparameterize_kl_backward_kernel(
    grad_z_ptr,
    grad_kl_ptr,
    mu_ptr,
    logvar_ptr,
    rng_ptr,
    grad_mu_ptr,
    grad_logvar_ptr,
    grad_z_stride,
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
    cols, mask = tile.noise_columns(rows, start, B, D, ALIGN, BLOCK_D)
    grad_kl = tile.load_per_row(grad_kl_ptr, grad_kl_stride, rows, B)
    grad_z = tile.load(grad_z_ptr, grad_z_stride, rows, cols, mask, ALIGN)
    mu = tile.load(mu_ptr, mu_stride, rows, cols, mask, ALIGN)
    logvar = tile.load(logvar_ptr, logvar_stride, rows, cols, mask, ALIGN)
    eps = normal_tile(rng_ptr, rows, start, D, BLOCK_D)
    kl_mu, kl_logvar = kl_slopes(grad_kl, mu, logvar)
    grad_logvar = logvar_gradient(grad_z, logvar, eps) + kl_logvar
    tile.store(grad_mu_ptr, D, rows, cols, mask, grad_z + kl_mu, ALIGN)
    tile.store(grad_logvar_ptr, D, rows, cols, mask, grad_logvar, ALIGN)


def reparameterize_kl(
    mu: torch.Tensor, logvar: torch.Tensor, rng: torch.Tensor, z: torch.Tensor, kl: torch.Tensor
) -> None:
    """mu, logvar, z: [B, D]; rng: int64 [2]; kl: [B] float32."""
    args = [mu, logvar, rng, z, kl]
    launch_rows(reparameterize_kl_kernel, args, [mu, logvar], mu.shape, noise=True)


def reparameterize_kl_backward(
    grad_z: torch.Tensor,
    grad_kl: torch.Tensor,
    mu: torch.Tensor,
    logvar: torch.Tensor,
    rng: torch.Tensor,
    grad_mu: torch.Tensor,
    grad_logvar: torch.Tensor,
) -> None:
    """grad_kl: [B]; rng: int64 [2]; all others [B, D]."""
    args = [grad_z, grad_kl, mu, logvar, rng, grad_mu, grad_logvar]
    launch_elements(
        reparameterize_kl_backward_kernel,
        args,
        [grad_z, mu, logvar],
        mu.shape,
        per_row=[grad_kl],
        noise=True,
    )


def variants(new: Callable[..., torch.Tensor]) -> Iterator[tuple[Any, ...]]:
    """Calls whose kernels the compile test compiles. new(*shape, dtype=...) makes a tensor."""
    rng, kl = new(2, dtype=torch.int64), new(4096, dtype=torch.float32)
    for width in (16, 10):
        mu = new(4096, width)
        yield reparameterize_kl, mu, mu, rng, mu, kl
        yield reparameterize_kl_backward, mu, kl, mu, mu, rng, mu, mu
