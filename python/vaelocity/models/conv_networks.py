"""Convolutional networks between rows that are images and rows of numbers, in the way of DCGAN
(Radford et al., arXiv:1511.06434): strided convolutions down, transposed ones up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from vaelocity.models.image_layers import Conv, Deconv, GroupNorm, Image, as_images
from vaelocity.models.layers import Dense

SLOPE = 0.2
"""Of the leaky relu."""


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
            steps.append(nn.LeakyReLU(SLOPE))
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
            steps += [GroupNorm(n_below), nn.LeakyReLU(SLOPE), Deconv(n_below, n_above)]
        self.deconvolutions = nn.Sequential(*steps)

    def forward(self, z: Tensor) -> Tensor:
        y: Tensor = self.deconvolutions(as_images(self.first(z), self.smallest))
        return y.flatten(1)


def _smallest(image: Image, channels: Sequence[int]) -> tuple[int, Image]:
    """The shape between the dense layer and the convolutions, and its number of values."""
    step = 2 ** len(channels)
    shape = (channels[-1], image[1] // step, image[2] // step)
    return math.prod(shape), shape
