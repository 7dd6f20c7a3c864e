"""The GAN of images: deconvolutional generator, convolutional discriminator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vaelocity.models.arguments import count
from vaelocity.models.base import positive
from vaelocity.models.gan import GAN
from vaelocity.models.image_gan_networks import ImageDiscriminator, ImageGenerator, ImageLatent
from vaelocity.models.image_layers import channel_widths, image_shape
from vaelocity.models.pixel_scaler import PixelScaler


class ImageGAN(GAN):
    """A DCGAN (Radford et al., arXiv:1511.06434): `GAN` with convolutional networks, the
    discriminator under spectral norm, of pixels scaled to -1 ... 1. With classes it is conditional:
    the generator takes the label's vector beside z, the discriminator multiplies its features by
    it (Miyato and Koyama, arXiv:1802.05637).

    Args:
        image: (channels, height, width) of the image that a row holds in C order; height and width
            multiples of 2 ** len(channels).
        latent: dimensions of z.
        channels: of the convolutions, each of which halves height and width.
        loss, n_classes, ema: see `GAN`.
    """

    def __init__(
        self,
        image: Sequence[int] = (1, 28, 28),
        latent: int = 32,
        channels: Sequence[int] = (16, 64),
        loss: str = "hinge",
        n_classes: int = 0,
        ema: float = 0.999,
    ) -> None:
        latent, n_classes = positive(latent, "latent"), count(n_classes, "n_classes")
        widths = channel_widths(channels)
        shape = image_shape(image, len(widths))
        super().__init__(
            math.prod(shape),
            latent,
            loss=loss,
            gradient_penalty=0.0,
            spectral_norm=True,
            n_classes=n_classes,
            ema=ema,
            generator=ImageGenerator(shape, widths, latent, n_classes),
            discriminator=ImageDiscriminator(shape, widths, n_classes),
            encoder=ImageLatent(shape, widths, latent),
        )
        self.image, self.channels = shape, widths
        self.scaler = PixelScaler(self.n_features, -1.0, 1.0)

    def arguments(self) -> dict[str, Any]:
        return {
            "image": list(self.image),
            "latent": self.latent,
            "channels": list(self.channels),
            "loss": self.loss,
            "n_classes": self.n_classes,
            "ema": self.ema,
        }
