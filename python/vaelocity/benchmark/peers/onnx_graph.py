"""The score as an ONNX graph, for the peers that read ONNX."""

from __future__ import annotations

from onnx import TensorProto, helper

from vaelocity.bundle import read_bundle
from vaelocity.export.onnx_graph import add_score
from vaelocity.export.onnx_steps import IR_VERSION, OPSET, Graph
from vaelocity.frozen import Network


def score_model(network: Network) -> bytes:
    """A serialised model: rows float32 [n, n_features] -> score float32 [n], n free.

    As one would write it: without what the export adds for rows that are not finite and for scores
    that overflow.
    """
    graph = Graph()
    score, _ = add_score(graph, *read_bundle(network.path), network.kind)
    graph.node("Identity", score, output="score")
    made = helper.make_graph(
        graph.nodes,
        "score",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", network.n_features])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])],
        graph.initializers(),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION)
    return bytes(model.SerializeToString())
