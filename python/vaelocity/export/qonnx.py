"""The dense network of a model file in fixed point, as QONNX: for hls4ml and FPGAs.

QONNX (Pappalardo et al., arXiv:2206.07527) is ONNX with a node Quant that rounds a tensor to
`bits` with a scale. Every scale here is a power of two, so that a tensor is an ap_fixed<bits, I>
with I = bits + log2(scale) integer bits, sign included. Needs onnx; to read the result, qonnx.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from math import floor, log2
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity._core import __version__
from vaelocity.bundle import read_bundle
from vaelocity.export.onnx_steps import IR_VERSION, OPSET, Graph
from vaelocity.frozen import Dense, Network, read
from vaelocity.steps import require_dense

__all__ = ["qonnx_model"]

DOMAIN = "qonnx.custom_op.general"
ACTIVATIONS = {
    "identity": "",
    "relu": "Relu",
    "leaky_relu": "LeakyRelu",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "elu": "Elu",
}
"""Those that hls4ml has."""

PARTS = ("reconstruction", "latent")

Array = npt.NDArray[Any]


def qonnx_model(
    path: str | os.PathLike[str],
    rows: npt.ArrayLike | None = None,
    *,
    part: str = "reconstruction",
    weight_bits: int = 8,
    value_bits: int = 16,
    headroom: int = 1,
) -> bytes:
    """A serialised QONNX graph: x float32 [1, d], standardised, to y [1, d] or mu [1, latent].

    The score itself is not in it: hls4ml has no step for it. It is 1/2 ||y - x||^2 of the result
    (`part` reconstruction) or sum mu^2 (latent), a few lines around what hls4ml makes. x is
    (row - mean) * inverse_scale with the numbers of `vaelocity.frozen.read`.

    Args:
        path: a .vael file of dense steps.
        rows: float [n, d], in the units of the features, from which the range of x and of every
            layer is taken; None: the conformance rows of the file that are data.
        part: what comes out.
        weight_bits: of every weight, 2 to 32; its integer bits are as few as the layer allows.
        value_bits: of x, of biases and of every layer's output, 2 to 32.
        headroom: integer bits more than the largest value among `rows` needs.

    Raises:
        ModuleNotFoundError: onnx is not installed.
        OSError, BundleError: the file cannot be read, is damaged, or has other steps.
        ValueError: another argument that is wrong, or an activation that hls4ml has not.
    """
    if find_spec("onnx") is None:
        raise ModuleNotFoundError(
            "writing QONNX needs onnx: pip install 'vaelocity[onnx]'", name="onnx"
        )
    if part not in PARTS:
        raise ValueError(f"part: expected one of {', '.join(PARTS)}, got {part!r}")
    for name, bits in (("weight_bits", weight_bits), ("value_bits", value_bits)):
        if not 2 <= bits <= 32:
            raise ValueError(f"{name}: expected 2 to 32, got {bits}")
    metadata, tensors = read_bundle(path)
    require_dense(metadata, "QONNX")
    network = read("", Path(path), "reconstruction")  # for which logvar is not needed
    layers = _layers(network, part)
    x = _standardised(network, rows, metadata, tensors)
    return _Fixed(value_bits, weight_bits, headroom).model(network, layers, x)


def _layers(network: Network, part: str) -> list[Dense]:
    """The layers to what comes out; of [mu, logvar] mu alone."""
    found = [*network.scored_encoder, *(network.decoder if part == "reconstruction" else ())]
    for i, layer in enumerate(found):
        assert isinstance(layer, Dense)
        if layer.activation not in ACTIVATIONS:
            raise ValueError(
                f"layer {i}: hls4ml has no {layer.activation}, only {', '.join(ACTIVATIONS)}"
            )
    return [layer for layer in found if isinstance(layer, Dense)]


def _standardised(
    network: Network, rows: npt.ArrayLike | None, metadata: Mapping[str, Any], tensors: Any
) -> Array:
    """x [n, d] in float64, from which ranges are taken."""
    if rows is None:
        conformance = metadata.get("conformance", {})
        if not conformance.get("data_rows"):
            raise ValueError("rows: expected some, the file keeps none of its data")
        given = tensors[conformance["rows"]][: conformance["data_rows"]]
    else:
        given = np.asarray(rows)
        if given.ndim != 2 or given.shape[1] != network.n_features or not len(given):
            raise ValueError(
                f"rows: expected [n, {network.n_features}], n > 0, got shape {given.shape}"
            )
    if not np.isfinite(given).all():
        raise ValueError("rows: a value is NaN or infinite")
    found: Array = (given.astype(np.float64) - network.mean) * network.inverse_scale.astype(float)
    return found


class _Fixed:
    """A graph in which every tensor goes through Quant."""

    def __init__(self, value_bits: int, weight_bits: int, headroom: int) -> None:
        self.graph = Graph()
        self.value_bits, self.weight_bits, self.headroom = value_bits, weight_bits, headroom

    def model(self, network: Network, layers: list[Dense], x: Array) -> bytes:
        """The whole graph; x [n, d]: standardised rows to take ranges from."""
        from onnx import TensorProto, helper

        value = self._values("x", x, "x_fixed")
        for i, layer in enumerate(layers):
            x = layer(x)
            value = self._layer(layer, f"layer{i}", value, x)
        made = helper.make_graph(
            self.graph.nodes,
            "vaelocity",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, network.n_features])],
            [helper.make_tensor_value_info(value, TensorProto.FLOAT, [1, layers[-1].width])],
            self.graph.initializers(),
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
        model = helper.make_model(
            made,
            producer_name="vaelocity",
            producer_version=__version__,
            opset_imports=opsets,
            ir_version=IR_VERSION,
        )
        return bytes(model.SerializeToString())

    def _layer(self, layer: Dense, name: str, value: str, y: Array) -> str:
        """activation(weight value + bias); y: its results, for their range."""
        graph = self.graph
        weight = graph.constant(f"{name}.weight", layer.weight.T)
        weight = self._quantised(weight, self.weight_bits, _largest(layer.weight), f"{name}_weight")
        product = graph.node("MatMul", value, weight)
        bias = graph.constant(f"{name}.bias", layer.bias)
        bias = self._quantised(bias, self.value_bits, _largest(layer.bias), f"{name}_bias")
        result = graph.node("Add", product, bias)
        if operator := ACTIVATIONS[layer.activation]:
            more: dict[str, Any] = {"alpha": layer.slope} if operator == "LeakyRelu" else {}
            result = graph.node(operator, result, **more)
        return self._values(result, y, f"{name}_fixed")

    def _values(self, value: str, seen: Array, name: str) -> str:
        return self._quantised(value, self.value_bits, _largest(seen) * 2**self.headroom, name)

    def _quantised(self, value: str, bits: int, largest: float, name: str) -> str:
        """`value` as signed fixed point of so many bits, in which `largest` has its place."""
        from onnx import helper

        integer = 2 + floor(log2(largest)) if largest > 0 else 1
        inputs = [
            value,
            self.graph.constant(f"{name}.scale", 2.0 ** (integer - bits)),
            self.graph.constant(f"{name}.zero", 0.0),
            self.graph.constant(f"{name}.bits", bits),
        ]
        node = helper.make_node(
            "Quant", inputs, [name], name, domain=DOMAIN, signed=1, narrow=0, rounding_mode="ROUND"
        )
        self.graph.nodes.append(node)
        return name


def _largest(values: Array) -> float:
    return float(np.abs(values).max())
