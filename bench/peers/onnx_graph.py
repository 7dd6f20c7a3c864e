"""The score as an ONNX graph, for the peers that read ONNX."""

from __future__ import annotations

import numpy as np
from network import Network
from onnx import TensorProto, helper, numpy_helper


def score_model(network: Network) -> bytes:
    """A serialised model: rows float32 [n, n_features] -> score float32 [n], n free."""
    constants = {
        "mean": network.mean,
        "inverse_scale": network.inverse_scale,
        "half": np.float32(0.5),
        "axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Sub", ["rows", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "inverse_scale"], ["x"]),
    ]
    value = "x"
    for i, layer in enumerate(network.layers):
        constants[f"weight{i}"], constants[f"bias{i}"] = layer.weight, layer.bias
        nodes.append(
            helper.make_node(
                "Gemm", [value, f"weight{i}", f"bias{i}"], [f"dense{i}"], f"dense{i}", transB=1
            )
        )
        value = f"dense{i}"
        if layer.relu:
            nodes.append(helper.make_node("Relu", [value], [f"relu{i}"]))
            value = f"relu{i}"
    nodes += [
        helper.make_node("Sub", [value, "x"], ["error"]),
        helper.make_node("ReduceSumSquare", ["error", "axis"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "half"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "score",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", network.n_features])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())
