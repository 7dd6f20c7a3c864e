"""The reconstruction losses of a model file as nodes of an ONNX graph; needs onnx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaelocity.export.onnx_steps import Graph


def add_loss(graph: Graph, score: Mapping[str, Any], x: str, y: str, counts: str) -> str:
    """The loss [n] of y [n, d] against x [n, d]: see `vaelocity.structure.LOSSES`.

    score: that entry of the file. counts: bool [n, d], which terms there are; "" for all.
    """
    loss = score.get("loss", "squared_error")
    d = graph.node("Sub", y, x)
    if loss == "squared_error" and not counts:
        return graph.half(graph.total("ReduceSumSquare", d))
    terms = {
        "squared_error": lambda: graph.half(graph.node("Mul", d, d)),
        "absolute_error": lambda: graph.node("Abs", d),
        "huber": lambda: _huber(graph, d, score.get("delta", 1.0)),
        "bce_with_logits": lambda: _bce_with_logits(graph, x, y),
    }[loss]()
    if counts:
        terms = graph.node("Where", counts, terms, graph.constant("zero", 0.0))
    return graph.total("ReduceSum", terms)


def _huber(graph: Graph, d: str, delta: float) -> str:
    """q (|d| - q / 2) with q = min(delta, |d|)."""
    size = graph.node("Abs", d)
    q = graph.node("Min", size, graph.constant("delta", delta))
    return graph.node("Mul", q, graph.node("Sub", size, graph.half(q)))


def _bce_with_logits(graph: Graph, x: str, y: str) -> str:
    one, zero = graph.constant("one", 1.0), graph.constant("zero", 0.0)
    inside = graph.node("Max", graph.node("Min", x, one), zero)
    beyond = graph.node("Sub", x, inside)
    entropy = graph.node("Sub", _softplus(graph, y), graph.node("Mul", inside, y))
    return graph.node("Add", entropy, graph.half(graph.node("Mul", beyond, beyond)))


def _softplus(graph: Graph, y: str) -> str:
    """max(y, 0) + ln(1 + e^-|y|): the operator of this name may overflow where y is large."""
    small = graph.node("Exp", graph.node("Neg", graph.node("Abs", y)))
    log = graph.node("Log", graph.node("Add", small, graph.constant("one", 1.0)))
    return graph.node("Add", graph.node("Relu", y), log)
