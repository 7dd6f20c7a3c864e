"""The layers of a frozen network as plain arrays, each computed in float64 NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.steps import CONVOLUTIONS, POOLS, Image, output_image

__all__ = ["ACTIVATIONS", "Bound", "Conv", "Dense", "Layer", "Pool", "layer_of"]

Rows = npt.NDArray[np.float32]
Exact = npt.NDArray[np.float64]
Pair = tuple[int, int]

_erf = np.vectorize(math.erf, otypes=[np.float64])

ACTIVATIONS: dict[str, Callable[[Exact, float], Exact]] = {
    "identity": lambda x, _: x,
    "relu": lambda x, _: np.maximum(x, 0),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "tanh": lambda x, _: np.tanh(x),
    "sigmoid": lambda x, _: 1 / (1 + np.exp(-x)),
    "elu": lambda x, _: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "silu": lambda x, _: x / (1 + np.exp(-x)),
    "gelu": lambda x, _: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
}


@dataclass(frozen=True)
class Dense:
    """activation(weight x + bias), weight [out, in]. slope: of leaky_relu."""

    weight: Rows
    bias: Rows
    activation: str
    slope: float = 0.01

    @property
    def width(self) -> int:
        """Values it makes of a row."""
        return len(self.bias)

    @property
    def products(self) -> int:
        """Of a row."""
        return self.weight.size

    def __call__(self, x: Exact) -> Exact:
        y = x @ self.weight.T.astype(np.float64) + self.bias
        return ACTIVATIONS[self.activation](y, self.slope)


@dataclass(frozen=True)
class Conv:
    """A convolution of an image in a row, weight [out, in, y, x]; where `transposed`, a transposed
    one, weight [in, out, y, x]."""

    weight: Rows
    bias: Rows
    activation: str
    slope: float
    input: Image
    output: Image
    stride: Pair
    padding: Pair
    output_padding: Pair
    transposed: bool

    @property
    def width(self) -> int:
        """Values it makes of a row."""
        return math.prod(self.output)

    @property
    def products(self) -> int:
        """Of a row; those with the zeros around the image are left out, as the scorer does."""
        pairs = 1
        for axis in (0, 1):
            few, many = self.input[1 + axis], self.output[1 + axis]
            if not self.transposed:
                few, many = many, few
            # Place i of the image with fewer pixels meets i * stride - padding + k of the other.
            first = np.arange(few)[:, None] * self.stride[axis] - self.padding[axis]
            met = first + np.arange(self.weight.shape[2 + axis])
            pairs *= int(((met >= 0) & (met < many)).sum())
        channels: int = self.weight.shape[0] * self.weight.shape[1]
        return channels * pairs

    def __call__(self, x: Exact) -> Exact:
        image = x.reshape(-1, *self.input)
        weight = self.weight.astype(np.float64)
        (sy, sx), (py, px), (_, height, width) = self.stride, self.padding, self.output
        n = len(image)
        if not self.transposed:
            image = np.pad(image, ((0, 0), (0, 0), (py, py), (px, px)))
            y = np.zeros((n, *self.output))
            for ky, kx in np.ndindex(*weight.shape[2:]):
                seen = image[:, :, ky:, kx:][:, :, ::sy, ::sx][:, :, :height, :width]
                y += np.einsum("oi,nihw->nohw", weight[:, :, ky, kx], seen)
        else:
            # Every input pixel adds its kernel; what lies in the padding is cut off.
            whole = np.zeros((n, self.output[0], height + 2 * py, width + 2 * px))
            _, rows, columns = self.input
            for ky, kx in np.ndindex(*weight.shape[2:]):
                reached = whole[:, :, ky:, kx:][:, :, ::sy, ::sx][:, :, :rows, :columns]
                reached += np.einsum("io,nihw->nohw", weight[:, :, ky, kx], image)
            y = whole[:, :, py : py + height, px : px + width]
        y = y + self.bias[:, None, None]
        return ACTIVATIONS[self.activation](y.reshape(n, -1), self.slope)


@dataclass(frozen=True)
class Pool:
    """The largest or the mean of a window, zeros around the image included in the mean."""

    maximum: bool
    activation: str
    slope: float
    input: Image
    output: Image
    kernel: Pair
    stride: Pair
    padding: Pair

    @property
    def width(self) -> int:
        """Values it makes of a row."""
        return math.prod(self.output)

    @property
    def products(self) -> int:
        """None: additions and comparisons are not counted."""
        return 0

    def __call__(self, x: Exact) -> Exact:
        image = x.reshape(-1, *self.input)
        (sy, sx), (py, px), (_, height, width) = self.stride, self.padding, self.output
        around = -np.inf if self.maximum else 0.0
        wide = ((0, 0), (0, 0), (py, py), (px, px))
        image = np.pad(image, wide, constant_values=around)
        seen = np.stack(
            [
                image[:, :, ky:, kx:][:, :, ::sy, ::sx][:, :, :height, :width]
                for ky, kx in np.ndindex(*self.kernel)
            ]
        )
        y: Exact = seen.max(axis=0) if self.maximum else seen.mean(axis=0)
        return ACTIVATIONS[self.activation](y.reshape(len(image), -1), self.slope)


@dataclass(frozen=True)
class Bound:
    """activation(weight tanh(x) + bias) where weight [width] is positive, else activation(x)."""

    weight: Rows
    bias: Rows
    activation: str
    slope: float = 0.01

    @property
    def width(self) -> int:
        """Values it makes of a row."""
        return len(self.bias)

    @property
    def products(self) -> int:
        """None: an activation is not counted."""
        return 0

    def __call__(self, x: Exact) -> Exact:
        held = np.where(self.weight > 0, self.weight * np.tanh(x) + self.bias, x)
        return ACTIVATIONS[self.activation](held, self.slope)


Layer = Dense | Conv | Pool | Bound


def layer_of(step: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Layer:
    """The layer of a checked step. Raises KeyError for one that this module does not know."""
    activation, slope = step.get("activation", "identity"), float(step.get("slope", 0.01))
    if step["op"] == "dense":
        return Dense(tensors[step["weight"]], tensors[step["bias"]], activation, slope)
    if step["op"] == "bound":
        return Bound(tensors[step["weight"]], tensors[step["bias"]], activation, slope)
    if step["op"] not in CONVOLUTIONS + POOLS:
        raise KeyError(step["op"])
    output = output_image(step, {name: tensor.shape for name, tensor in tensors.items()})
    channels, height, width = step["input"]
    image = (channels, height, width)
    stride, padding = _pair(step["stride"]), _pair(step["padding"])
    if step["op"] in POOLS:
        maximum, kernel = step["op"] == "max_pool", _pair(step["kernel"])
        return Pool(maximum, activation, slope, image, output, kernel, stride, padding)
    return Conv(
        tensors[step["weight"]],
        tensors[step["bias"]],
        activation,
        slope,
        image,
        output,
        stride,
        padding,
        _pair(step.get("output_padding", (0, 0))),
        step["op"] == "conv_transpose",
    )


def _pair(values: Any) -> Pair:
    return int(values[0]), int(values[1])
