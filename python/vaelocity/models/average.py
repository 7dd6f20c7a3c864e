"""The average of a network's weights over the steps of its training."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage(nn.Module):
    """A copy of a network whose weights follow it: mean += (1 - d) (weights - mean) a step.

    d = min(decay, (1 + k) / (10 + k)) at step k, so that the first weights are soon forgotten.
    What is not a parameter (running means) is taken over as it is. Calling it calls the copy.
    """

    updates: Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        # In float32 and on the device, where the weight of an update is made: nothing waits.
        self.register_buffer("updates", torch.tensor(0.0))

    def forward(self, *inputs: Any) -> Any:
        return self.network(*inputs)

    @torch.no_grad()
    def restart(self, network: nn.Module) -> None:
        """Begin at the weights of `network`."""
        self.network.load_state_dict(network.state_dict())
        self.updates.zero_()

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the weights of `network` after a step."""
        share = torch.clamp(9 / (10 + self.updates), min=1 - self.decay)
        self.updates += 1
        for mean, value in zip(self.network.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, share)
        for own, other in zip(self.network.buffers(), network.buffers(), strict=True):
            own.copy_(other)
