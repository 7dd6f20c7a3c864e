"""What a graph's values are, while it is read: chains of operations from the input to here.

A chain is an immutable tuple of operations, so two values that share an encoder share its
operations by identity; that is how mu, logvar and the reconstruction of a VAE are told apart later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


class UnsupportedNode(ValueError):
    """A node of the graph that has no step in a .vael file; the message names it."""


@dataclass(frozen=True, eq=False)
class Dense:
    """y = x weight^T + bias; weight float64 [n_out, n_in], bias [n_out]."""

    weight: Float64
    bias: Float64


@dataclass(frozen=True, eq=False)
class Affine:
    """y = x * scale + shift, float64 [n] each: a batch norm, a constant added."""

    scale: Float64
    shift: Float64


@dataclass(frozen=True, eq=False)
class Activation:
    """One of vaelocity.structure.ACTIVATIONS; slope is leaky_relu's."""

    name: str
    slope: float = 0.01


Operation: TypeAlias = Dense | Affine | Activation


@dataclass(frozen=True, eq=False)
class Chain:
    """The input [n, n_features] after `operations`: [n, width]."""

    operations: tuple[Operation, ...]
    width: int

    def then(self, operation: Operation) -> Chain:
        """This chain with one more operation. Raises ValueError where the widths do not fit."""
        width = self.width
        if isinstance(operation, Dense):
            if operation.weight.ndim != 2 or operation.weight.shape[1] != width:
                raise ValueError(
                    f"weights of shape {operation.weight.shape} for {width} columns of input"
                )
            width = len(operation.weight)
        elif isinstance(operation, Affine) and len(operation.scale) != width:
            raise ValueError(f"{len(operation.scale)} constants for {width} columns")
        return Chain((*self.operations, operation), width)

    def affine(self, scale: Any, shift: Any) -> Chain:
        """x * scale + shift; a constant is a number, or one a column: [n], [1, n]."""
        return self.then(Affine(self._constant(scale), self._constant(shift)))

    def columns(self, start: int, stop: int) -> Chain:
        """Columns start to stop; negative and too large ones as in a Python slice."""
        chosen = np.arange(self.width)[start:stop]
        return self.then(Dense(np.eye(self.width)[chosen], np.zeros(len(chosen))))

    def _constant(self, value: Any) -> Float64:
        found = np.asarray(value, np.float64)
        flat = found.reshape(-1)
        if found.size not in (1, self.width) or found.shape[-1:] not in ((), (1,), (self.width,)):
            raise ValueError(f"a constant of shape {found.shape} for {self.width} columns")
        return np.broadcast_to(flat, (self.width,)).copy()


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
        raise UnsupportedNode(f"{node}: adds two values of the network (a skip connection)")
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
    return x.affine(gain, bias - gain * mean)


def _is_sigmoid_of(gate: Chain, x: Chain) -> bool:
    last = gate.operations[-1] if gate.operations else None
    same = len(gate.operations) == len(x.operations) + 1 and all(
        a is b for a, b in zip(gate.operations, x.operations, strict=False)
    )
    return same and isinstance(last, Activation) and last.name == "sigmoid"
