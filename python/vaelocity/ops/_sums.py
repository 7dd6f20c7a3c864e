"""Per-sample sums of the references: what is not finite, and gradients that ignore it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def up(value: Tensor) -> Tensor:
    """In the type that sums are made in: float32 for the half types, else as it is."""
    return value if value.dtype in (torch.float32, torch.float64) else value.float()


def row_sum(terms: Tensor, *inputs: Tensor) -> Tensor:
    """Sum over the features: [B] of terms [B, D].

    NaN where an input [B, D] of the row is not finite; else at most the type's largest number,
    which also stands for a NaN (infinity minus infinity). The gradient is that of the sum.
    """
    finite = torch.isfinite(inputs[0].detach()).all(1)
    for each in inputs[1:]:
        finite = finite & torch.isfinite(each.detach()).all(1)
    return _saturated(terms.sum(1), finite)


def weighted_sum(first: Tensor, weight: float, second: Tensor) -> Tensor:
    """first + weight * second, [B] each, by the same rule."""
    finite = torch.isfinite(first.detach()) & torch.isfinite(second.detach())
    return _saturated(first + weight * second, finite)


def _saturated(total: Tensor, finite: Tensor) -> Tensor:
    function = _Saturated if torch.compiler.is_compiling() else _SaturatedForward
    found: Tensor = function.apply(total, finite)  # type: ignore[no-untyped-call]
    return found


class _Saturated(torch.autograd.Function):
    """Passes gradients through unchanged: the formula's gradient is still right where the sum
    has left the range of the type. In the style that torch.func can transform."""

    generate_vmap_rule = True

    @staticmethod
    def forward(total: Tensor, finite: Tensor) -> Tensor:
        largest = torch.finfo(total.dtype).max
        return torch.where(finite, torch.where(total <= largest, total, largest), torch.nan)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class _SaturatedForward(_Saturated):
    """With forward mode, too, which torch.compile refuses to trace."""

    @staticmethod
    def jvp(ctx: Any, total: Tensor, finite: None) -> Tensor:
        return total.clone()
