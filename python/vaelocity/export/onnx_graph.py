"""A model file as an ONNX graph: preprocessing, network, score and decision; needs onnx.

    rows float32 [n, d] -> score float32 [n], anomalous bool [n] where there is a threshold

Scores agree with the library's up to float32 rounding, not bit for bit: a runtime adds in an order
of its own. NaN and saturation are the library's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity._core import Model, __version__
from vaelocity.bundle import parse_bundle
from vaelocity.export.onnx_steps import IR_VERSION, OPSET, Graph, add_steps
from vaelocity.scorer import Scorer
from vaelocity.steps import require_plain
from vaelocity.threshold import Threshold

__all__ = ["add_score", "onnx_model"]

_DECODED = ("reconstruction", "elbo")
_SPREAD = ("kl", "rz", "elbo")
"""Kinds that look at logvar."""

Metadata = Mapping[str, Any]
Tensors = Mapping[str, npt.NDArray[Any]]


def onnx_model(
    path: str | os.PathLike[str],
    *,
    kind: str | None = None,
    threshold: float | str | Threshold | None = None,
) -> bytes:
    """The serialised ONNX model (opset 18) that scores as the model file `path` does.

    Args:
        path: a .vael file.
        kind: the score; default: the file's own.
        threshold: as `Scorer.predict` takes it; default: the file's first one for this kind, if
            any. With one there is an output "anomalous", and the initializer "threshold" holds it.

    Raises:
        ModuleNotFoundError: onnx is not installed.
        OSError, BundleError: the file cannot be read, is damaged, or has no such score.
        ValueError: the threshold is NaN, unknown, or another model's.
    """
    if find_spec("onnx") is None:
        raise ModuleNotFoundError(
            "writing ONNX needs onnx: pip install 'vaelocity[onnx]'", name="onnx"
        )
    data = Path(path).read_bytes()
    scorer = Scorer(Model.from_bytes(data, kind or "", verify=True))
    metadata, tensors = parse_bundle(data)
    cut = None
    if threshold is not None or scorer.thresholds:
        cut = scorer.threshold(threshold)
    require_plain(metadata, "the ONNX graph")
    graph = Graph()
    score = add_score(graph, metadata, tensors, scorer.kind)
    graph.node("Identity", _saturated(graph, score), output="score")
    return _model(graph, scorer, cut)


def add_score(graph: Graph, metadata: Metadata, tensors: Tensors, kind: str) -> str:
    """The score [n] of "rows" [n, d], in plain arithmetic: what is not finite goes its own way."""
    x = _standardised(graph, metadata, tensors)
    mu, logvar = _latent(graph, metadata, tensors, x, kind)
    if kind == "mu2":
        return graph.total("ReduceSumSquare", mu)
    if kind == "rz":
        precision = graph.node("Exp", graph.node("Neg", logvar))
        square = graph.node("Mul", mu, mu)
        return graph.total("ReduceSum", graph.node("Mul", square, precision))
    if kind == "kl":
        return _kl(graph, mu, logvar)
    size = metadata["latent"]["size"]
    decoded = add_steps(graph, metadata["decoder"], "decoder", tensors, mu, size)
    reconstruction = graph.half(graph.total("ReduceSumSquare", graph.node("Sub", decoded, x)))
    if kind == "elbo":
        beta = graph.constant("beta", metadata["score"].get("beta", 1.0))
        return graph.node("Add", reconstruction, graph.node("Mul", beta, _kl(graph, mu, logvar)))
    return reconstruction


def _standardised(graph: Graph, metadata: Metadata, tensors: Tensors) -> str:
    step = metadata["preprocess"][-1]
    with np.errstate(over="ignore"):
        inverse = np.float32(1) / tensors[step["scale"]]
    centred = graph.node("Sub", "rows", graph.constant("mean", tensors[step["mean"]]))
    return graph.node("Mul", centred, graph.constant("inverse_scale", inverse))


def _latent(
    graph: Graph, metadata: Metadata, tensors: Tensors, x: str, kind: str
) -> tuple[str, str]:
    """(mu, logvar); logvar is "" where nobody asks for it, and not computed where it has rows of
    weights of its own."""
    size, steps = metadata["latent"]["size"], list(metadata["encoder"])
    gaussian = metadata["latent"]["kind"] == "gaussian"
    if gaussian and kind not in _SPREAD and steps[-1]["op"] == "dense":
        last = steps[-1]
        names = {"weight": "mu.weight", "bias": "mu.bias"}
        tensors = {**tensors, **{new: tensors[last[key]][:size] for key, new in names.items()}}
        steps[-1], gaussian = {**last, **names}, False
    z = add_steps(graph, steps, "encoder", tensors, x, len(metadata["features"]))
    if not gaussian:
        return z, ""
    mu = _columns(graph, z, 0, size)
    return mu, _columns(graph, z, size, 2 * size) if kind in _SPREAD else ""


def _kl(graph: Graph, mu: str, logvar: str) -> str:
    """1/2 sum (mu^2 + exp(logvar) - 1 - logvar); ONNX has no expm1."""
    variance = graph.node("Sub", graph.node("Exp", logvar), graph.constant("one", 1.0))
    excess = graph.node("Sub", variance, logvar)
    terms = graph.node("Add", graph.node("Mul", mu, mu), excess)
    return graph.half(graph.total("ReduceSum", terms))


def _saturated(graph: Graph, score: str) -> str:
    """NaN where the row is not finite; else at most float32's largest number."""
    largest = graph.constant("largest", np.finfo(np.float32).max)
    fits = graph.node("LessOrEqual", score, largest)
    score = graph.node("Where", fits, score, largest)
    # 0 * x is 0 for finite x and NaN for all others.
    zeros = graph.node("Mul", "rows", graph.constant("zero", 0.0))
    return graph.node("Add", score, graph.total("ReduceSum", zeros))


def _columns(graph: Graph, value: str, start: int, stop: int) -> str:
    for bound in (start, stop):
        graph.constants[f"at_{bound}"] = np.array([bound], np.int64)
    return graph.node("Slice", value, f"at_{start}", f"at_{stop}", "axis")


def _model(graph: Graph, scorer: Scorer, cut: float | None) -> bytes:
    """The graph with its decision, and what it was made of."""
    from onnx import TensorProto, checker, helper

    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n"])]
    if cut is not None:
        # Not (score <= threshold): a NaN is anomalous, as Scorer.predict has it.
        normal = graph.node("LessOrEqual", "score", graph.constant("threshold", cut))
        graph.node("Not", normal, output="anomalous")
        outputs.append(helper.make_tensor_value_info("anomalous", TensorProto.BOOL, ["n"]))
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", scorer.n_features])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "vaelocity", [rows], outputs, graph.initializers()),
        producer_name="vaelocity",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    facts = {"vaelocity.model": scorer.fingerprint, "vaelocity.kind": scorer.kind}
    if scorer.identity is not None:
        facts["vaelocity.identity"] = scorer.identity
    helper.set_model_props(model, facts)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())
