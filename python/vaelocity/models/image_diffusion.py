"""Diffusion of images: a small U-Net as the denoiser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vaelocity.models.arguments import count
from vaelocity.models.base import positive
from vaelocity.models.conv_networks import ConvEncoder
from vaelocity.models.diffusion import BINS, Diffusion
from vaelocity.models.image_layers import image_shape
from vaelocity.models.pixel_scaler import PixelScaler
from vaelocity.models.unet import UNet

_ESTIMATOR_CHANNELS = (16, 32)


class ImageDiffusion(Diffusion):
    """`Diffusion` with a `UNet` as the denoiser and a convolutional estimator of the time, of
    pixels scaled to -1 ... 1.

    Args:
        image: (channels, height, width) of the image that a row holds in C order; height and width
            multiples of 4.
        width: channels of the U-Net at half size; at a quarter it has twice as many.
        steps, n_classes, label_dropout, ema: see `Diffusion`.
    """

    def __init__(
        self,
        image: Sequence[int] = (1, 28, 28),
        width: int = 32,
        steps: int = 1000,
        n_classes: int = 0,
        label_dropout: float = 0.1,
        ema: float = 0.999,
    ) -> None:
        width, steps = positive(width, "width"), positive(steps, "steps")
        n_classes = count(n_classes, "n_classes")
        shape = image_shape(image, 2)
        super().__init__(
            math.prod(shape),
            steps=steps,
            n_classes=n_classes,
            label_dropout=label_dropout,
            ema=ema,
            network=UNet(shape, width, steps, n_classes),
            estimator=ConvEncoder(shape, _ESTIMATOR_CHANNELS, BINS),
        )
        self.image, self.width = shape, width
        self.scaler = PixelScaler(self.n_features, -1.0, 1.0)

    def arguments(self) -> dict[str, Any]:
        return {
            "image": list(self.image),
            "width": self.width,
            "steps": self.steps,
            "n_classes": self.n_classes,
            "label_dropout": self.label_dropout,
            "ema": self.ema,
        }
