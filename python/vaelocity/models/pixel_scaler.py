"""The scaling of images: one range for all pixels, for a pixel's own would tear the image apart."""

from __future__ import annotations

import torch
from torch import Tensor

from vaelocity.models.scaler import Standardizer


class PixelScaler(Standardizer):
    """From the lowest and the highest pixel of the training rows to `low` and `high`.

    A pixel at the edge that is hardly ever set would by its own deviation count as much as the
    middle. mean and scale are the same numbers for every pixel.
    """

    def __init__(self, n_features: int, low: float, high: float) -> None:
        super().__init__(n_features)
        self.low, self.high = low, high

    @torch.no_grad()
    def fit_(self, x: Tensor, weight: Tensor | None = None) -> None:
        """The range of x [n, n_features], rows of weight 0 left out; scale 1 if it is empty."""
        if weight is not None:
            x = x[weight > 0]
        lowest, highest = x.min().double(), x.max().double()
        scale = (highest - lowest) / (self.high - self.low)
        usable = scale > 2 / torch.finfo(torch.float32).max  # 1 / scale must not overflow
        scale = torch.where(usable, scale, 1.0)
        self.scale.fill_(scale)
        self.mean.fill_(lowest - self.low * scale)


class PooledScaler(Standardizer):
    """Every pixel's own mean, and one deviation for all: the root of their mean variance.

    What a pixel that is dark in every training row is set to in another counts as it is; by the
    pixel's own deviation it would outweigh all the rest.
    """

    @torch.no_grad()
    def fit_(self, x: Tensor, weight: Tensor | None = None) -> None:
        """Of x [n, n_features]; weight: [n], see `Standardizer.fit_`. scale 1 if nothing varies."""
        super().fit_(x, weight)
        if weight is not None:
            x = x[weight > 0]
        varies = x.amin(dim=0) < x.amax(dim=0)
        variance = torch.where(varies, self.scale.double().square(), 0.0).mean()
        usable = variance.sqrt() > 2 / torch.finfo(torch.float32).max
        self.scale.fill_(torch.where(usable, variance.sqrt(), 1.0))
