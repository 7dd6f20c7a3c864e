"""Dense layers: Linear, then batch norm if asked for, then the activation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaelocity.steps import ACTIVATIONS

LEAKY_RELU_SLOPE = 0.01

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": torch.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, LEAKY_RELU_SLOPE),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": F.elu,
    "silu": F.silu,
    "gelu": F.gelu,
}


def activation_name(activation: str | None) -> str:
    """The name as it stands in a file; None is "identity". Raises ValueError if unknown."""
    name = "identity" if activation is None else activation
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return name


def activated(x: Tensor, activation: str) -> Tensor:
    """The activation of that name of x."""
    return _FUNCTIONS[activation](x)


class Dense(nn.Module):
    """activation(batch_norm(x W^T + b)); x: [n, n_in], result [n, n_out]."""

    def __init__(self, n_in: int, n_out: int, activation: str, batch_norm: bool) -> None:
        super().__init__()
        # skip_init: torch.nn.Linear would draw from torch's global random numbers.
        self.linear: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, n_in, n_out, bias=not batch_norm
        )
        self.norm = nn.BatchNorm1d(n_out) if batch_norm else None
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.linear(x)
        if self.norm is not None:
            h = self.norm(h)
        return activated(h, self.activation)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Weights and bias uniform in +-1/sqrt(n_in), as torch.nn.Linear's own, from `generator`.

        Drawn on the CPU, so that a seed gives the same weights on every device.
        """
        bound = 1 / math.sqrt(self.linear.in_features)
        for parameter in self.linear.parameters():
            drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
            parameter.copy_(drawn)
        if self.norm is not None:
            self.norm.reset_parameters()

    def folded(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Weight [n_out, n_in] and bias [n_out] with the batch norm folded in, in float64."""
        weight = _float64(self.linear.weight)
        if self.norm is None:
            return weight.astype(np.float32), _float64(self.linear.bias).astype(np.float32)
        assert self.norm.running_mean is not None
        assert self.norm.running_var is not None
        gain = _float64(self.norm.weight) / np.sqrt(_float64(self.norm.running_var) + self.norm.eps)
        bias = _float64(self.norm.bias) - gain * _float64(self.norm.running_mean)
        return (gain[:, None] * weight).astype(np.float32), bias.astype(np.float32)

    @torch.no_grad()
    def set_folded(self, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]) -> None:
        """The inverse of `folded`, for a layer without batch norm."""
        self.linear.weight.copy_(torch.from_numpy(weight))
        self.linear.bias.copy_(torch.from_numpy(bias))


def _float64(tensor: Tensor) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = tensor.detach().cpu().double().numpy()
    return values


class Network(nn.Sequential):
    """Dense layers from widths[0] to widths[-1], none for fewer than two widths; the last is linear
    and has no batch norm."""

    def __init__(self, widths: Sequence[int], activation: str, batch_norm: bool) -> None:
        last = len(widths) - 2
        names = [activation] * last + ["identity"] if last >= 0 else []
        super().__init__(
            *(
                Dense(widths[i], widths[i + 1], name, batch_norm and i != last)
                for i, name in enumerate(names)
            )
        )

    def dense(self) -> list[Dense]:
        """The layers in order."""
        return [layer for layer in self if isinstance(layer, Dense)]
