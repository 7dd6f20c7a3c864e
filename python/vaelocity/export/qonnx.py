"""The dense network of a model file as a QONNX graph, for hls4ml and other FPGA flows; needs onnx.

    features float32 [1, d], standardised -> reconstruction [1, d], or latent [1, latent]

QONNX is ONNX with an operator Quant that rounds to a number of bits (Pappalardo et al.,
arXiv:2206.07527). Every scale here is a power of two, so that each Quant is an ap_fixed type and
costs no multiplier. A score is a sum of squares outside of the graph: hls4ml has no operator for
it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity._core import Model, __version__
from vaelocity.bundle import parse_bundle
from vaelocity.export.onnx_steps import IR_VERSION, OPSET, Graph
from vaelocity.scorer import Scorer
from vaelocity.steps import require_plain

__all__ = ["qonnx_model"]

_DOMAIN = "qonnx.custom_op.general"
_MAX_BITS = 32
_OPERATORS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
"""Activations that hls4ml reads; leaky_relu and elu beside them."""

Tensors = Mapping[str, npt.NDArray[Any]]
Step = Mapping[str, Any]


def qonnx_model(
    path: str | os.PathLike[str],
    *,
    weight_bits: int = 16,
    activation_bits: int = 16,
    integer_bits: int = 6,
    kind: str | None = None,
) -> bytes:
    """The serialised QONNX graph (opset 18) of what a score needs from the network.

    The input "features" takes what the model's scaling makes of a row, (row - mean) / scale. The
    output is "reconstruction" for that score, else "latent": mu alone for mu2, and mu then logvar
    for kl and rz. Values are signed; they round to nearest, ties to even, and saturate.

    Args:
        path: a .vael file of dense layers.
        weight_bits: of weights and biases, sign included; the integer bits are as many as a
            layer's largest value needs.
        activation_bits: of the features and of every layer's values, sign included.
        integer_bits: how many of these lie above the point, sign included, as in
            ap_fixed<activation_bits, integer_bits>.
        kind: the score; default: the file's own.

    Raises:
        ModuleNotFoundError: onnx is not installed.
        OSError, BundleError: the file cannot be read, is damaged, or has no such score.
        ValueError: bits out of range; or the model has a step, an activation or a score (elbo) that
            hls4ml does not read.
    """
    if find_spec("onnx") is None:
        raise ModuleNotFoundError(
            "writing QONNX needs onnx: pip install 'vaelocity[onnx]'", name="onnx"
        )
    for name, bits in (("weight_bits", weight_bits), ("activation_bits", activation_bits)):
        if not 2 <= bits <= _MAX_BITS:
            raise ValueError(f"{name}: expected 2 to {_MAX_BITS}, got {bits}")
    if not 1 <= integer_bits <= activation_bits:
        raise ValueError(f"integer_bits: expected 1 to {activation_bits}, got {integer_bits}")
    data = Path(path).read_bytes()
    scorer = Scorer(Model.from_bytes(data, kind or "", verify=True))
    metadata, tensors = parse_bundle(data)
    require_plain(metadata, "the QONNX graph")
    network = _QuantisedNetwork(weight_bits, activation_bits, integer_bits)
    output = network.add(_parts(metadata, tensors, scorer.kind))
    return _model(network, output, scorer)


class _QuantisedNetwork:
    """Dense layers with a Quant behind every value; `shapes` tells every value's, as hls4ml asks.

    No constant serves two nodes: hls4ml takes one away with the first that it has read.
    """

    def __init__(self, weight_bits: int, activation_bits: int, integer_bits: int) -> None:
        self.graph = Graph()
        self.graph.constants.clear()
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._weight_bits, self._activation_bits = weight_bits, activation_bits
        self._activation_exponent = integer_bits - activation_bits

    def add(self, parts: Sequence[tuple[str, Step, Tensors]]) -> str:
        """The layers in their order; the name of the output."""
        _, first, tensors = parts[0]
        self.shapes["features"] = (1, tensors[first["weight"]].shape[1])
        output = "reconstruction" if parts[-1][0] == "decoder" else "latent"
        x = self._values("features", "features_quantised")
        for at, (part, step, tensors) in enumerate(parts):
            name = f"{part}_{at}"
            weight, bias = tensors[step["weight"]], tensors[step["bias"]]
            size = len(bias)
            # hls4ml takes a product with a constant for a dense layer; a Gemm it does not read.
            weights = self._parameter(f"{name}_weight", weight.T)
            product = self._node("MatMul", size, x, weights, output=f"{name}_product")
            biases = self._parameter(f"{name}_bias", bias)
            total = self._node("Add", size, product, biases, output=f"{name}_sum")
            active = self._activation(total, size, step, f"{name}_activation")
            x = self._values(active, output if at == len(parts) - 1 else f"{active}_quantised")
        return output

    def _node(self, operator: str, width: int, *inputs: str, output: str, **attributes: Any) -> str:
        self.shapes[output] = (1, width)
        return self.graph.node(operator, *inputs, output=output, **attributes)

    def _constant(self, name: str, value: Any) -> str:
        self.shapes[name] = np.shape(value)
        return self.graph.constant(name, value)

    def _parameter(self, name: str, value: npt.NDArray[Any]) -> str:
        exponent = _integer_bits(value) - self._weight_bits
        constant = self._constant(name, value)
        return self._quantised(constant, self._weight_bits, exponent, f"{name}_quantised")

    def _values(self, value: str, output: str) -> str:
        return self._quantised(value, self._activation_bits, self._activation_exponent, output)

    def _quantised(self, value: str, bits: int, exponent: int, output: str) -> str:
        """`value` as one of the 2^bits multiples of 2^exponent around zero."""
        self.shapes[output] = self.shapes[value]
        return self.graph.node(
            "Quant",
            value,
            self._constant(f"{value}_scale", [2.0**exponent]),
            self._constant(f"{value}_zero_point", [0.0]),
            self._constant(f"{value}_bits", [bits]),
            output=output,
            domain=_DOMAIN,
            signed=1,
            narrow=0,
            rounding_mode="ROUND",
        )

    def _activation(self, x: str, width: int, step: Step, output: str) -> str:
        name = step.get("activation", "identity")
        if name == "identity":
            return x
        if name == "leaky_relu":
            alpha = float(step.get("slope", 0.01))
            return self._node("LeakyRelu", width, x, output=output, alpha=alpha)
        if name == "elu":
            # Written out: hls4ml takes 0.01 where ONNX has 1 by default.
            return self._node("Elu", width, x, output=output, alpha=1.0)
        if name not in _OPERATORS:
            known = ", ".join(["identity", "leaky_relu", "elu", *_OPERATORS])
            raise ValueError(f"activation: expected one that hls4ml reads ({known}), got {name}")
        return self._node(_OPERATORS[name], width, x, output=output)


def _integer_bits(value: npt.NDArray[Any]) -> int:
    """Bits above the point, sign included, that hold the largest magnitude; may be negative."""
    largest = float(np.abs(value).max())
    return 1 if largest == 0.0 else int(np.frexp(largest)[1]) + 1


def _parts(
    metadata: Mapping[str, Any], tensors: Tensors, kind: str
) -> list[tuple[str, Step, Tensors]]:
    """(part, step, its tensors) of the layers that the score needs."""
    if kind == "elbo":
        raise ValueError(
            "kind: elbo needs the latent space and the reconstruction; expected one output: export "
            "kl and reconstruction as two graphs"
        )
    decoder = metadata["decoder"] if kind == "reconstruction" else []
    layers: list[tuple[str, Step, Tensors]] = [
        (part, step, tensors)
        for part, steps in (("encoder", metadata["encoder"]), ("decoder", decoder))
        for step in steps
    ]
    for part, step, _ in layers:
        if step["op"] != "dense":
            raise ValueError(f"{part}: expected dense layers, got a step {step['op']}")
    if metadata["latent"]["kind"] == "gaussian" and kind in ("mu2", "reconstruction"):
        # mu alone: logvar has rows of weights of its own.
        at, size = len(metadata["encoder"]) - 1, metadata["latent"]["size"]
        part, step, _ = layers[at]
        rows = {step[key]: tensors[step[key]][:size] for key in ("weight", "bias")}
        layers[at] = (part, step, rows)
    return layers


def _model(network: _QuantisedNetwork, output: str, scorer: Scorer) -> bytes:
    """The graph as a file, and what it was made of."""
    from onnx import TensorProto, checker, helper

    graph = network.graph
    shaped = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in network.shapes.items()
    }
    features, made = shaped.pop("features"), shaped.pop(output)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "vaelocity",
            [features],
            [made],
            graph.initializers(),
            value_info=list(shaped.values()),
        ),
        producer_name="vaelocity",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(_DOMAIN, 1)],
        ir_version=IR_VERSION,
    )
    facts = {"vaelocity.model": scorer.fingerprint, "vaelocity.kind": scorer.kind}
    helper.set_model_props(model, facts)
    checker.check_model(model)
    return bytes(model.SerializeToString())
