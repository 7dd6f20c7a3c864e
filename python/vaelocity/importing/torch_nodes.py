"""What each node of an exported torch graph does to a value: one function a node, in NODES.

A function takes (name, arguments): the node's name for errors, and its arguments, where tensors
are values of `vaelocity.importing.chain`. A new operator is a function and a line in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vaelocity.importing import chain as c
from vaelocity.importing import images
from vaelocity.importing.chain import Noise, Opaque, UnsupportedNode, Value
from vaelocity.importing.operations import Dense

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
    """x, start, end: dimensions that become one; the rows themselves stay."""
    x = c.chain(args[0], name)
    rank = 1 + len(x.shape)
    start, end = (int(each) % rank for each in (_get(args, 1, 0), _get(args, 2, -1)))
    if start == 0:
        raise UnsupportedNode(f"{name}: flattens the rows themselves")
    return x.reshaped((*x.shape[: start - 1], -1, *x.shape[end:]))


def view(name: str, args: Sequence[Any]) -> Value:
    """x, shape, of which the first extent is that of the rows."""
    if not isinstance(args[1], (list, tuple)) or len(args[1]) < 2:
        raise UnsupportedNode(f"{name}: gives rows the shape {args[1]}, expected [n, ...]")
    return c.chain(args[0], name).reshaped(args[1][1:])


def unflatten(name: str, args: Sequence[Any]) -> Value:
    x, dim, sizes = c.chain(args[0], name), int(args[1]), args[2]
    place = dim - 1 if dim > 0 else len(x.shape) + dim
    if dim == 0 or place < 0:
        raise UnsupportedNode(f"{name}: unflattens the rows themselves")
    return x.reshaped((*x.shape[:place], *sizes, *x.shape[place + 1 :]))


def conv(name: str, args: Sequence[Any]) -> Value:
    """x, weight, bias, stride, padding, dilation, groups."""
    if isinstance(_get(args, 4), str):
        raise UnsupportedNode(f"{name}: padding {args[4]!r}, expected numbers")
    return images.conv(
        args[0],
        args[1],
        _get(args, 2),
        name,
        stride=_get(args, 3, 1),
        padding=_get(args, 4, 0),
        dilation=_get(args, 5, 1),
        groups=_get(args, 6, 1),
    )


def conv_transpose(name: str, args: Sequence[Any]) -> Value:
    """x, weight, bias, stride, padding, output_padding, groups, dilation."""
    return images.conv(
        args[0],
        args[1],
        _get(args, 2),
        name,
        stride=_get(args, 3, 1),
        padding=_get(args, 4, 0),
        output_padding=_get(args, 5, 0),
        groups=_get(args, 6, 1),
        dilation=_get(args, 7, 1),
    )


def max_pool(ways: int) -> Handler:
    """x, kernel, stride, padding, dilation, ceil_mode."""

    def handler(name: str, args: Sequence[Any]) -> Value:
        if _get(args, 5) or any(each != 1 for each in np.atleast_1d(_get(args, 4, 1))):
            raise UnsupportedNode(f"{name}: ceil_mode or dilation of a pool")
        return _pool(name, "max_pool", args, ways)

    return handler


def average_pool(ways: int) -> Handler:
    """x, kernel, stride, padding, ceil_mode, count_include_pad, divisor."""

    def handler(name: str, args: Sequence[Any]) -> Value:
        padded = bool(np.any(_get(args, 3, 0)))
        if _get(args, 4) or _get(args, 6) or (padded and not _get(args, 5, True)):
            raise UnsupportedNode(f"{name}: ceil_mode, a divisor, or a mean without the padding")
        return _pool(name, "average_pool", args, ways)

    return handler


def _pool(name: str, op: str, args: Sequence[Any], ways: int) -> Value:
    return images.pool(
        args[0],
        op,
        name,
        kernel=args[1],
        stride=_get(args, 2),
        padding=_get(args, 3, 0),
        ways=ways,
    )


def adaptive_average(name: str, args: Sequence[Any]) -> Value:
    if any(each != 1 for each in np.atleast_1d(args[1])):
        raise UnsupportedNode(f"{name}: gives {args[1]} pixels, expected one a channel")
    return images.global_average(args[0], name)


def layer_norm(name: str, args: Sequence[Any]) -> Value:
    """x, shape, weight, bias, eps."""
    weight, bias = _get(args, 2), _get(args, 3)
    return images.layer_norm(args[0], weight, bias, _get(args, 4, 1e-5), name, len(args[1]))


def group_norm(name: str, args: Sequence[Any]) -> Value:
    """x, groups, weight, bias, eps."""
    weight, bias = _get(args, 2), _get(args, 3)
    return images.group_norm(args[0], args[1], weight, bias, _get(args, 4, 1e-5), name)


def instance_norm(name: str, args: Sequence[Any]) -> Value:
    """x, weight, bias, running mean, running var, use_input_stats, momentum, eps, ..."""
    if not args[5]:
        raise UnsupportedNode(f"{name}: an instance norm with running statistics")
    groups = c.chain(args[0], name).shape[0]
    return images.group_norm(args[0], groups, args[1], args[2], args[7], name)


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
    "aten.flatten": flatten,
    "aten.view": view,
    "aten.reshape": view,
    "aten.unflatten": unflatten,
    "aten.conv1d": conv,
    "aten.conv2d": conv,
    "aten.conv_transpose1d": conv_transpose,
    "aten.conv_transpose2d": conv_transpose,
    "aten.max_pool1d": max_pool(1),
    "aten.max_pool2d": max_pool(2),
    "aten.avg_pool1d": average_pool(1),
    "aten.avg_pool2d": average_pool(2),
    "aten.adaptive_avg_pool1d": adaptive_average,
    "aten.adaptive_avg_pool2d": adaptive_average,
    "aten.layer_norm": layer_norm,
    "aten.group_norm": group_norm,
    "aten.instance_norm": instance_norm,
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
