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
from vaelocity.export.onnx_columns import Columns, add_columns
from vaelocity.export.onnx_losses import add_loss
from vaelocity.export.onnx_steps import IR_VERSION, OPSET, Graph, add_steps
from vaelocity.scorer import Scorer
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
    graph = Graph()
    score, present = add_score(graph, metadata, tensors, scorer.kind)
    graph.node("Identity", _saturated(graph, score, present), output="score")
    return _model(graph, scorer, cut)


def add_score(graph: Graph, metadata: Metadata, tensors: Tensors, kind: str) -> tuple[str, str]:
    """The score [n] of "rows" [n, d], in plain arithmetic: what is not finite goes its own way. And
    the rows [n, d] in which a value that is not finite rejects its row."""
    columns = add_columns(graph, metadata, tensors, "rows")
    z, logvar = _latent(graph, metadata, tensors, columns.x, kind)
    return _score(graph, metadata, tensors, kind, columns, z, logvar), columns.present


def _score(
    graph: Graph,
    metadata: Metadata,
    tensors: Tensors,
    kind: str,
    columns: Columns,
    z: str,
    logvar: str,
) -> str:
    """The score of z [n, latent], which is mu where there is a logvar."""
    if kind == "output":
        return graph.total("ReduceSum", z)
    if kind == "mu2":
        return graph.total("ReduceSumSquare", z)
    if kind == "rz":
        precision = graph.node("Exp", graph.node("Neg", logvar))
        square = graph.node("Mul", z, z)
        return graph.total("ReduceSum", graph.node("Mul", square, precision))
    if kind == "kl":
        return _kl(graph, z, logvar)
    size, score = metadata["latent"]["size"], metadata["score"]
    decoded = add_steps(graph, metadata["decoder"], "decoder", tensors, z, size)
    if kind == "latent_reconstruction":
        return add_loss(graph, score, z, decoded, "")
    reconstruction = add_loss(graph, score, columns.x, decoded, columns.counts)
    if kind == "elbo":
        beta = graph.constant("beta", score.get("beta", 1.0))
        return graph.node("Add", reconstruction, graph.node("Mul", beta, _kl(graph, z, logvar)))
    return reconstruction


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


def _saturated(graph: Graph, score: str, present: str) -> str:
    """NaN where the row is not finite; else a finite number: an overflow is float32's largest."""
    largest = graph.constant("largest", np.finfo(np.float32).max)
    fits = graph.node("LessOrEqual", score, largest)
    score = graph.node("Max", graph.node("Where", fits, score, largest), graph.node("Neg", largest))
    # 0 * x is 0 for finite x and NaN for all others.
    zeros = graph.node("Mul", present, graph.constant("zero", 0.0))
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
