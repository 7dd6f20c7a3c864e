"""What a graph's values are, while it is read: chains of operations from the input to here.

A chain is an immutable tuple of operations, so two values that share an encoder share its
operations by identity; that is how mu, logvar and the reconstruction of a VAE are told apart later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np

from vaelocity.importing.operations import (
    Activation,
    Affine,
    Conv,
    Dense,
    Float64,
    Operation,
    Pool,
    Residual,
)


class UnsupportedNode(ValueError):
    """A node of the graph that has no step in a .vael file; the message names it."""


@dataclass(frozen=True, eq=False)
class Chain:
    """The input [n, n_features] after `operations`: rows of `shape`, in C order in a file."""

    operations: tuple[Operation, ...]
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """Values of a row."""
        return prod(self.shape)

    def then(self, operation: Operation) -> Chain:
        """This chain with one more operation. Raises ValueError where the widths do not fit."""
        shape = self.shape
        if isinstance(operation, Dense):
            columns = operation.weight.shape[1] if operation.weight.ndim == 2 else 0
            if shape != (columns,):
                raise ValueError(
                    f"weights of shape {operation.weight.shape} for rows of shape {list(shape)}"
                )
            shape = (operation.width,)
        elif isinstance(operation, Conv | Pool):
            channels, *extents = operation.output
            if prod(operation.input) != self.width:
                raise ValueError(f"an image {operation.input} of rows {self.width} wide")
            shape = (channels, *extents[-(len(shape) - 1) :])
        elif not isinstance(operation, Activation) and operation.width != self.width:
            raise ValueError(f"{operation.width} constants for {self.width} columns")
        return Chain((*self.operations, operation), shape)

    def reshaped(self, shape: Sequence[int]) -> Chain:
        """The same values in rows of another shape. Raises ValueError where they do not fit."""
        wanted = [int(extent) for extent in shape]
        if wanted.count(-1) == 1:
            known = prod(extent for extent in wanted if extent != -1)
            wanted[wanted.index(-1)] = self.width // max(known, 1)
        if prod(wanted) != self.width:
            raise ValueError(f"rows of shape {list(self.shape)} as {list(shape)}")
        return Chain(self.operations, tuple(wanted))

    def affine(self, scale: Any, shift: Any) -> Chain:
        """x * scale + shift; a constant is a number, or what numpy broadcasts to a row's shape."""
        channels = self.shape[0] if len(self.shape) > 1 else 1
        return self.then(Affine(self._constant(scale), self._constant(shift), channels))

    def columns(self, start: int, stop: int) -> Chain:
        """Columns start to stop; negative and too large ones as in a Python slice."""
        if len(self.shape) != 1:
            raise ValueError("takes apart the channels of an image")
        chosen = np.arange(self.width)[start:stop]
        return self.then(Dense(np.eye(self.width)[chosen], np.zeros(len(chosen))))

    def _constant(self, value: Any) -> Float64:
        found = np.asarray(value, np.float64)
        if found.ndim == len(self.shape) + 1 and len(found) == 1:
            found = found[0]
        try:
            return np.broadcast_to(found, self.shape).reshape(-1)
        except ValueError:
            rows = list(self.shape)
            raise ValueError(f"a constant of shape {found.shape} for rows {rows}") from None


@dataclass(frozen=True)
class Noise:
    """Random numbers times anything. A score is taken without them: at z = mu."""


@dataclass(frozen=True)
class Opaque:
    """A value that may only scale noise, such as exp(logvar / 2).

    node: what made it, for the error where it is used otherwise.
    """

    node: str


Value: TypeAlias = Chain | Noise | Opaque | Float64 | tuple[Any, ...]


def constant(value: Any, node: str) -> Float64:
    """`value` as float64; UnsupportedNode where it depends on the input."""
    if isinstance(value, Chain | Noise | Opaque | tuple):
        raise UnsupportedNode(f"{node}: expected a constant, got a value computed from the input")
    return np.asarray(value, np.float64)


