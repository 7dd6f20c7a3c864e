"""Standardisation, as part of a model: its statistics are buffers and travel in the file."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

_CHUNK = 1 << 18  # bytes in float64 at a time: they stay in the cache


class Standardizer(nn.Module):
    """x' = (x - mean) * (1 / scale), in float32 with 1 / scale rounded first, as the scorer does.

    mean, scale: float32 [n_features]; the identity until `fit_`.
    """

    mean: Tensor
    scale: Tensor

    leaves_out = False
    """Whether the term of a value may leave the loss, where x' is NaN."""

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
        """Mean and population standard deviation of x [n, n_features], summed in float64, over
        the values that are not NaN; a feature without any is left as it is.

        weight: [n], not negative, not all 0. A feature that is constant among the rows of
        positive weight, or whose deviation float32 cannot divide by, gets scale 1.
        """
        if weight is not None:
            x, weight = x[weight > 0], weight[weight > 0].double()
        complete = bool(torch.isfinite(x.sum()))  # nothing needs to be looked for then
        value = _same if complete else _value
        if complete:
            rows = len(x) if weight is None else float(weight.sum())
            total = torch.tensor(rows, dtype=torch.float64, device=x.device)
        else:
            total = _weighted_sum(x, weight, _present).clamp(min=torch.finfo(torch.float32).tiny)
        mean = _weighted_sum(x, weight, value) / total
        variance = _weighted_sum(x, weight, lambda part: value(part - mean).square()) / total
        deviation = variance.sqrt()
        lowest, highest = (x.amin(dim=0), x.amax(dim=0)) if complete else _range(x)
        self.mean.copy_(torch.where(lowest < highest, mean, lowest.double()))
        smallest = 2 / torch.finfo(torch.float32).max  # 1 / scale must not overflow
        usable = (lowest < highest) & (deviation > smallest)
        self.scale.copy_(torch.where(usable, deviation, torch.ones_like(deviation)))


def _chunk_rows(x: Tensor) -> int:
    return max(1, _CHUNK // (8 * x.shape[1]))


def _present(part: Tensor) -> Tensor:
    return (~torch.isnan(part)).double()


def _same(part: Tensor) -> Tensor:
    return part


def _value(part: Tensor) -> Tensor:
    return torch.where(torch.isnan(part), 0, part)


def _weighted_sum(x: Tensor, weight: Tensor | None, term: Callable[[Tensor], Tensor]) -> Tensor:
    """sum_i w_i term(x_i) in float64: [n_features]."""
    total = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
    rows = _chunk_rows(x)
    for at in range(0, len(x), rows):
        part = term(x[at : at + rows].double())
        if weight is None:
            total += part.sum(dim=0)
        else:
            total += weight[at : at + rows] @ part
    return total


def _range(x: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest value of every feature that is not NaN; 0 where all are."""
    lowest, highest = (x.new_full((x.shape[1],), sign * torch.inf) for sign in (1, -1))
    for part in torch.split(x, _chunk_rows(x)):
        missing = torch.isnan(part)
        lowest = torch.minimum(lowest, torch.where(missing, torch.inf, part).amin(dim=0))
        highest = torch.maximum(highest, torch.where(missing, -torch.inf, part).amax(dim=0))
    empty = lowest > highest
    return torch.where(empty, 0, lowest), torch.where(empty, 0, highest)
