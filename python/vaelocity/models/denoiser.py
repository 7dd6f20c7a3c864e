"""The network of tabular diffusion: dense layers over the row, the time and the label."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vaelocity.models.conditioned import CONDITION_WIDTH, ConditionedNetwork
from vaelocity.models.labels import LabelEmbedding
from vaelocity.models.layers import Dense

_HIGHEST_FREQUENCY = 1000.0


class TimeFeatures(nn.Module):
    """Sine and cosine of t / steps at frequencies from 1 to 1000: int64 [n] to float32 [n, width].

    Vaswani et al., arXiv:1706.03762, section 3.5, with t scaled to [0, 1).
    """

    frequencies: Tensor

    def __init__(self, steps: int, width: int) -> None:
        super().__init__()
        exponents = torch.linspace(0, math.log(_HIGHEST_FREQUENCY), width // 2)
        self.register_buffer("frequencies", torch.exp(exponents) / steps, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        angle = t[:, None] * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], dim=1)


class Denoiser(nn.Module):
    """Dense layers over x_t, conditioned on the time and on the label.

    Called as network(x_t [n, n_features], t int64 [n], label int64 [n]), label in 0..n_classes, of
    which the last one means that there is none; without classes `label` is None. Returns as many
    numbers as x_t has.
    """

    def __init__(
        self,
        n_features: int,
        hidden: Sequence[int],
        activation: str,
        steps: int,
        n_classes: int,
    ) -> None:
        super().__init__()
        width = CONDITION_WIDTH
        self.time = nn.Sequential(
            TimeFeatures(steps, width), Dense(width, width, activation, batch_norm=False)
        )
        self.label = LabelEmbedding(n_classes + 1, width) if n_classes else None
        self.network = ConditionedNetwork([n_features, *hidden, n_features], activation, True)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        condition = self.time(t)
        if self.label is not None:
            condition = condition + self.label(label)
        y: Tensor = self.network(x, condition)
        return y