def chain(value: Any, node: str) -> Chain:
    """`value` as a chain; UnsupportedNode where it is none."""
    if isinstance(value, Chain):
        return value
    if isinstance(value, Opaque):
        raise UnsupportedNode(
            f"{value.node}: its result may only scale random noise, {node} uses it"
        )
    if isinstance(value, Noise):
        raise UnsupportedNode(f"{node}: takes random noise alone")
    raise UnsupportedNode(f"{node}: expected a value computed from the input, got a constant")


def add(a: Any, b: Any, node: str, sign: float = 1.0) -> Value:
    """a + sign * b."""
    if isinstance(b, Noise):
        return a if isinstance(a, Noise) else chain(a, node)
    if isinstance(a, Noise):
        return add(b, a, node) if sign == 1 else chain(b, node).affine(sign, 0.0)
    if isinstance(a, Opaque) or isinstance(b, Opaque):
        return Opaque(a.node if isinstance(a, Opaque) else b.node)
    if isinstance(a, Chain) and isinstance(b, Chain):
        return _skip(a, b, node)
    if isinstance(a, Chain):
        return a.affine(1.0, sign * constant(b, node))
    if isinstance(b, Chain):
        return b.affine(sign, constant(a, node))
    return constant(a, node) + sign * constant(b, node)


def multiply(a: Any, b: Any, node: str) -> Value:
    """a * b."""
    if isinstance(a, Noise) or isinstance(b, Noise):
        return Noise()
    if isinstance(a, Opaque) or isinstance(b, Opaque):
        return Opaque(a.node if isinstance(a, Opaque) else b.node)
    if isinstance(a, Chain) and isinstance(b, Chain):
        for x, gate in ((a, b), (b, a)):
            if _is_sigmoid_of(gate, x):
                return x.then(Activation("silu"))
        raise UnsupportedNode(f"{node}: multiplies two values of the network")
    if isinstance(a, Chain):
        return a.affine(constant(b, node), 0.0)
    if isinstance(b, Chain):
        return b.affine(constant(a, node), 0.0)
    return constant(a, node) * constant(b, node)


def divide(a: Any, b: Any, node: str) -> Value:
    """a / b, b a constant."""
    return multiply(a, 1.0 / constant(b, node), node)


def activate(value: Any, name: str, node: str, slope: float = 0.01) -> Chain:
    """An activation of the file on a value."""
    return chain(value, node).then(Activation(name, slope))


def batch_norm(value: Any, statistics: Sequence[Any], eps: float, node: str) -> Chain:
    """(x - mean) / sqrt(var + eps) * weight + bias; statistics: weight, bias, mean, var, each [n]
    or None for what leaves x as it is."""
    x = chain(value, node)
    defaults = (1.0, 0.0, 0.0, 1.0)
    weight, bias, mean, var = (
        constant(default if given is None else given, node)
        for given, default in zip(statistics, defaults, strict=True)
    )
    gain = weight / np.sqrt(var + eps)
    shift = bias - gain * mean
    of_channels = (-1, *(1 for _ in x.shape[1:]))
    return x.affine(np.reshape(gain, of_channels), np.reshape(shift, of_channels))


def _skip(a: Chain, b: Chain, node: str) -> Chain:
    """x + f(x): the value that the other one was computed from is added to it."""
    whole, source = (a, b) if len(a.operations) > len(b.operations) else (b, a)
    at = len(source.operations)
    shared = zip(whole.operations, source.operations, strict=False)
    if any(mine is not other for mine, other in shared) or whole.shape != source.shape:
        raise UnsupportedNode(
            f"{node}: adds two values of the network, of which neither is computed from the other"
        )
    if at == len(whole.operations):
        return whole.affine(2.0, 0.0)
    return whole.then(Residual(at, whole.width))


def _is_sigmoid_of(gate: Chain, x: Chain) -> bool:
    last = gate.operations[-1] if gate.operations else None
    same = len(gate.operations) == len(x.operations) + 1 and all(
        a is b for a, b in zip(gate.operations, x.operations, strict=False)
    )
    return same and isinstance(last, Activation) and last.name == "sigmoid"
