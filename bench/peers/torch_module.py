"""The score as a torch module, for the peers that are torch."""

from __future__ import annotations

import torch
from network import Network
from torch import nn


class ScoreModule(nn.Module):
    """rows float32 [n, n_features] -> score [n], as one would write it by hand."""

    mean: torch.Tensor
    inverse_scale: torch.Tensor

    def __init__(self, network: Network, inplace: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for layer in network.layers:
            linear = nn.Linear(layer.weight.shape[1], layer.weight.shape[0])
            weight, bias = torch.from_numpy(layer.weight), torch.from_numpy(layer.bias)
            linear.load_state_dict({"weight": weight, "bias": bias})
            layers.append(linear)
            if layer.relu:
                layers.append(nn.ReLU(inplace))
        self.layers = nn.Sequential(*layers)
        self.register_buffer("mean", torch.from_numpy(network.mean))
        self.register_buffer("inverse_scale", torch.from_numpy(network.inverse_scale))
        self.inplace = inplace
        self.eval()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if self.inplace:
            x = (rows - self.mean).mul_(self.inverse_scale)
            y: torch.Tensor = self.layers(x)
            return y.sub_(x).square_().sum(1).mul_(0.5)
        x = (rows - self.mean) * self.inverse_scale
        y = self.layers(x)
        return 0.5 * (y - x).square().sum(1)
