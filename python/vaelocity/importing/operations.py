"""What a chain is made of: one operation of the original each, constants in float64."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from vaelocity.steps import Image, output_image

Float64 = npt.NDArray[np.float64]
Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Dense:
    """y = x weight^T + bias; weight [n_out, n_in], bias [n_out]."""

    op: ClassVar[str] = "dense"
    weight: Float64
    bias: Float64

    @property
    def width(self) -> int:
        """Values it makes of a row."""
        return len(self.weight)


@dataclass(frozen=True, eq=False)
class Affine:
    """y = x * scale + shift, [n] each: a batch norm, a constant added. channels: of the image that
    x is, 1 where it is none."""

    scale: Float64
    shift: Float64
    channels: int = 1

    @property
    def width(self) -> int:
        """Values it makes of a row."""
        return len(self.scale)


@dataclass(frozen=True, eq=False)
class Activation:
    """One of vaelocity.structure.ACTIVATIONS; slope is leaky_relu's."""

    name: str
    slope: float = 0.01


@dataclass(frozen=True, eq=False)
class Conv:
    """A step conv or conv_transpose of an image; weight [out, in, y, x], of a transposed one
    [in, out, y, x]."""

    weight: Float64
    bias: Float64
    input: Image
    stride: Pair
    padding: Pair
    output_padding: Pair | None = None

    @property
    def op(self) -> str:
        """The step's name."""
        return "conv" if self.output_padding is None else "conv_transpose"

    @property
    def output(self) -> Image:
        """The image that it makes."""
        step: dict[str, Any] = {"op": self.op, "input": self.input, "weight": ""}
        step |= {"stride": self.stride, "padding": self.padding}
        step["output_padding"] = self.output_padding
        return output_image(step, {"": self.weight.shape})

    @property
    def width(self) -> int:
        """Values it makes of a row."""
        return prod(self.output)


@dataclass(frozen=True, eq=False)
class Pool:
    """A step max_pool or average_pool of an image."""

    op: str
    input: Image
    kernel: Pair
    stride: Pair
    padding: Pair

    @property
    def output(self) -> Image:
        """The image that it makes."""
        step = {"op": self.op, "input": self.input, "kernel": self.kernel}
        return output_image({**step, "stride": self.stride, "padding": self.padding}, {})

    @property
    def width(self) -> int:
        """Values it makes of a row."""
        return prod(self.output)


@dataclass(frozen=True, eq=False)
class Norm:
    """A step layer_norm: over each of `groups` equal pieces of the row; weight, bias [n]."""

    op: ClassVar[str] = "layer_norm"
    weight: Float64
    bias: Float64
    epsilon: float
    groups: int = 1

    @property
    def width(self) -> int:
        """Values it makes of a row."""
        return len(self.weight)


@dataclass(frozen=True, eq=False)
class Residual:
    """The value after the first `source` operations added to this one, [n]."""

    source: int
    width: int


Operation: TypeAlias = Dense | Affine | Activation | Conv | Pool | Norm | Residual
