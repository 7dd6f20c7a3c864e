"""The steps of a network as nodes of an ONNX graph (opset 18); needs onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vaelocity.steps import CONVOLUTIONS, POOLS, output_image, output_width

OPSET = 18
IR_VERSION = 10

_OPERATORS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "elu": "Elu"}

Step = Mapping[str, Any]
Tensors = Mapping[str, npt.NDArray[Any]]


class Graph:
    """Nodes and constants of one graph; every method gives the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, npt.NDArray[Any]] = {"axis": np.array([1], np.int64)}

    def node(
        self, operator: str, *inputs: str, output: str | None = None, **attributes: Any
    ) -> str:
        """A node with one output."""
        from onnx import helper

        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        """A float32 initializer."""
        self.constants[name] = np.asarray(value, np.float32)
        return name

    def mask(self, name: str, value: Any) -> str:
        """A bool initializer."""
        self.constants[name] = np.asarray(value, np.bool_)
        return name

    def shape(self, value: str, *extents: int) -> str:
        """Every row of `value` in another shape."""
        name = "x".join(("shape", *map(str, extents)))
        self.constants[name] = np.array([-1, *extents], np.int64)
        return self.node("Reshape", value, name)

    def total(self, operator: str, value: str) -> str:
        """`operator` ReduceSum or ReduceSumSquare over the features: [n, d] -> [n]."""
        return self.node(operator, value, "axis", keepdims=0)

    def half(self, value: str) -> str:
        """1/2 value."""
        return self.node("Mul", value, self.constant("half", 0.5))

    def initializers(self) -> list[Any]:
        """The constants as ONNX has them."""
        from onnx import numpy_helper

        return [numpy_helper.from_array(array, name) for name, array in self.constants.items()]


class _Value(NamedTuple):
    """A result: its name, and the shape that its rows have there."""

    name: str
    shape: tuple[int, ...]


def add_steps(
    graph: Graph, steps: Sequence[Step], part: str, tensors: Tensors, rows: str, width: int
) -> str:
    """The checked steps of a part, from `rows` [n, width] on; images keep their shape from a
    convolution or pool to the next."""
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    values = [_Value(rows, (width,))]
    for i, step in enumerate(steps):
        width = output_width(step, shapes, width)
        value = _ADD[step["op"]](graph, step, f"{part}.{i}", tensors, values)
        values.append(value._replace(name=_activation(graph, value.name, step)))
    return _as(graph, values[-1], width)


def _as(graph: Graph, value: _Value, *shape: int) -> str:
    return value.name if value.shape == shape else graph.shape(value.name, *shape)


def _flat(graph: Graph, value: _Value) -> str:
    return _as(graph, value, prod(value.shape))


def _dense(
    graph: Graph, step: Step, where: str, tensors: Tensors, values: Sequence[_Value]
) -> _Value:
    weight = graph.constant(f"{where}.weight", tensors[step["weight"]])
    bias = graph.constant(f"{where}.bias", tensors[step["bias"]])
    name = graph.node(
        "Gemm", _flat(graph, values[-1]), weight, bias, output=f"{where}.dense", transB=1
    )
    return _Value(name, (len(tensors[step["bias"]]),))


def _conv(
    graph: Graph, step: Step, where: str, tensors: Tensors, values: Sequence[_Value]
) -> _Value:
    weight = graph.constant(f"{where}.weight", tensors[step["weight"]])
    bias = graph.constant(f"{where}.bias", tensors[step["bias"]])
    window: dict[str, Any] = {"strides": step["stride"], "pads": [*step["padding"]] * 2}
    kind = "Conv"
    if step["op"] == "conv_transpose":
        kind, window["output_padding"] = "ConvTranspose", step["output_padding"]
    image = _as(graph, values[-1], *step["input"])
    name = graph.node(kind, image, weight, bias, output=f"{where}.{step['op']}", **window)
    return _Value(name, output_image(step, {step["weight"]: tensors[step["weight"]].shape}))


def _pool(
    graph: Graph, step: Step, where: str, tensors: Tensors, values: Sequence[_Value]
) -> _Value:
    window: dict[str, Any] = {
        "kernel_shape": step["kernel"],
        "strides": step["stride"],
        "pads": [*step["padding"]] * 2,
    }
    kind = "MaxPool"
    if step["op"] == "average_pool":
        kind, window["count_include_pad"] = "AveragePool", 1
    image = _as(graph, values[-1], *step["input"])
    name = graph.node(kind, image, output=f"{where}.{step['op']}", **window)
    return _Value(name, output_image(step, {}))


def _layer_norm(
    graph: Graph, step: Step, where: str, tensors: Tensors, values: Sequence[_Value]
) -> _Value:
    weight = graph.constant(f"{where}.weight", tensors[step["weight"]])
    bias = graph.constant(f"{where}.bias", tensors[step["bias"]])
    epsilon, groups = float(np.float32(step["epsilon"])), step.get("groups", 1)
    rows, width = _flat(graph, values[-1]), prod(values[-1].shape)
    if groups == 1:
        name = graph.node("LayerNormalization", rows, weight, bias, epsilon=epsilon)
        return _Value(name, (width,))
    ones = graph.constant(f"{where}.ones", np.ones(width // groups))
    pieces = graph.shape(rows, groups, width // groups)
    normal = graph.shape(graph.node("LayerNormalization", pieces, ones, epsilon=epsilon), width)
    return _Value(graph.node("Add", graph.node("Mul", normal, weight), bias), (width,))


def _bound(
    graph: Graph, step: Step, where: str, tensors: Tensors, values: Sequence[_Value]
) -> _Value:
    width = prod(values[-1].shape)
    weight = graph.constant(f"{where}.weight", tensors[step["weight"]])
    bias = graph.constant(f"{where}.bias", tensors[step["bias"]])
    x = _flat(graph, values[-1])
    held = graph.node("Add", graph.node("Mul", graph.node("Tanh", x), weight), bias)
    mask = graph.mask(f"{where}.mask", tensors[step["weight"]] > 0)
    return _Value(graph.node("Where", mask, held, x), (width,))


def _residual(
    graph: Graph, step: Step, where: str, tensors: Tensors, values: Sequence[_Value]
) -> _Value:
    other, value = values[step["from"] + 1], values[-1]
    if other.shape == value.shape:
        return _Value(graph.node("Add", value.name, other.name), value.shape)
    added = graph.node("Add", _flat(graph, value), _flat(graph, other))
    return _Value(added, (prod(value.shape),))


_ADD = {
    "dense": _dense,
    **dict.fromkeys(CONVOLUTIONS, _conv),
    **dict.fromkeys(POOLS, _pool),
    "layer_norm": _layer_norm,
    "bound": _bound,
    "residual": _residual,
}


def _activation(graph: Graph, x: str, step: Step) -> str:
    name = step.get("activation", "identity")
    if name == "identity":
        return x
    if name == "leaky_relu":
        return graph.node("LeakyRelu", x, alpha=float(step.get("slope", 0.01)))
    if name == "silu":
        return graph.node("Mul", x, graph.node("Sigmoid", x))
    if name == "gelu":
        # x / 2 * (1 + erf(x / sqrt 2)): an operator of its own only from opset 20 on.
        root = graph.constant("sqrt_half", np.sqrt(0.5))
        erf = graph.node("Erf", graph.node("Mul", x, root))
        one = graph.constant("one", 1.0)
        return graph.node("Mul", graph.half(x), graph.node("Add", erf, one))
    return graph.node(_OPERATORS[name], x)
