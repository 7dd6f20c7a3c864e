"""The kinds of reconstruction loss, for `reconstruction_loss` and `elbo`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vaelocity.ops import _check
from vaelocity.ops._sums import row_sum, up

KINDS = ("squared_error", "absolute_error", "huber", "bce_with_logits", "gaussian_nll")

Prepared = tuple[Tensor, Tensor, str, float, Tensor | None, Tensor | None]


def prepare(
    x: Any, y: Any, kind: str, delta: float, mask: Tensor | None, weight: Tensor | None
) -> Prepared:
    """The arguments checked, and as the operators take them: [B, D], weight float32 [D]."""
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    delta = _check.number(delta, "delta", low=0.0)
    x2, y2 = _check.rows(x, "x"), _check.rows(y, "y")
    if kind == "gaussian_nll":
        if y2.shape[0] != x2.shape[0] or y2.shape[1] != 2 * x2.shape[1]:
            raise ValueError(
                "y: expected twice the features of x, mean and logvar side by side, "
                f"({x2.shape[0]}, {2 * x2.shape[1]}), got {tuple(y.shape)}"
            )
        _check.same_device(y, "y", x, "x")
    else:
        _check.like(y, "y", x, "x")
    if mask is not None:
        mask = _prepared_mask(mask, x)
    if weight is not None:
        weight = _prepared_weight(weight, x, x2.shape[1])
    return x2, y2, kind, delta, mask, weight


def _prepared_mask(mask: Tensor, x: Tensor) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise TypeError(f"mask: expected a bool tensor, got {_check.described(mask)}")
    _check.same_device(mask, "mask", x, "x")
    if mask.shape != x.shape and mask.shape != x.shape[1:]:
        raise ValueError(
            f"mask: expected the shape of x or of a sample, {tuple(x.shape)} or "
            f"{tuple(x.shape[1:])}, got {tuple(mask.shape)}"
        )
    if mask.dim() == x.dim():
        return mask.flatten(1)
    return mask.reshape(1, -1).expand(x.shape[0], -1)


def _prepared_weight(weight: Tensor, x: Tensor, d: int) -> Tensor:
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        raise TypeError(f"weight: expected a floating tensor [D], got {_check.described(weight)}")
    _check.same_device(weight, "weight", x, "x")
    if weight.shape != x.shape[1:]:
        raise ValueError(
            f"weight: expected the shape of a sample, {tuple(x.shape[1:])}, "
            f"got {tuple(weight.shape)}"
        )
    if x.dtype != torch.float64:
        weight = weight.float()
    return weight.reshape(d).contiguous()


def reference(
    x: Tensor, y: Tensor, kind: str, delta: float, mask: Tensor | None, weight: Tensor | None
) -> Tensor:
    """See `vaelocity.ops.reconstruction_loss`."""
    x, y = up(x), up(y)
    if mask is not None:
        # Before the formula, so that neither a value nor a gradient of what is left out matters.
        x = torch.where(mask, x, 0)
        y = torch.where(torch.cat([mask, mask], 1) if kind == "gaussian_nll" else mask, y, 0)
    terms = _terms(x, y, kind, delta)
    if weight is not None:
        terms = weight * terms
    if mask is not None:
        terms = torch.where(mask, terms, 0)
    return row_sum(terms, x, y)


def _terms(x: Tensor, y: Tensor, kind: str, delta: float) -> Tensor:
    """The loss of every feature: [B, D]."""
    if kind == "bce_with_logits":
        return torch.clamp(y, min=0) - x * y + F.softplus(-y.abs())
    if kind == "gaussian_nll":
        mean, logvar = y[:, : x.shape[1]], y[:, x.shape[1] :]
        return 0.5 * (logvar + (x - mean).square() * torch.exp(-logvar))
    d = y - x
    if kind == "absolute_error":
        return d.abs()
    if kind == "huber":
        size = d.abs()
        return torch.where(size <= delta, 0.5 * d.square(), delta * (size - 0.5 * delta))
    return 0.5 * d.square()
