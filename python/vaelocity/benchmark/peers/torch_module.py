"""The score as a torch module, for the peers that are torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vaelocity.frozen import Network
from vaelocity.frozen_layers import Bound, Conv, Dense, Layer, Pool
from vaelocity.steps import Image


class ScoreModule(nn.Module):
    """rows float32 [n, n_features] -> score [n], as one would write it by hand."""

    mean: Tensor
    inverse_scale: Tensor

    def __init__(self, network: Network, inplace: bool = False) -> None:
        super().__init__()
        self.encoder = _sequential(network.scored_encoder, inplace)
        self.decoder = _sequential(network.decoder if network.decodes else (), inplace)
        self.register_buffer("mean", torch.from_numpy(network.mean))
        self.register_buffer("inverse_scale", torch.from_numpy(network.inverse_scale))
        self.kind, self.beta, self.inplace = network.kind, network.beta, inplace
        self.halves = network.gaussian and not network.mu_alone
        self.eval()

    def forward(self, rows: Tensor) -> Tensor:
        if self.inplace:
            x = (rows - self.mean).mul_(self.inverse_scale)
        else:
            x = (rows - self.mean) * self.inverse_scale
        mu: Tensor = self.encoder(x)
        if self.halves:
            mu, logvar = mu.chunk(2, 1)
        if self.kind == "reconstruction":
            return self._reconstruction(x, mu)
        if self.kind == "mu2":
            return mu.square().sum(1)
        if self.kind == "rz":
            return (mu.square() * torch.exp(-logvar)).sum(1)
        kl = 0.5 * (mu.square() + torch.expm1(logvar) - logvar).sum(1)
        return kl if self.kind == "kl" else self._reconstruction(x, mu) + self.beta * kl

    def _reconstruction(self, x: Tensor, z: Tensor) -> Tensor:
        y: Tensor = self.decoder(z)
        if self.inplace:
            return y.sub_(x).square_().sum(1).mul_(0.5)
        return 0.5 * (y - x).square().sum(1)


class _Held(nn.Module):
    """What `Bound` computes, without its activation."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(self.weight > 0, self.weight * torch.tanh(x) + self.bias, x)


def _sequential(layers: Sequence[Layer], inplace: bool) -> nn.Sequential:
    """Images keep their shape from a convolution or pool to the next."""
    modules: list[nn.Module] = []
    image: Image | None = None
    for layer in layers:
        needed = layer.input if isinstance(layer, Conv | Pool) else None
        if needed != image:
            modules.append(nn.Unflatten(1, needed) if needed else nn.Flatten())
        modules.append(_module(layer))
        image = layer.output if isinstance(layer, Conv | Pool) else None
        if layer.activation != "identity":
            modules.append(_activation(layer, inplace))
    if image:
        modules.append(nn.Flatten())
    return nn.Sequential(*modules)


def _module(layer: Layer) -> nn.Module:
    """Without its activation."""
    if isinstance(layer, Pool):
        pool = nn.MaxPool2d if layer.maximum else nn.AvgPool2d
        return pool(layer.kernel, layer.stride, layer.padding)
    if isinstance(layer, Bound):
        return _Held(torch.tensor(layer.weight), torch.tensor(layer.bias))
    made: nn.Module
    out, into = layer.weight.shape[:2]
    kernel, bias = layer.weight.shape[2:], torch.tensor(layer.bias)
    if isinstance(layer, Dense):
        made = nn.Linear(into, out)
    elif layer.transposed:
        window = (layer.stride, layer.padding, layer.output_padding)
        made = nn.ConvTranspose2d(out, into, kernel, *window)
    else:
        made = nn.Conv2d(into, out, kernel, layer.stride, layer.padding)
    made.load_state_dict({"weight": torch.tensor(layer.weight), "bias": bias})
    return made


def _activation(layer: Layer, inplace: bool) -> nn.Module:
    made: dict[str, Callable[[], nn.Module]] = {
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "gelu": nn.GELU,
        "relu": lambda: nn.ReLU(inplace),
        "elu": lambda: nn.ELU(inplace=inplace),
        "silu": lambda: nn.SiLU(inplace),
        "leaky_relu": lambda: nn.LeakyReLU(layer.slope, inplace),
    }
    return made[layer.activation]()
