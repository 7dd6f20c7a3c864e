"""The reconstruction losses in plain float64 torch, and examples of them."""

from __future__ import annotations

import torch
from checking import DEVICE, laid_out, normal
from torch import Tensor

DELTA = 0.75
LARGEST = torch.finfo(torch.float32).max


def formula(
    x: Tensor, y: Tensor, kind: str, mask: Tensor | None = None, weight: Tensor | None = None
) -> Tensor:
    """The loss [B] of x [B, D] and y, [B, D] or for gaussian_nll [B, 2D]."""
    y, s = y.chunk(2, 1) if kind == "gaussian_nll" else (y, torch.zeros_like(x))
    if mask is not None:
        x, y, s = (torch.where(mask.cpu(), value, 0) for value in (x, y, s))
    d = y - x
    terms = {
        "squared_error": lambda: d**2 / 2,
        "absolute_error": d.abs,
        "huber": lambda: torch.where(d.abs() <= DELTA, d**2 / 2, DELTA * (d.abs() - DELTA / 2)),
        "bce_with_logits": lambda: y.clamp(min=0) - x * y + torch.log1p(torch.exp(-y.abs())),
        "gaussian_nll": lambda: (s + d**2 * torch.exp(-s)) / 2,
    }[kind]()
    if weight is not None:
        terms = terms * weight.cpu().double()
    if mask is not None:
        terms = torch.where(mask.cpu(), terms, 0)
    return terms.sum(1)


def example(kind: str, b: int, d: int, dtype: torch.dtype, layout: str) -> tuple[Tensor, Tensor]:
    """x and y. No logit is 0, where autograd of the formula is of two minds."""
    x, y = normal(b, d, dtype, layout), 0.7 * normal(b, d, torch.float32).cpu().flip(1) + 0.1
    if kind == "bce_with_logits":
        x, y = laid_out(x.cpu().double().sigmoid(), dtype, layout), 3 * y
    if kind == "gaussian_nll":
        y = torch.cat([y, y.flip(0)], 1)
    return x, laid_out(y, dtype, layout)


def overflowing(kind: str) -> tuple[Tensor, Tensor]:
    """Finite x and y, [2, 2] and their like, whose losses are not."""
    x, y = [[3e38, 3e38], [-3e38, -2e38]], [[-3e38, -3e38], [3e38, 2e38]]
    if kind == "gaussian_nll":
        y = [[0, 0, 0, 0], [0, 0, -1, -100]]
    return laid_out(x, torch.float32), laid_out(y, torch.float32)


def mask_of(b: int, d: int) -> Tensor:
    generator = torch.Generator().manual_seed(7 * b + d)
    return (torch.rand(b, d, generator=generator) < 0.7).to(DEVICE)


def weight_of(d: int) -> Tensor:
    return torch.linspace(0.0, 2.0, d).to(DEVICE)
