"""Convolutional networks between rows that are images and rows of numbers, in the way of DCGAN
(Radford et al., arXiv:1511.06434): strided convolutions down, transposed ones up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaelocity.models.image_layers import Conv, Deconv, GroupNorm, Image, as_images
from vaelocity.models.labels import LabelEmbedding
from vaelocity.models.layers import Dense
from vaelocity.models.spectral import spectral_norm

_SLOPE = 0.2
_LABEL_WIDTH = 32


class ConvEncoder(nn.Module):
    """Rows [n, c * h * w] to [n, n_out]: a 4 x 4 convolution of stride 2 for every entry of
    `channels`, group norm (not behind the first one, which sees pixels), leaky relu, one dense
    layer."""

    def __init__(
        self, image: Image, channels: Sequence[int], n_out: int, norm: bool = True
    ) -> None:
        super().__init__()
        self.image = image
        steps: list[nn.Module] = []
        for i, (n_in, width) in enumerate(pairwise([image[0], *channels])):
            steps.append(Conv(n_in, width, 4, stride=2))
            if norm and i:
                steps.append(GroupNorm(width))
            steps.append(nn.LeakyReLU(_SLOPE))
        self.convolutions = nn.Sequential(*steps)
        self.last = Dense(_smallest(image, channels)[0], n_out, "identity", batch_norm=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.convolutions(as_images(x, self.image)).flatten(1)
        y: Tensor = self.last(h)
        return y


class ConvDecoder(nn.Module):
    """[n, n_in] to rows [n, c * h * w]: the mirror image of `ConvEncoder`."""

    def __init__(self, image: Image, channels: Sequence[int], n_in: int) -> None:
        super().__init__()
        size, self.smallest = _smallest(image, channels)
        self.first = Dense(n_in, size, "identity", batch_norm=False)
        steps: list[nn.Module] = []
        for n_below, n_above in pairwise([*reversed(channels), image[0]]):
            steps += [GroupNorm(n_below), nn.LeakyReLU(_SLOPE), Deconv(n_below, n_above)]
        self.deconvolutions = nn.Sequential(*steps)

    def forward(self, z: Tensor) -> Tensor:
        y: Tensor = self.deconvolutions(as_images(self.first(z), self.smallest))
        return y.flatten(1)


def _smallest(image: Image, channels: Sequence[int]) -> tuple[int, Image]:
    """The shape between the dense layer and the convolutions, and its number of values."""
    step = 2 ** len(channels)
    shape = (channels[-1], image[1] // step, image[2] // step)
    return math.prod(shape), shape


class ImageGenerator(nn.Module):
    """z [n, latent] and a label to images with pixels in -1 ... 1: [n, c * h * w].

    Called as network(z, label); without classes `label` is None.
    """

    def __init__(self, image: Image, channels: Sequence[int], latent: int, classes: int) -> None:
        super().__init__()
        self.label = LabelEmbedding(classes, _LABEL_WIDTH) if classes else None
        n_in = latent + (_LABEL_WIDTH if classes else 0)
        self.decoder = ConvDecoder(image, channels, n_in)

    def forward(self, z: Tensor, label: Tensor | None) -> Tensor:
        if self.label is not None:
            assert label is not None
            z = torch.cat([z, self.label(label)], dim=1)
        return self.decoder(z).tanh()


class ImageDiscriminator(nn.Module):
    """How real an image [n, c * h * w] looks: a logit [n, 1], every layer with spectral norm.

    The label takes part by the product of its vector with the features (Miyato and Koyama,
    arXiv:1802.05637). Called as network(x, label); without classes `label` is None.
    """

    def __init__(
        self, image: Image, channels: Sequence[int], classes: int, features: int = 128
    ) -> None:
        super().__init__()
        self.encoder = spectral_norm(ConvEncoder(image, channels, features, norm=False))
        self.last = spectral_norm(Dense(features, 1, "identity", batch_norm=False))
        self.label = LabelEmbedding(classes, features) if classes else None

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        h = F.leaky_relu(self.encoder(x), _SLOPE)
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
