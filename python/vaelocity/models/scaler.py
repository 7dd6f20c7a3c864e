"""Standardisation, as part of a model: its statistics are buffers and travel in the file."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_CHUNK = 1 << 18  # bytes in float64 at a time: they stay in the cache


class Standardizer(nn.Module):
    """x' = (x - mean) * (1 / scale), in float32 with 1 / scale rounded first, as the scorer does.

    mean, scale: float32 [n_features]; the identity until `fit_`.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.scale.reciprocal()

    def inverse(self, x: Tensor) -> Tensor:
        """From the standardised space back to the units of the features."""
        return x * self.scale + self.mean

    @torch.no_grad()
    def fit_(self, x: Tensor, weight: Tensor | None = None) -> None:
        """Mean and population standard deviation of x [n, n_features], summed in float64.

        weight: [n], not negative, not all 0. A feature that is constant among the rows of
        positive weight, or whose deviation float32 cannot divide by, gets scale 1.
        """
        if weight is not None:
            x, weight = x[weight > 0], weight[weight > 0].double()
        total = float(len(x)) if weight is None else float(weight.sum())
        mean = _weighted_sum(x, weight, None) / total
        deviation = (_weighted_sum(x, weight, mean) / total).sqrt()
        lowest, highest = x.amin(dim=0), x.amax(dim=0)
        self.mean.copy_(torch.where(lowest < highest, mean, lowest.double()))
        smallest = 2 / torch.finfo(torch.float32).max  # 1 / scale must not overflow
        usable = (lowest < highest) & (deviation > smallest)
        self.scale.copy_(torch.where(usable, deviation, torch.ones_like(deviation)))


def _weighted_sum(x: Tensor, weight: Tensor | None, mean: Tensor | None) -> Tensor:
    """sum_i w_i x_i, or with a mean sum_i w_i (x_i - mean)^2, in float64: [n_features]."""
    total = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
    rows = max(1, _CHUNK // (8 * x.shape[1]))
    for at in range(0, len(x), rows):
        part = x[at : at + rows].double()
        if mean is not None:
            part = (part - mean).square()
        if weight is None:
            total += part.sum(dim=0)
        else:
            total += weight[at : at + rows] @ part
    return total
