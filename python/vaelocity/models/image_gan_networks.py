"""The networks of an image GAN: deconvolutional generator, convolutional discriminator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaelocity.models.conv_networks import SLOPE, ConvDecoder, ConvEncoder
from vaelocity.models.image_layers import Image
from vaelocity.models.labels import LabelEmbedding
from vaelocity.models.layers import Dense

_LABEL_WIDTH = 32


class ImageGenerator(nn.Module):
    """z [n, latent] and a label to images with pixels in -1 ... 1: [n, c * h * w].

    Called as network(z, label); without classes `label` is None.
    """

    def __init__(self, image: Image, channels: Sequence[int], latent: int, n_classes: int) -> None:
        super().__init__()
        self.label = LabelEmbedding(n_classes, _LABEL_WIDTH) if n_classes else None
        n_in = latent + (_LABEL_WIDTH if n_classes else 0)
        self.decoder = ConvDecoder(image, channels, n_in)

    def forward(self, z: Tensor, label: Tensor | None) -> Tensor:
        if self.label is not None:
            assert label is not None
            z = torch.cat([z, self.label(label)], dim=1)
        made: Tensor = self.decoder(z)
        return made.tanh()


class ImageDiscriminator(nn.Module):
    """How real an image [n, c * h * w] looks: a logit [n, 1].

    The label takes part by the product of its vector with the features (Miyato and Koyama,
    arXiv:1802.05637). Called as network(x, label); without classes `label` is None.
    """

    def __init__(
        self, image: Image, channels: Sequence[int], n_classes: int, features: int = 128
    ) -> None:
        super().__init__()
        self.encoder = ConvEncoder(image, channels, features, norm=False)
        self.last = Dense(features, 1, "identity", batch_norm=False)
        self.label = LabelEmbedding(n_classes, features) if n_classes else None

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        h = F.leaky_relu(self.encoder(x), SLOPE)
        logit: Tensor = self.last(h)
        if self.label is not None:
            assert label is not None
            logit = logit + (self.label(label) * h).sum(dim=1, keepdim=True)
        return logit


class ImageLatent(nn.Module):
    """`ConvEncoder` as a GAN calls it, network(x, label): the image tells its label itself."""

    def __init__(self, image: Image, channels: Sequence[int], latent: int) -> None:
        super().__init__()
        self.encoder = ConvEncoder(image, channels, latent)

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        z: Tensor = self.encoder(x)
        return z
