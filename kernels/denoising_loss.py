"""Triton kernels of denoising_loss: 1/2 the sum of (prediction - eps)^2 over a row.

eps is made again from its name, never stored.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import triton.language as tl

from vaelocity.kernels import tile
from vaelocity.kernels.launch import kernel, launch_elements, launch_rows
from vaelocity.kernels.philox import normal_tile


@kernel
def denoising_loss_kernel(
    prediction_ptr,
    rng_ptr,
    loss_ptr,
    prediction_stride,
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
        prediction = tile.load(prediction_ptr, prediction_stride, rows, cols, mask, ALIGN)
        d = prediction - normal_tile(rng_ptr, rows, start, D, BLOCK_D)
        total = tl.where(mask, tl.fma(d, d, total), total)
        seen = tile.not_finite(seen, prediction)
    tile.store_per_row(loss_ptr, rows, B, tile.row_sum(total, seen, 0.5))


@kernel
def denoising_loss_backward_kernel(
    grad_ptr,
    prediction_ptr,
    rng_ptr,
    grad_prediction_ptr,
    prediction_stride,
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
    grad = tile.load_per_row(grad_ptr, grad_stride, rows, B)
    prediction = tile.load(prediction_ptr, prediction_stride, rows, cols, mask, ALIGN)
    d = prediction - normal_tile(rng_ptr, rows, start, D, BLOCK_D)
    tile.store(grad_prediction_ptr, D, rows, cols, mask, grad * d, ALIGN)


def denoising_loss(prediction: torch.Tensor, rng: torch.Tensor, loss: torch.Tensor) -> None:
    """prediction: [B, D]; rng: int64 [2]; loss: [B] float32."""
    args = [prediction, rng, loss]
    launch_rows(denoising_loss_kernel, args, [prediction], prediction.shape, noise=True)


def denoising_loss_backward(
    grad: torch.Tensor, prediction: torch.Tensor, rng: torch.Tensor, grad_prediction: torch.Tensor
) -> None:
    """grad: [B]; prediction and its gradient: [B, D]; rng: int64 [2]."""
    launch_elements(
        denoising_loss_backward_kernel,
        [grad, prediction, rng, grad_prediction],
        [prediction],
        prediction.shape,
        per_row=[grad],
        noise=True,
    )


def variants(new: Callable[..., torch.Tensor]) -> Iterator[tuple[Any, ...]]:
    """Calls whose kernels the compile test compiles. new(*shape, dtype=...) makes a tensor."""
    rng, loss = new(2, dtype=torch.int64), new(4096, dtype=torch.float32)
    prediction = new(4096, 784)
    yield denoising_loss, prediction, rng, loss
    yield denoising_loss_backward, loss, prediction, rng, prediction
