"""The layers of networks for images: convolutions that draw their weights as `Dense` does."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

Image = tuple[int, int, int]
"""Channels, height, width of the image in a row of channels * height * width features."""


def image_shape(image: Sequence[int], halvings: int) -> Image:
    """`image` as a tuple. Raises ValueError unless it is three positive integers of which height
    and width can be halved so often."""
    found = tuple(image)
    if len(found) != 3 or not all(_positive(size) for size in found):
        raise ValueError(f"image: expected (channels, height, width), got {image!r}")
    step = 2**halvings
    if found[1] % step or found[2] % step:
        raise ValueError(
            f"image: {halvings} halvings need a height and a width that are multiples of {step}, "
            f"got {found[1]} x {found[2]}"
        )
    return int(found[0]), int(found[1]), int(found[2])


def channel_widths(channels: Sequence[int]) -> tuple[int, ...]:
    """`channels` as a tuple. Raises ValueError unless it holds positive integers, one at least."""
    found = tuple(channels)
    if not found or not all(_positive(width) for width in found):
        raise ValueError(f"channels: expected positive integers, got {channels!r}")
    return tuple(int(width) for width in found)


def _positive(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        return False
    return bool(value > 0)


def as_images(x: Tensor, image: Image) -> Tensor:
    """Rows [n, c * h * w] as [n, c, h, w], channels last in memory: what CPUs compute fastest."""
    return x.reshape(-1, *image).contiguous(memory_format=torch.channels_last)


class Conv(nn.Conv2d):
    """A convolution [n, n_in, h, w] to [n, n_out, h / stride, w / stride]."""

    def __init__(self, n_in: int, n_out: int, size: int = 3, stride: int = 1) -> None:
        super().__init__(n_in, n_out, size, stride, padding=(size - 1) // 2)

    def reset_parameters(self) -> None:
        """Nothing: torch's own would draw from torch's global random numbers."""

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Weights and bias uniform in +-1/sqrt(fan in), as torch.nn.Conv2d's own."""
        uniform_(self, self.in_channels * math.prod(self.kernel_size), generator)


class Deconv(nn.ConvTranspose2d):
    """A transposed convolution [n, n_in, h, w] to [n, n_out, 2 h, 2 w] (DCGAN, Radford et al.,
    arXiv:1511.06434): 4 x 4, so that every pixel is made of as many."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, 4, 2, padding=1)

    def reset_parameters(self) -> None:
        """Nothing, see `Conv`."""

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Uniform in +-1/sqrt(terms a pixel is the sum of): 4 pixels of n_in channels."""
        uniform_(self, 4 * self.in_channels, generator)


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu and He, arXiv:1803.08494) in at most 8 groups, of at least 8 channels
    where there are so many: unlike batch norm it treats every row by itself, in training as in
    use."""

    def __init__(self, channels: int) -> None:
        super().__init__(math.gcd(8, max(1, channels // 8), channels), channels)

    def initialise(self, generator: torch.Generator) -> None:
        """Gain 1, shift 0."""
        self.reset_parameters()


def uniform_(layer: nn.Module, terms: int, generator: torch.Generator) -> None:
    """Every parameter uniform in +-1/sqrt(terms), drawn on the CPU: a seed gives the same weights
    on every device."""
    bound = 1 / math.sqrt(terms)
    for parameter in layer.parameters():
        drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
        parameter.copy_(drawn)
