"""The score as an ONNX graph, for the peers that read ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from vaelocity.frozen import Network
from vaelocity.frozen_layers import Dense, Layer, Pool
from vaelocity.steps import Image

_OPERATORS = {
    "relu": "Relu",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "elu": "Elu",
    "gelu": "Gelu",
    "leaky_relu": "LeakyRelu",
}


class _Graph:
    """Nodes and constants, as they are added; every method gives the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, Any] = {}

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name, **attributes))
        return name

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.asarray(value)
        return name

    def layers(self, value: str, layers: Sequence[Layer], part: str) -> str:
        """Images keep their shape from a convolution or pool to the next."""
        image: Image | None = None
        for i, layer in enumerate(layers):
            needed = None if isinstance(layer, Dense) else layer.input
            if needed != image:
                value = self._shaped(value, needed or (prod(image or ()),), f"{part}{i}.shape")
            value = self._layer(value, layer, f"{part}{i}")
            image = None if isinstance(layer, Dense) else layer.output
            if layer.activation == "silu":
                value = self.add("Mul", value, self.add("Sigmoid", value))
            elif layer.activation != "identity":
                slope: dict[str, Any] = (
                    {"alpha": layer.slope} if layer.activation == "leaky_relu" else {}
                )
                value = self.add(_OPERATORS[layer.activation], value, **slope)
        return self._shaped(value, (prod(image),), f"{part}.row") if image else value

    def _shaped(self, value: str, shape: Sequence[int], name: str) -> str:
        return self.add("Reshape", value, self.constant(name, np.array([-1, *shape], np.int64)))

    def _layer(self, value: str, layer: Layer, name: str) -> str:
        """Without its activation."""
        if isinstance(layer, Pool):
            kind = "MaxPool" if layer.maximum else "AveragePool"
            window: dict[str, Any] = {"kernel_shape": layer.kernel, "strides": layer.stride}
            if not layer.maximum:
                window["count_include_pad"] = 1
            return self.add(kind, value, pads=layer.padding * 2, **window)
        weight = self.constant(f"{name}.weight", layer.weight)
        bias = self.constant(f"{name}.bias", layer.bias)
        if isinstance(layer, Dense):
            return self.add("Gemm", value, weight, bias, transB=1)
        kind = "ConvTranspose" if layer.transposed else "Conv"
        window = {"strides": layer.stride, "pads": layer.padding * 2}
        if layer.transposed:
            window["output_padding"] = layer.output_padding
        return self.add(kind, value, weight, bias, **window)

    def total(self, value: str, output: str | None = None) -> str:
        """Sum over the features."""
        return self.add("ReduceSum", value, "axis", output=output, keepdims=0)


def score_model(network: Network) -> bytes:
    """A serialised model: rows float32 [n, n_features] -> score float32 [n], n free."""
    graph = _Graph()
    graph.constant("axis", np.array([1], np.int64))
    graph.constant("half", np.float32(0.5))
    mean = graph.constant("mean", network.mean)
    inverse = graph.constant("inverse_scale", network.inverse_scale)
    x = graph.add("Mul", graph.add("Sub", "rows", mean), inverse)
    z = graph.layers(x, network.scored_encoder, "encoder")
    _score(graph, network, x, z)
    made = helper.make_graph(
        graph.nodes,
        "score",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", network.n_features])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
    )
    # Opset 20 has Gelu; without it the older one is read by more versions of the peers.
    opset = helper.make_opsetid("", 20 if any(n.op_type == "Gelu" for n in graph.nodes) else 18)
    model = helper.make_model(made, opset_imports=[opset], ir_version=10)
    return bytes(model.SerializeToString())


def _score(graph: _Graph, network: Network, x: str, z: str) -> None:
    """The nodes from the latent space to "score"."""
    if not network.gaussian:
        _reconstruction(graph, network, x, z, "score")
        return
    mu, size = z, network.latent
    if not network.mu_alone:
        mu = "mu"
        graph.constant("sizes", np.array([size, size], np.int64))
        graph.nodes.append(helper.make_node("Split", [z, "sizes"], [mu, "logvar"], "split", axis=1))
    if network.kind == "reconstruction":
        _reconstruction(graph, network, x, mu, "score")
        return
    square = graph.add("Mul", mu, mu)
    if network.kind == "mu2":
        graph.total(square, "score")
    elif network.kind == "rz":
        precision = graph.add("Exp", graph.add("Neg", "logvar"))
        graph.total(graph.add("Mul", square, precision), "score")
    else:
        # ONNX has no expm1: exp(logvar) - 1, which loses digits near 0, is what one would write.
        one = graph.constant("one", np.float32(1))
        excess = graph.add("Sub", graph.add("Sub", graph.add("Exp", "logvar"), one), "logvar")
        total = graph.total(graph.add("Add", square, excess))
        if network.kind == "kl":
            graph.add("Mul", total, "half", output="score")
            return
        weight = graph.constant("weight", np.float32(0.5 * network.beta))
        reconstruction = _reconstruction(graph, network, x, mu, None)
        graph.add("Add", reconstruction, graph.add("Mul", total, weight), output="score")


def _reconstruction(graph: _Graph, network: Network, x: str, z: str, output: str | None) -> str:
    error = graph.add("Sub", graph.layers(z, network.decoder, "decoder"), x)
    total = graph.add("ReduceSumSquare", error, "axis", keepdims=0)
    return graph.add("Mul", total, "half", output=output)
