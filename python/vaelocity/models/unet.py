"""The network of image diffusion: a small U-Net over the image, the time and the label."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaelocity.models.denoiser import TimeFeatures
from vaelocity.models.image_layers import Conv, Deconv, GroupNorm, Image
from vaelocity.models.labels import LabelEmbedding
from vaelocity.models.layers import Dense

_TIME_WIDTH = 64


class UNet(nn.Module):
    """Ronneberger et al., arXiv:1505.04597, as small as digits allow: pixels are taken in 2 x 2
    blocks, so that nothing is computed at full size; residual blocks at 1/2 and 1/4 of it.

    Called as network(x_t [n, c * h * w], t int64 [n], label int64 [n]), label in 0 ... n_classes,
    of which the last one means that there is none; without classes `label` is None. Returns as
    many numbers as x_t has.
    """

    def __init__(self, image: Image, width: int, steps: int, n_classes: int) -> None:
        super().__init__()
        self.image = image
        pixels = 4 * image[0]
        condition = 2 * width
        self.time = nn.Sequential(
            TimeFeatures(steps, _TIME_WIDTH),
            Dense(_TIME_WIDTH, condition, "silu", batch_norm=False),
        )
        self.label = LabelEmbedding(n_classes + 1, condition) if n_classes else None
        self.first = Conv(pixels, width)
        self.outer_down = ResidualBlock(width, condition)
        self.down = Conv(width, 2 * width, 4, stride=2)
        self.inner = nn.ModuleList(ResidualBlock(2 * width, condition) for _ in range(2))
        self.up = Deconv(2 * width, width)
        self.outer_up = ResidualBlock(width, condition)
        self.norm = GroupNorm(width)
        self.last = Conv(width, pixels)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        condition = self.time(t)
        if self.label is not None:
            assert label is not None
            condition = condition + self.label(label)
        blocks = F.pixel_unshuffle(x.reshape(-1, *self.image), 2)  # [n, 4 c, h / 2, w / 2]
        outer = self.first(blocks.contiguous(memory_format=torch.channels_last))
        outer = self.outer_down(outer, condition)
        inner = self.down(outer)
        for block in self.inner:
            inner = block(inner, condition)
        outer = self.outer_up(outer + self.up(inner), condition)
        y: Tensor = self.last(F.silu(self.norm(outer)))
        return F.pixel_shuffle(y, 2).flatten(1)


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))) * gain + shift))), [n, channels, h, w]; gain and
    shift come from the condition [n, n_condition] (Dhariwal and Nichol, arXiv:2105.05233)."""

    def __init__(self, channels: int, n_condition: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(GroupNorm(channels) for _ in range(2))
        self.convolutions = nn.ModuleList(Conv(channels, channels) for _ in range(2))
        self.modulation = Dense(n_condition, 2 * channels, "identity", batch_norm=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gain, shift = self.modulation(condition)[:, :, None, None].chunk(2, dim=1)
        h = self.norms[1](self.convolutions[0](F.silu(self.norms[0](x))))
        h = torch.addcmul(h + shift, h, gain)
        y: Tensor = x + self.convolutions[1](F.silu(h))
        return y
