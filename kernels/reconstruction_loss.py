"""Triton kernels of reconstruction_loss: the sum over a row's features of one of five losses."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import triton
import triton.language as tl

from vaelocity.kernels import tile
from vaelocity.kernels.launch import kernel, launch_elements, launch_rows
from vaelocity.kernels.math import exp, log1p_exp, sigmoid, sign

KINDS = ("squared_error", "absolute_error", "huber", "bce_with_logits", "gaussian_nll")


@triton.jit
def term(x, y, logvar, delta, KIND: tl.constexpr):
    """The loss of a feature, for squared_error and gaussian_nll twice the loss.

    y is the mean for gaussian_nll; no other kind reads logvar."""
    d = y - x
    if KIND == "squared_error":
        return d * d
    elif KIND == "absolute_error":
        return tl.abs(d)
    elif KIND == "huber":
        a = tl.abs(d)
        return tl.where(a <= delta, 0.5 * d * d, delta * (a - 0.5 * delta))
    elif KIND == "bce_with_logits":
        positive = tl.maximum(y, 0.0, propagate_nan=tl.PropagateNan.ALL)
        return tl.fma(-x, y, positive) + log1p_exp(-tl.abs(y))
    else:
        # Scaled before it is squared: d^2 may overflow where d^2 exp(-logvar) does not.
        r = d * exp(-0.5 * logvar)
        return tl.fma(r, r, logvar)


@triton.jit
def slopes(x, y, logvar, delta, KIND: tl.constexpr):
    """(d loss / d y, d loss / d logvar) of a feature; the second only for gaussian_nll."""
    d = y - x
    if KIND == "squared_error":
        return d, d
    elif KIND == "absolute_error":
        return sign(d), d
    elif KIND == "huber":
        return tl.where(tl.abs(d) <= delta, d, delta * sign(d)), d
    elif KIND == "bce_with_logits":
        return sigmoid(y) - x, d
    else:
        half = exp(-0.5 * logvar)
        r = d * half
        return r * half, tl.fma(-0.5 * r, r, 0.5)


@triton.jit
def load_features(
    x_ptr,
    y_ptr,
    mask_ptr,
    weight_ptr,
    x_stride,
    y_stride,
    mask_stride,
    rows,
    cols,
    inside,
    D,
    KIND: tl.constexpr,
    ALIGN: tl.constexpr,
):
    """(x, y, logvar, weight, counts) of a tile. What does not count is 0 in all of them, so that a
    NaN there has no effect."""
    x = tile.load(x_ptr, x_stride, rows, cols, inside, ALIGN)
    y = tile.load(y_ptr, y_stride, rows, cols, inside, ALIGN)
    logvar = tl.zeros_like(y)
    if KIND == "gaussian_nll":
        logvar_cols = cols + tile.multiple(D, ALIGN)
        logvar = tile.load(y_ptr, y_stride, rows, logvar_cols, inside, ALIGN)
    weight = tl.full(y.shape, 1.0, tl.float32)
    if weight_ptr is not None:
        weight = tl.load(weight_ptr + cols, mask=cols < tile.multiple(D, ALIGN), other=0.0)
    counts = inside
    if mask_ptr is not None:
        pointers = mask_ptr + rows * tile.multiple(mask_stride, ALIGN) + cols
        counts = inside & (tl.load(pointers, mask=inside, other=0) != 0)
        x = tl.where(counts, x, 0.0)
        y = tl.where(counts, y, 0.0)
        logvar = tl.where(counts, logvar, 0.0)
        weight = tl.where(counts, weight, 0.0)
    return x, y, logvar, weight, counts


@triton.jit
def reconstruction_rows(
    x_ptr,
    y_ptr,
    mask_ptr,
    weight_ptr,
    delta,
    x_stride,
    y_stride,
    mask_stride,
    rows,
    B,
    D,
    KIND: tl.constexpr,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """The loss of a program's rows, [BLOCK_M, 1]."""
    total = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    seen = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    for start in range(0, D, BLOCK_D):
        cols, inside = tile.columns(rows, start, B, D, ALIGN, BLOCK_D)
        x, y, logvar, weight, counts = load_features(
            x_ptr, y_ptr, mask_ptr, weight_ptr, x_stride, y_stride, mask_stride,
            rows, cols, inside, D, KIND, ALIGN,
        )  # fmt: skip
        loss = term(x, y, logvar, delta, KIND)
        if weight_ptr is not None:
            # 0 times a loss that overflowed is 0; NaN and inf among the inputs are seen below.
            loss = tl.where(weight == 0.0, 0.0, weight * loss)
            seen = tile.not_finite(seen, weight)
        total += tl.where(counts, loss, 0.0)
        seen = tile.not_finite(tile.not_finite(seen, x), y)
        if KIND == "gaussian_nll":
            seen = tile.not_finite(seen, logvar)
    HALVED: tl.constexpr = KIND == "squared_error" or KIND == "gaussian_nll"
    return tile.row_sum(total, seen, 0.5 if HALVED else 1.0)


