"""Spectral norm: the weights of a layer divided by their largest singular value."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize


class SpectralNorm(nn.Module):
    """A parametrization of a weight [n_out, ...]: weight / sigma, sigma its largest singular
    value as a matrix [n_out, the rest].

    One step of power iteration a call in training mode, from where the last one ended (Miyato et
    al., arXiv:1802.05957). torch's own draws its first vector from torch's global random numbers.
    """

    u: Tensor

    def __init__(self, n_out: int) -> None:
        super().__init__()
        self.register_buffer("u", torch.ones(n_out))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """A first vector from `generator`."""
        self.u.copy_(torch.randn(self.u.shape, generator=generator))

    def forward(self, weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        with torch.no_grad():
            v = F.normalize(matrix.T @ self.u, dim=0)
            u = F.normalize(matrix @ v, dim=0)
            if self.training:
                self.u.copy_(u)
        return weight / torch.dot(u, matrix @ v)


def normalise(network: nn.Module) -> nn.Module:
    """`network`, every linear and convolutional layer of it under `SpectralNorm`."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d)]
    for layer in layers:
        norm = SpectralNorm(layer.weight.shape[0])
        # unsafe: torch's check would compute with weights that are not there yet.
        parametrize.register_parametrization(layer, "weight", norm, unsafe=True)
    return network
