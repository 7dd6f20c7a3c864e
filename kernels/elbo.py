"""Triton kernels of elbo: a reconstruction loss, the latent divergence and their weighted sum.

One launch each way.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import triton
import triton.language as tl

from vaelocity.kernels import tile
from vaelocity.kernels.gaussian_kl import kl_gradient, kl_rows
from vaelocity.kernels.launch import (
    ROW_TILE,
    TILE,
    alignment,
    kernel,
    launch,
    row_strides,
    tile_shape,
)
from vaelocity.kernels.reconstruction_loss import reconstruction_gradient, reconstruction_rows


@kernel
def elbo_kernel(
    x_ptr,
    y_ptr,
    mu_ptr,
    logvar_ptr,
    mask_ptr,
    weight_ptr,
    total_ptr,
    reconstruction_ptr,
    kl_ptr,
    beta,
    delta,
    x_stride,
    y_stride,
    mask_stride,
    mu_stride,
    logvar_stride,
    B,
    D,
    L,
    KIND: tl.constexpr,
    ALIGN: tl.constexpr,
    ALIGN_L: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_L: tl.constexpr,
):
    rows = tile.row_indices(tl.program_id(0), BLOCK_M)
    # First, because ptxas keeps a value of the other loop on the stack of sm_80 otherwise.
    kl = kl_rows(
        mu_ptr, logvar_ptr, mu_stride, logvar_stride, rows, B, L, ALIGN_L, BLOCK_M, BLOCK_L
    )
    reconstruction = reconstruction_rows(
        x_ptr, y_ptr, mask_ptr, weight_ptr, delta, x_stride, y_stride, mask_stride,
        rows, B, D, KIND, ALIGN, BLOCK_M, BLOCK_D,
    )  # fmt: skip
    total = tl.clamp(
        tl.fma(kl, beta, reconstruction),
        -tile.FLOAT32_MAX,
        tile.FLOAT32_MAX,
        propagate_nan=tl.PropagateNan.ALL,
    )
    tile.store_per_row(total_ptr, rows, B, total)
    tile.store_per_row(reconstruction_ptr, rows, B, reconstruction)
    tile.store_per_row(kl_ptr, rows, B, kl)


@kernel
def elbo_backward_kernel(
    grad_total_ptr,
    grad_reconstruction_ptr,
    grad_kl_ptr,
    x_ptr,
    y_ptr,
    mu_ptr,
    logvar_ptr,
    mask_ptr,
    weight_ptr,
    grad_y_ptr,
    grad_mu_ptr,
    grad_logvar_ptr,
    beta,
    delta,
    x_stride,
    y_stride,
    mask_stride,
    mu_stride,
    logvar_stride,
    grad_total_stride,
    grad_reconstruction_stride,
    grad_kl_stride,
    B,
    D,
    L,
    feature_programs,
    feature_tiles,
    latent_tiles,
    KIND: tl.constexpr,
    ALIGN: tl.constexpr,
    ALIGN_L: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_M_L: tl.constexpr,
    BLOCK_L: tl.constexpr,
):
    # The first programs have the tiles of d y, the others those of d mu and d logvar.
    pid = tl.program_id(0)
    if pid < feature_programs:
        rows, start = tile.element_tile(pid, feature_tiles, BLOCK_M, BLOCK_D)
        grad = tile.load_per_row(grad_total_ptr, grad_total_stride, rows, B)
        grad += tile.load_per_row(grad_reconstruction_ptr, grad_reconstruction_stride, rows, B)
        reconstruction_gradient(
            grad, x_ptr, y_ptr, mask_ptr, weight_ptr, delta, grad_y_ptr,
            x_stride, y_stride, mask_stride, rows, start, B, D, KIND, ALIGN, BLOCK_D,
        )  # fmt: skip
    else:
        latent_rows, latent_start = tile.element_tile(
            pid - feature_programs, latent_tiles, BLOCK_M_L, BLOCK_L
        )
        grad_total = tile.load_per_row(grad_total_ptr, grad_total_stride, latent_rows, B)
        grad_kl = tile.load_per_row(grad_kl_ptr, grad_kl_stride, latent_rows, B)
        kl_gradient(
            tl.fma(grad_total, beta, grad_kl), mu_ptr, logvar_ptr, grad_mu_ptr, grad_logvar_ptr,
            mu_stride, logvar_stride, latent_rows, latent_start, B, L, ALIGN_L, BLOCK_L,
        )  # fmt: skip


def elbo(
    x: torch.Tensor,
    y: torch.Tensor,
    mu: torch.Tensor,
    logvar: torch.Tensor,
    beta: float,
    kind: str,
    delta: float,
    mask: torch.Tensor | None,
    weight: torch.Tensor | None,
    total: torch.Tensor,
    reconstruction: torch.Tensor,
    kl: torch.Tensor,
) -> None:
    """x, y, mask, weight: as in reconstruction_loss; mu, logvar: [B, L]; results: [B] float32."""
    (rows, columns), latents = x.shape, mu.shape[1]
    feature_steps = row_strides([x, y, mask], rows)
    latent_steps = row_strides([mu, logvar], rows)
    # The rows of a program are the same for both: the wider part says how many.
    tile = tile_shape(max(columns, latents), ROW_TILE)
    tile["BLOCK_D"] = tile_shape(columns, ROW_TILE)["BLOCK_D"]
    launch(
        elbo_kernel,
        triton.cdiv(rows, tile["BLOCK_M"]),
        [
            *(x, y, mu, logvar, mask, weight, total, reconstruction, kl, float(beta), float(delta)),
            *(*feature_steps, *latent_steps, rows, columns, latents),
        ],
        KIND=kind,
        ALIGN=alignment(columns, *feature_steps),
        ALIGN_L=alignment(latents, *latent_steps),
        BLOCK_L=tile_shape(latents, ROW_TILE)["BLOCK_D"],
        **tile,
    )


def elbo_backward(
    grad_total: torch.Tensor,
    grad_reconstruction: torch.Tensor,
    grad_kl: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    mu: torch.Tensor,
    logvar: torch.Tensor,
    beta: float,
    kind: str,
    delta: float,
    mask: torch.Tensor | None,
    weight: torch.Tensor | None,
    grad_y: torch.Tensor,
    grad_mu: torch.Tensor,
    grad_logvar: torch.Tensor,
) -> None:
    """Gradients of the results: [B]; grad_y as y, grad_mu and grad_logvar as mu; the others as in
    elbo."""
    (rows, columns), latents = x.shape, mu.shape[1]
    feature_steps = row_strides([x, y, mask], rows)
    latent_steps = row_strides([mu, logvar], rows)
    grads = [grad_total, grad_reconstruction, grad_kl]
    feature, latent = tile_shape(columns, TILE), tile_shape(latents, TILE)
    feature_tiles = triton.cdiv(columns, feature["BLOCK_D"])
    latent_tiles = triton.cdiv(latents, latent["BLOCK_D"])
    feature_programs = triton.cdiv(rows, feature["BLOCK_M"]) * feature_tiles
    launch(
        elbo_backward_kernel,
        feature_programs + triton.cdiv(rows, latent["BLOCK_M"]) * latent_tiles,
        [
            *(*grads, x, y, mu, logvar, mask, weight, grad_y, grad_mu, grad_logvar),
            *(float(beta), float(delta), *feature_steps, *latent_steps),
            *(grad.stride(0) for grad in grads),
            *(rows, columns, latents, feature_programs, feature_tiles, latent_tiles),
        ],
        KIND=kind,
        ALIGN=alignment(columns, *feature_steps),
        ALIGN_L=alignment(latents, *latent_steps),
        BLOCK_M_L=latent["BLOCK_M"],
        BLOCK_L=latent["BLOCK_D"],
        **feature,
    )


def variants(new: Callable[..., torch.Tensor]) -> Iterator[tuple[Any, ...]]:
    """Calls whose kernels the compile test compiles. new(*shape, dtype=...) makes a tensor."""
    x, mu, kl = new(4096, 64), new(4096, 16), new(4096, dtype=torch.float32)
    options = 0.5, "squared_error", 1.0, None, None
    yield elbo, x, x, mu, mu, *options, kl, kl, kl
    yield elbo_backward, kl, kl, kl, x, x, mu, mu, *options, x, mu, mu