@triton.jit
def reconstruction_gradient(
    grad,
    x_ptr,
    y_ptr,
    mask_ptr,
    weight_ptr,
    delta,
    grad_y_ptr,
    x_stride,
    y_stride,
    mask_stride,
    rows,
    start,
    B,
    D,
    KIND: tl.constexpr,
    ALIGN: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """Store a tile of d y for the gradient of each row's loss, [BLOCK_M, 1]."""
    cols, inside = tile.columns(rows, start, B, D, ALIGN, BLOCK_D)
    x, y, logvar, weight, counts = load_features(
        x_ptr, y_ptr, mask_ptr, weight_ptr, x_stride, y_stride, mask_stride,
        rows, cols, inside, D, KIND, ALIGN,
    )  # fmt: skip
    slope, logvar_slope = slopes(x, y, logvar, delta, KIND)
    grad_y = tl.where(counts, grad * (weight * slope), 0.0)
    if KIND == "gaussian_nll":
        grad_logvar = tl.where(counts, grad * (weight * logvar_slope), 0.0)
        logvar_cols = cols + tile.multiple(D, ALIGN)
        tile.store(grad_y_ptr, 2 * D, rows, cols, inside, grad_y, ALIGN)
        tile.store(grad_y_ptr, 2 * D, rows, logvar_cols, inside, grad_logvar, ALIGN)
    else:
        tile.store(grad_y_ptr, D, rows, cols, inside, grad_y, ALIGN)


@kernel
def reconstruction_loss_kernel(
    x_ptr,
    y_ptr,
    mask_ptr,
    weight_ptr,
    loss_ptr,
    delta,
    x_stride,
    y_stride,
    mask_stride,
    B,
    D,
    KIND: tl.constexpr,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows = tile.row_indices(tl.program_id(0), BLOCK_M)
    loss = reconstruction_rows(
        x_ptr, y_ptr, mask_ptr, weight_ptr, delta, x_stride, y_stride, mask_stride,
        rows, B, D, KIND, ALIGN, BLOCK_M, BLOCK_D,
    )  # fmt: skip
    tile.store_per_row(loss_ptr, rows, B, loss)


@kernel
def reconstruction_loss_backward_kernel(
    grad_loss_ptr,
    x_ptr,
    y_ptr,
    mask_ptr,
    weight_ptr,
    grad_y_ptr,
    delta,
    x_stride,
    y_stride,
    mask_stride,
    grad_loss_stride,
    B,
    D,
    column_tiles,
    KIND: tl.constexpr,
    ALIGN: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows, start = tile.element_tile(tl.program_id(0), column_tiles, BLOCK_M, BLOCK_D)
    grad = tile.load_per_row(grad_loss_ptr, grad_loss_stride, rows, B)
    reconstruction_gradient(
        grad, x_ptr, y_ptr, mask_ptr, weight_ptr, delta, grad_y_ptr,
        x_stride, y_stride, mask_stride, rows, start, B, D, KIND, ALIGN, BLOCK_D,
    )  # fmt: skip


def reconstruction_loss(
    x: torch.Tensor,
    y: torch.Tensor,
    kind: str,
    delta: float,
    mask: torch.Tensor | None,
    weight: torch.Tensor | None,
    loss: torch.Tensor,
) -> None:
    """x: [B, D]; y: [B, D], or [B, 2D] for gaussian_nll; mask: bool [B, D]; weight: float32 [D];
    loss: [B] float32."""
    args = [x, y, mask, weight, loss, float(delta)]
    launch_rows(reconstruction_loss_kernel, args, [x, y, mask], x.shape, KIND=kind)


def reconstruction_loss_backward(
    grad_loss: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    kind: str,
    delta: float,
    mask: torch.Tensor | None,
    weight: torch.Tensor | None,
    grad_y: torch.Tensor,
) -> None:
    """grad_loss: [B]; grad_y: as y; the others as in reconstruction_loss."""
    launch_elements(
        reconstruction_loss_backward_kernel,
        [grad_loss, x, y, mask, weight, grad_y, float(delta)],
        [x, y, mask],
        x.shape,
        per_row=[grad_loss],
        KIND=kind,
    )


def variants(new: Callable[..., torch.Tensor]) -> Iterator[tuple[Any, ...]]:
    """Calls whose kernels the compile test compiles. new(*shape, dtype=...) makes a tensor."""
    x, loss = new(4096, 64), new(4096, dtype=torch.float32)
    for kind in KINDS:
        y = new(4096, 128) if kind == "gaussian_nll" else x
        yield reconstruction_loss, x, y, kind, 1.0, None, None, loss
        yield reconstruction_loss_backward, loss, x, y, kind, 1.0, None, None, y
    mask, weight = new(4096, 64, dtype=torch.bool), new(64, dtype=torch.float32)
    yield reconstruction_loss, x, x, "squared_error", 1.0, mask, weight, loss
    yield reconstruction_loss_backward, loss, x, x, "squared_error", 1.0, mask, weight, x
