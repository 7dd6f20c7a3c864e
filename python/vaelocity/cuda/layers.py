"""The steps of a .vael file as a torch module, for networks that are not dense throughout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaelocity.steps import CONVOLUTIONS, POOLS

_ACTIVATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "identity": lambda x, slope: x,
    "relu": lambda x, slope: torch.relu(x),
    "leaky_relu": F.leaky_relu,
    "tanh": lambda x, slope: torch.tanh(x),
    "sigmoid": lambda x, slope: torch.sigmoid(x),
    "elu": lambda x, slope: F.elu(x),
    "silu": lambda x, slope: F.silu(x),
    "gelu": lambda x, slope: F.gelu(x),
}


class Layers(nn.Module):
    """The steps of an encoder or a decoder, as `vaelocity.steps` describes them.

    Called with standardised rows float32 [n, width], gives float32 [n, width of the last step].
    dtype: of the operands of convolutions and dense layers (and, but for float32, of what they
    give before the bias is added).
    """

    def __init__(
        self,
        steps: Sequence[Mapping[str, Any]],
        tensors: Mapping[str, npt.NDArray[Any]],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self._steps = [dict(step) for step in steps]
        self._dtype = dtype
        for i, step in enumerate(self._steps):
            for key in ("weight", "bias"):
                if key in step:
                    values = torch.from_numpy(np.array(tensors[step[key]]))
                    narrow = key == "weight" and step["op"] in ("dense", *CONVOLUTIONS)
                    self.register_buffer(f"{key}{i}", values.to(dtype) if narrow else values)
        self._added_later = {step["from"] for step in self._steps if step["op"] == "residual"}

    def forward(self, x: Tensor) -> Tensor:
        kept = {-1: x}
        for i, step in enumerate(self._steps):
            y = self._step(i, step, x, kept)
            x = _ACTIVATIONS[step.get("activation", "identity")](y, step.get("slope", 0.01))
            if i in self._added_later:
                kept[i] = x
        return x

    def _step(
        self, i: int, step: Mapping[str, Any], x: Tensor, kept: Mapping[int, Tensor]
    ) -> Tensor:
        op = step["op"]
        if op == "residual":
            return x + kept[step["from"]]
        if op in POOLS:
            # As in a file: what lies outside is 0 for the mean, and nothing for the largest.
            pool = F.max_pool2d if op == "max_pool" else F.avg_pool2d
            image = x.reshape(len(x), *step["input"])
            return pool(image, step["kernel"], step["stride"], step["padding"]).flatten(1)
        weight, bias = self.get_buffer(f"weight{i}"), self.get_buffer(f"bias{i}")
        if op == "layer_norm":
            pieces = x.reshape(len(x), step.get("groups", 1), -1)
            normed = F.layer_norm(pieces, pieces.shape[2:], eps=step["epsilon"])
            return normed.flatten(1) * weight + bias
        if op == "bound":
            return torch.where(weight > 0, weight * torch.tanh(x) + bias, x)
        return self._product(step, x.to(self._dtype), weight, bias)

    def _product(self, step: Mapping[str, Any], x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if step["op"] == "dense":
            return F.linear(x, weight).float() + bias
        image = x.reshape(len(x), *step["input"])
        where: dict[str, Any] = {"stride": step["stride"], "padding": step["padding"]}
        if step["op"] == "conv":
            made = F.conv2d(image, weight, **where)
        else:
            more = step["output_padding"]
            made = F.conv_transpose2d(image, weight, output_padding=more, **where)
        return (made.float() + bias[:, None, None]).flatten(1)
