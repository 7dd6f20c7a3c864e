"""What each ONNX operator does to a value: one function an operator, in NODES.

A function takes (name, inputs, attributes); inputs are values of `vaelocity.importing.chain`, None
for one that is left out; among the attributes is "outputs", their number. https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vaelocity.importing import chain as c
from vaelocity.importing.chain import Dense, Noise, Opaque, UnsupportedNode, Value

Inputs = Sequence[Any]
Attributes = Mapping[str, Any]
Handler = Callable[[str, Inputs, Attributes], Any]


def gemm(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    if attributes.get("transA", 0):
        raise UnsupportedNode(f"{name}: transA")
    weight = c.constant(inputs[1], name) * attributes.get("alpha", 1.0)
    weight = weight if attributes.get("transB", 0) else weight.T
    bias = np.zeros(len(weight))
    if len(inputs) > 2 and inputs[2] is not None:
        shift = c.constant(inputs[2], name).reshape(-1) * attributes.get("beta", 1.0)
        bias = np.broadcast_to(shift, bias.shape).copy()
    return c.chain(inputs[0], name).then(Dense(weight, bias))


def matmul(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    weight = c.constant(inputs[1], name).T
    return c.chain(inputs[0], name).then(Dense(weight, np.zeros(len(weight))))


def batch_norm(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    if attributes.get("training_mode", 0):
        raise UnsupportedNode(f"{name}: a batch norm in training mode")
    return c.batch_norm(inputs[0], inputs[1:5], attributes.get("epsilon", 1e-5), name)


def leaky_relu(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    return c.activate(inputs[0], "leaky_relu", name, attributes.get("alpha", 0.01))


def elu(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    if attributes.get("alpha", 1.0) != 1.0:
        raise UnsupportedNode(f"{name}: an elu with alpha {attributes['alpha']:g}, expected 1")
    return c.activate(inputs[0], "elu", name)


def gelu(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    if attributes.get("approximate", b"none") != b"none":
        raise UnsupportedNode(f"{name}: an approximate gelu")
    return c.activate(inputs[0], "gelu", name)


def same(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    value: Value = inputs[0]
    return value


def dropout(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    if len(inputs) > 2 and inputs[2] is not None and bool(c.constant(inputs[2], name)):
        raise UnsupportedNode(f"{name}: dropout in training mode")
    value: Value = inputs[0]
    return value


def flatten(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    if attributes.get("axis", 1) not in (1, -1):
        raise UnsupportedNode(f"{name}: flattens the rows themselves")
    return c.chain(inputs[0], name)


def reshape(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    shape = _integers(inputs[1], name)
    if not isinstance(inputs[0], c.Chain):
        return c.constant(inputs[0], name).reshape(shape)
    if len(shape) != 2 or shape[1] not in (-1, inputs[0].width):
        raise UnsupportedNode(f"{name}: gives rows the shape {shape}, expected [n, d]")
    return inputs[0]


def transpose(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    return c.constant(inputs[0], name).transpose(attributes.get("perm"))


def split(name: str, inputs: Inputs, attributes: Attributes) -> tuple[c.Chain, ...]:
    x = c.chain(inputs[0], name)
    if attributes.get("axis", 0) not in (1, -1):
        raise UnsupportedNode(f"{name}: splits the rows")
    if "split" in attributes:  # before opset 13
        sizes = [int(size) for size in attributes["split"]]
    elif len(inputs) > 1 and inputs[1] is not None:
        sizes = _integers(inputs[1], name)
    else:
        parts = attributes["outputs"]
        sizes = [-(-x.width // parts)] * parts
    ends = np.cumsum(sizes)
    return tuple(x.columns(end - size, end) for end, size in zip(ends, sizes, strict=True))


def select_slice(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    x = c.chain(inputs[0], name)
    starts, ends, *rest = (
        None if value is None else _integers(value, name) for value in inputs[1:]
    )
    axes = [0] if not rest or rest[0] is None else rest[0]
    steps = [1] if len(rest) < 2 or rest[1] is None else rest[1]
    if starts is None or ends is None or axes not in ([1], [-1]) or steps != [1]:
        raise UnsupportedNode(f"{name}: a slice of rows, or one with steps")
    return x.columns(starts[0], min(ends[0], x.width))


def add(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    return c.add(inputs[0], inputs[1], name)


def subtract(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    return c.add(inputs[0], inputs[1], name, -1.0)


def multiply(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    return c.multiply(inputs[0], inputs[1], name)


def divide(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    return c.divide(inputs[0], inputs[1], name)


def noise(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    return Noise()


def opaque(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    return Opaque(name)


def activation(kind: str) -> Handler:
    """The function of an activation without parameters."""
    return lambda name, inputs, attributes: c.activate(inputs[0], kind, name)


NODES: dict[str, Handler] = {
    "Gemm": gemm,
    "MatMul": matmul,
    "BatchNormalization": batch_norm,
    "Relu": activation("relu"),
    "Tanh": activation("tanh"),
    "Sigmoid": activation("sigmoid"),
    "Swish": activation("silu"),
    "LeakyRelu": leaky_relu,
    "Elu": elu,
    "Gelu": gelu,
    "Identity": same,
    "Cast": same,
    "Dropout": dropout,
    "Flatten": flatten,
    "Reshape": reshape,
    "Transpose": transpose,
    "Split": split,
    "Slice": select_slice,
    "Add": add,
    "Sub": subtract,
    "Mul": multiply,
    "Div": divide,
    "RandomNormalLike": noise,
    "Exp": opaque,
    "Clip": opaque,
    "Sqrt": opaque,
    "Softplus": opaque,
}


def _integers(value: Any, name: str) -> list[int]:
    """A constant int64 tensor, exactly: the end of a slice may be the largest there is."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu":
        raise UnsupportedNode(f"{name}: expected constant integers")
    return [int(each) for each in value.reshape(-1)]
