"""What each ONNX operator does to a value: one function an operator, in NODES.

A function takes (name, inputs, attributes); inputs are values of `vaelocity.importing.chain`, None
for one that is left out; among the attributes is "outputs", their number. https://onnx.ai/onnx/operators/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vaelocity.importing import chain as c
from vaelocity.importing import images
from vaelocity.importing.chain import Noise, Opaque, UnsupportedNode, Value
from vaelocity.importing.operations import Dense

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
    if attributes.get("axis", 1) not in (1, 1 - _rank(inputs[0], name)):
        raise UnsupportedNode(f"{name}: flattens the rows themselves")
    return c.chain(inputs[0], name).reshaped((-1,))


def reshape(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    shape = _integers(inputs[1], name)
    if not isinstance(inputs[0], c.Chain):
        return c.constant(inputs[0], name).reshape(shape)
    if not shape[1:]:
        raise UnsupportedNode(f"{name}: gives rows the shape {shape}, expected [n, ...]")
    rows = inputs[0].shape
    kept = [rows[i] if extent == 0 else extent for i, extent in enumerate(shape[1:])]
    return inputs[0].reshaped(kept)


def conv(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    return _conv(name, inputs, attributes, None)


def conv_transpose(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    if "output_shape" in attributes:
        raise UnsupportedNode(f"{name}: a transposed convolution with output_shape")
    ways = _rank(inputs[0], name) - 2
    return _conv(name, inputs, attributes, attributes.get("output_padding", [0] * ways))


def _conv(name: str, inputs: Inputs, attributes: Attributes, output_padding: Any) -> Value:
    ways = _rank(inputs[0], name) - 2
    return images.conv(
        inputs[0],
        inputs[1],
        inputs[2] if len(inputs) > 2 else None,
        name,
        stride=attributes.get("strides", [1] * ways),
        padding=_padding(name, attributes, ways),
        dilation=attributes.get("dilations", 1),
        groups=attributes.get("group", 1),
        output_padding=output_padding,
    )


def pool(op: str) -> Handler:
    """The function of a pool."""

    def handler(name: str, inputs: Inputs, attributes: Attributes) -> Value:
        ways = _rank(inputs[0], name) - 2
        padding = _padding(name, attributes, ways)
        unusual = attributes.get("ceil_mode", 0) or set(attributes.get("dilations", [1])) != {1}
        if unusual or attributes["outputs"] > 1 or attributes.get("storage_order", 0):
            raise UnsupportedNode(f"{name}: ceil_mode, dilations or indices of a pool")
        if op == "average_pool" and any(padding) and not attributes.get("count_include_pad", 0):
            raise UnsupportedNode(f"{name}: a mean that leaves the padding out")
        return images.pool(
            inputs[0],
            op,
            name,
            kernel=attributes["kernel_shape"],
            stride=attributes.get("strides", [1] * ways),
            padding=padding,
            ways=ways,
        )

    return handler


def global_average(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    return images.global_average(inputs[0], name)


def layer_norm(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    rank = _rank(inputs[0], name)
    axis = attributes.get("axis", -1)
    ways = -axis if axis < 0 else rank - axis
    bias = inputs[2] if len(inputs) > 2 else None
    epsilon = attributes.get("epsilon", 1e-5)
    return images.layer_norm(inputs[0], inputs[1], bias, epsilon, name, ways)


def group_norm(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    epsilon = attributes.get("epsilon", 1e-5)
    groups = attributes["num_groups"]
    if np.size(inputs[1]) == groups != c.chain(inputs[0], name).shape[0]:
        raise UnsupportedNode(f"{name}: weights of groups, as before opset 21")
    return images.group_norm(inputs[0], groups, inputs[1], inputs[2], epsilon, name)


def instance_norm(name: str, inputs: Inputs, attributes: Attributes) -> Value:
    epsilon = attributes.get("epsilon", 1e-5)
    groups = c.chain(inputs[0], name).shape[0]
    return images.group_norm(inputs[0], groups, inputs[1], inputs[2], epsilon, name)


def shape(name: str, inputs: Inputs, attributes: Attributes) -> Any:
    """[n, ...] as constants, -1 for n: what exporters reshape with."""
    start, end = attributes.get("start", 0), attributes.get("end")
    return np.array([-1, *c.chain(inputs[0], name).shape], np.int64)[start:end]


def of_constants(function: Callable[..., Any]) -> Handler:
    """An operator on constants alone; function(arrays, attributes)."""

    def handler(name: str, inputs: Inputs, attributes: Attributes) -> Value:
        for value in inputs:
            if not isinstance(value, np.ndarray):
                c.constant(value, name)
        return np.asarray(function(*inputs, **attributes))

    return handler


def _concat(*arrays: Any, axis: int, **_: Any) -> Any:
    return np.concatenate(arrays, axis)


def _gather(data: Any, indices: Any, axis: int = 0, **_: Any) -> Any:
    return np.take(data, indices.astype(np.int64), axis)


def _unsqueeze(data: Any, axes: Any, **_: Any) -> Any:
    return np.expand_dims(data, tuple(int(axis) for axis in axes))


def _squeeze(data: Any, axes: Any = None, **_: Any) -> Any:
    return np.squeeze(data, None if axes is None else tuple(int(axis) for axis in axes))


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
    starts, ends, *rest = (
        None if value is None else _integers(value, name) for value in inputs[1:]
    )
    axes = [0] if not rest or rest[0] is None else rest[0]
    steps = [1] if len(rest) < 2 or rest[1] is None else rest[1]
    if isinstance(inputs[0], np.ndarray) and inputs[0].ndim == 1 and starts and ends:
        return inputs[0][starts[0] : ends[0] : steps[0]]
    x = c.chain(inputs[0], name)
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
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": pool("max_pool"),
    "AveragePool": pool("average_pool"),
    "GlobalAveragePool": global_average,
    "LayerNormalization": layer_norm,
    "GroupNormalization": group_norm,
    "InstanceNormalization": instance_norm,
    "Flatten": flatten,
    "Reshape": reshape,
    "Shape": shape,
    "Concat": of_constants(_concat),
    "Gather": of_constants(_gather),
    "Unsqueeze": of_constants(_unsqueeze),
    "Squeeze": of_constants(_squeeze),
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


def _rank(value: Any, name: str) -> int:
    """Dimensions of a value, rows counted in."""
    return 1 + len(c.chain(value, name).shape)


def _padding(name: str, attributes: Attributes, ways: int) -> list[int]:
    """The same on both sides of a dimension."""
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise UnsupportedNode(f"{name}: auto_pad {attributes['auto_pad'].decode()}")
    pads = attributes.get("pads", [0] * (2 * ways))
    if pads[:ways] != pads[ways:]:
        raise UnsupportedNode(f"{name}: a padding of {pads}, expected the same on both sides")
    return list(pads[:ways])
