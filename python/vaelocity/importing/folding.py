"""Operations of a graph folded into layers: what is linear in a row becomes one, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

import numpy as np

from vaelocity.importing.operations import (
    Activation,
    Affine,
    Conv,
    Dense,
    Norm,
    Operation,
    Pool,
    Residual,
)

WIDEST_DIAGONAL = 4096
"""Columns that a constant for each may have as a dense layer of its own."""


@dataclass(frozen=True)
class Sum:
    """A step residual: the output of layer `source` of the part added, -1: what it begins with."""

    op: ClassVar[str] = "residual"
    source: int
    width: int


Body: TypeAlias = Dense | Conv | Pool | Norm | Sum


@dataclass(frozen=True, eq=False)
class Layer:
    """activation(body(x)), as a file holds it."""

    body: Body
    activation: str = "identity"
    slope: float = 0.01

    @property
    def width(self) -> int:
        """Values it makes of a row."""
        return self.body.width


def folded(operations: Sequence[Operation], width: int, first: int = 0) -> list[Layer]:
    """The layers of a part whose input is `width` wide and lies after `first` operations of the
    whole chain. Raises ValueError for a skip connection from before that."""
    folding = _Folding(width)
    sources = {each.source for each in operations if isinstance(each, Residual)}
    places: dict[int, int] = {}
    for at, operation in enumerate(operations, first):
        if at in sources:
            places[at] = folding.close()
        if isinstance(operation, Residual):
            if operation.source not in places:
                raise ValueError("outputs: a skip connection goes around the latent space")
            folding.put(Sum(places[operation.source], operation.width))
        else:
            folding.add(operation)
    folding.close()
    return folding.layers


def unit(width: int) -> Dense:
    """Leaves a row as it is."""
    return Dense(np.eye(width), np.zeros(width))


class _Folding:
    """Layers so far; what is linear and may still be folded; whether the last layer is free to take
    an activation or a constant for every channel."""

    def __init__(self, width: int) -> None:
        self.layers: list[Layer] = []
        self.width = width
        self.linear: Dense | None = None
        self.free = False

    def close(self) -> int:
        """Make a layer of what is linear; the place of the last layer, -1 if there is none."""
        if self.linear is not None:
            self.put(self.linear)
            self.linear = None
        self.free = False
        return len(self.layers) - 1

    def put(self, body: Body) -> None:
        """A layer that nothing is folded into but what may follow it."""
        if not isinstance(body, Dense):
            self.close()
        self.layers.append(Layer(body))
        self.width, self.free = body.width, True

    def add(self, operation: Dense | Affine | Activation | Conv | Pool | Norm) -> None:
        """One more operation."""
        if isinstance(operation, Activation):
            self._activate(operation)
        elif isinstance(operation, Affine):
            self._scale(operation)
        elif isinstance(operation, Dense):
            self._multiply(operation)
        else:
            self.put(operation)

    def _activate(self, operation: Activation) -> None:
        if self.linear is not None or not self.free:
            if self.linear is None:
                self.linear = unit(self.width) if self.width <= WIDEST_DIAGONAL else None
            body: Body = self.linear or Pool("max_pool", (1, 1, self.width), (1, 1), (1, 1), (0, 0))
            self.linear = None
            self.layers.append(Layer(body))
            self.width = body.width
        self.layers[-1] = replace(self.layers[-1], activation=operation.name, slope=operation.slope)
        self.free = False

    def _scale(self, operation: Affine) -> None:
        last = self.layers[-1].body if self.layers and self.free else None
        if self.linear is None and isinstance(last, Conv) and _of_channels(operation):
            self.layers[-1] = Layer(_scaled(last, operation))
            return
        if self.linear is None and isinstance(last, Norm):
            bias = operation.scale * last.bias + operation.shift
            self.layers[-1] = Layer(replace(last, weight=operation.scale * last.weight, bias=bias))
            return
        if self.linear is None and self.width > WIDEST_DIAGONAL:
            raise ValueError(
                f"a constant for each of {self.width} values, at most {WIDEST_DIAGONAL}"
            )
        base = self.linear or unit(self.width)
        weight = operation.scale[:, None] * base.weight
        self.linear = Dense(weight, operation.scale * base.bias + operation.shift)
        self.free = False

    def _multiply(self, operation: Dense) -> None:
        if self.linear is not None and _is_narrow(self.linear):
            # Two real layers stay two: their product would be larger where the latent space is
            # the narrow place between them.
            self.close()
        if self.linear is None:
            self.linear = operation
        else:
            bias = operation.weight @ self.linear.bias + operation.bias
            self.linear = Dense(operation.weight @ self.linear.weight, bias)
        self.width, self.free = self.linear.width, False


def _is_narrow(dense: Dense) -> bool:
    """A layer that is more than a constant for every column: not diagonal."""
    square = dense.weight.shape[0] == dense.weight.shape[1]
    return not square or bool(np.count_nonzero(dense.weight - np.diag(np.diag(dense.weight))))


def _of_channels(operation: Affine) -> bool:
    """One constant for all pixels of a channel."""
    shape = (operation.channels, -1)
    scale, shift = operation.scale.reshape(shape), operation.shift.reshape(shape)
    return bool((scale == scale[:, :1]).all() and (shift == shift[:, :1]).all())


def _scaled(conv: Conv, operation: Affine) -> Conv:
    channels = (operation.channels, -1)
    scale, shift = (each.reshape(channels)[:, 0] for each in (operation.scale, operation.shift))
    at = 0 if conv.op == "conv" else 1
    shape = [1, 1, 1, 1]
    shape[at] = -1
    return replace(conv, weight=conv.weight * scale.reshape(shape), bias=scale * conv.bias + shift)
