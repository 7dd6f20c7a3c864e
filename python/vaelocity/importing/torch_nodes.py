"""What each node of an exported torch graph does to a value: one function a node, in NODES.

A function takes (name, arguments): the node's name for errors, and its arguments, where tensors
are values of `vaelocity.importing.chain`. A new operator is a function and a line in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vaelocity.importing import chain as c
from vaelocity.importing.chain import Dense, Noise, Opaque, UnsupportedNode, Value

Handler = Callable[[str, Sequence[Any]], Value]


def linear(name: str, args: Sequence[Any]) -> Value:
    x, weight = c.chain(args[0], name), c.constant(args[1], name)
    bias = np.zeros(len(weight)) if _get(args, 2) is None else c.constant(args[2], name)
    return x.then(Dense(weight, bias))


def addmm(name: str, args: Sequence[Any]) -> Value:
    bias, x, weight = args
    return linear(name, (x, c.constant(weight, name).T, bias))


def matmul(name: str, args: Sequence[Any]) -> Value:
    return linear(name, (args[0], c.constant(args[1], name).T))


def transpose(name: str, args: Sequence[Any]) -> Value:
    return c.constant(args[0], name).T


def batch_norm(name: str, args: Sequence[Any]) -> Value:
    # x, weight, bias, running mean, running var, training, momentum, eps, ...
    if args[5] or args[3] is None:
        raise UnsupportedNode(f"{name}: a batch norm without running statistics")
    return c.batch_norm(args[0], args[1:5], float(args[7]), name)


def dropout(name: str, args: Sequence[Any]) -> Value:
    if args[2]:
        raise UnsupportedNode(f"{name}: dropout in training mode")
    same: Value = args[0]
    return same


def same(name: str, args: Sequence[Any]) -> Value:
    value: Value = args[0]
    return value


def flatten(name: str, args: Sequence[Any]) -> Value:
    """Rows are flat already, so any shape with the same columns leaves them as they are."""
    x = c.chain(args[0], name)
    shape = _get(args, 1)
    if isinstance(shape, (list, tuple)) and (len(shape) != 2 or shape[1] not in (-1, x.width)):
        raise UnsupportedNode(f"{name}: gives rows the shape {list(shape)}, expected [n, d]")
    return x


def leaky_relu(name: str, args: Sequence[Any]) -> Value:
    slope = _get(args, 1)
    return c.activate(args[0], "leaky_relu", name, 0.01 if slope is None else float(slope))


def elu(name: str, args: Sequence[Any]) -> Value:
    if any(_get(args, i) not in (None, 1, 1.0) for i in (1, 2, 3)):
        raise UnsupportedNode(f"{name}: an elu with alpha {args[1]}, expected 1")
    return c.activate(args[0], "elu", name)


def gelu(name: str, args: Sequence[Any]) -> Value:
    if _get(args, 1) not in (None, "none"):
        raise UnsupportedNode(f"{name}: a gelu with approximation {args[1]!r}, expected none")
    return c.activate(args[0], "gelu", name)


def add(name: str, args: Sequence[Any]) -> Value:
    return c.add(args[0], args[1], name, float(_alpha(args)))


def subtract(name: str, args: Sequence[Any]) -> Value:
    return c.add(args[0], args[1], name, -float(_alpha(args)))


def multiply(name: str, args: Sequence[Any]) -> Value:
    return c.multiply(args[0], args[1], name)


def divide(name: str, args: Sequence[Any]) -> Value:
    return c.divide(args[0], args[1], name)


def noise(name: str, args: Sequence[Any]) -> Value:
    return Noise()


def opaque(name: str, args: Sequence[Any]) -> Value:
    return Opaque(name)


def chunk(name: str, args: Sequence[Any]) -> Value:
    x = c.chain(args[0], name)
    size = -(-x.width // int(args[1]))
    return _parts(name, x, [size] * int(args[1]), _get(args, 2, 0))


def split(name: str, args: Sequence[Any]) -> Value:
    x = c.chain(args[0], name)
    sizes = args[1]
    if isinstance(sizes, int):
        sizes = [sizes] * -(-x.width // sizes)
    return _parts(name, x, sizes, _get(args, 2, 0))


def select_slice(name: str, args: Sequence[Any]) -> Value:
    x = c.chain(args[0], name)
    dim, start, stop = _get(args, 1, 0), _get(args, 2, 0) or 0, _get(args, 3)
    whole = start == 0 and (stop is None or stop > 1 << 60)
    if dim == 0 and whole:
        return x
    if dim not in (1, -1) or _get(args, 4, 1) != 1:
        raise UnsupportedNode(f"{name}: a slice of rows, or one with steps")
    return x.columns(start, x.width if stop is None else min(stop, x.width))


def getitem(name: str, args: Sequence[Any]) -> Value:
    value: Value = args[0][args[1]]
    return value


def activation(kind: str) -> Handler:
    """The function of an activation without parameters."""
    return lambda name, args: c.activate(args[0], kind, name)


NODES: dict[str, Handler] = {
    "aten.linear": linear,
    "aten.addmm": addmm,
    "aten.mm": matmul,
    "aten.matmul": matmul,
    "aten.t": transpose,
    "aten.permute": transpose,
    "aten.numpy_T": transpose,
    "aten.batch_norm": batch_norm,
    "aten.dropout": dropout,
    "aten.dropout_": dropout,
    "aten.clone": same,
    "aten.alias": same,
    "aten.detach": same,
    "aten.detach_": same,
    "aten.contiguous": same,
    "aten.to": same,
    "aten._to_copy": same,
    "aten.lift_fresh_copy": same,
    "aten.flatten": lambda name, args: flatten(name, args[:1]),
    "aten.view": flatten,
    "aten.reshape": flatten,
    "aten.relu": activation("relu"),
    "aten.relu_": activation("relu"),
    "aten.tanh": activation("tanh"),
    "aten.sigmoid": activation("sigmoid"),
    "aten.silu": activation("silu"),
    "aten.silu_": activation("silu"),
    "aten.leaky_relu": leaky_relu,
    "aten.leaky_relu_": leaky_relu,
    "aten.elu": elu,
    "aten.elu_": elu,
    "aten.gelu": gelu,
    "aten.add": add,
    "aten.add_": add,
    "aten.sub": subtract,
    "aten.sub_": subtract,
    "aten.mul": multiply,
    "aten.mul_": multiply,
    "aten.div": divide,
    "aten.div_": divide,
    "aten.randn_like": noise,
    "aten.randn": noise,
    "aten.normal_": noise,
    "aten.normal": noise,
    "aten.empty_like": opaque,
    "aten.exp": opaque,
    "aten.clamp": opaque,
    "aten.softplus": opaque,
    "aten.sqrt": opaque,
    "aten.chunk": chunk,
    "aten.split": split,
    "aten.split_with_sizes": split,
    "aten.slice": select_slice,
    "<built-in function getitem>": getitem,
}


def _get(args: Sequence[Any], i: int, default: Any = None) -> Any:
    return args[i] if len(args) > i else default


def _alpha(args: Sequence[Any]) -> float:
    """The factor of the second operand: a keyword of aten.add, put behind its arguments."""
    return 1.0 if _get(args, 2) is None else args[2]


def _parts(name: str, x: c.Chain, sizes: Sequence[int], dim: int) -> tuple[c.Chain, ...]:
    if dim not in (1, -1):
        raise UnsupportedNode(f"{name}: splits the rows")
    at, parts = 0, []
    for size in sizes:
        if at < x.width:
            parts.append(x.columns(at, at + size))
        at += size
    return tuple(parts)
