"""The preprocessing of a model file as nodes of an ONNX graph; needs onnx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vaelocity.export.onnx_steps import Graph
from vaelocity.preprocess import columns_of, leaves_out

Metadata = Mapping[str, Any]
Tensors = Mapping[str, npt.NDArray[Any]]


class Columns(NamedTuple):
    """Names of values [n, d]: the standardised rows; the rows after missing values were dealt with,
    in which a value that is not finite rejects its row; and, bool, which terms count, "" for all of
    them."""

    x: str
    present: str
    counts: str


def add_columns(graph: Graph, metadata: Metadata, tensors: Tensors, rows: str) -> Columns:
    """The steps of `vaelocity.preprocess`, from `rows` float32 [n, d] on."""
    columns = columns_of(metadata)
    value, kept = rows, []
    if "policy" in columns:
        value, flagged = _missing(graph, columns, rows)
        kept += [flagged] if (columns["policy"] == 1).any() else []
    present = value
    if "absent" in columns:
        zero = graph.node("Equal", value, graph.constant("zero", 0.0))
        absent = graph.node("And", zero, graph.mask("absent", columns["absent"] > 0))
        kept.append(graph.node("Not", absent))
    if "low" in columns:
        low = graph.node("Min", value, graph.constant("clip_high", columns["high"]))
        value = graph.node("Max", low, graph.constant("clip_low", columns["low"]))
    for name, function in (("wrapped", _wrap), ("logged", _log1p)):
        if name in columns:
            mask = graph.mask(name, columns[name] > 0)
            value = graph.node("Where", mask, function(graph, value), value)
    x = _standardised(graph, metadata, tensors, value)
    if not leaves_out(metadata):
        return Columns(x, present, "")
    counts = kept[0] if len(kept) == 1 else graph.node("And", *kept)
    return Columns(graph.node("Where", counts, x, graph.constant("zero", 0.0)), present, counts)


def _missing(graph: Graph, columns: Mapping[str, Any], rows: str) -> tuple[str, str]:
    """The rows with their missing values replaced, by 0 where the term leaves the loss; and whether
    it stays in."""
    lost = graph.node("Or", graph.node("IsNaN", rows), graph.node("IsInf", rows))
    policy = columns["policy"]
    dealt_with = graph.node("And", lost, graph.mask("dealt_with", policy > 0))
    imputed = graph.constant("imputed", columns["imputed"])
    flagged = graph.node("And", lost, graph.mask("flagged", policy == 1))
    return graph.node("Where", dealt_with, imputed, rows), graph.node("Not", flagged)


def _wrap(graph: Graph, angle: str) -> str:
    """In [-pi, pi), an angle that is there already unchanged."""
    pi = graph.constant("pi", np.pi)
    minus_pi = graph.constant("minus_pi", -np.pi)
    limit = graph.constant("angle_limit", 2.0**20)
    limited = graph.node("Max", graph.node("Min", angle, limit), graph.node("Neg", limit))
    turns = graph.constant("turns", 0.5 / np.pi)
    n = graph.node("Round", graph.node("Mul", limited, turns))
    r = limited
    # 2 pi in parts of so few bits that n times the first two is exact, as the scorer has them.
    for i, part in enumerate(("0x1.92p+2", "0x1.fb5p-10", "0x1.110b46p-24")):
        size = graph.constant(f"two_pi_{i}", float.fromhex(part))
        r = graph.node("Sub", r, graph.node("Mul", n, size))
    # n may be off by one where the angle is near the seam.
    turn = graph.constant("two_pi", np.float32(2 * np.pi))
    r = graph.node("Where", graph.node("Less", r, pi), r, graph.node("Sub", r, turn))
    r = graph.node("Where", graph.node("LessOrEqual", minus_pi, r), r, graph.node("Add", r, turn))
    inside = graph.node(
        "And", graph.node("LessOrEqual", minus_pi, angle), graph.node("Less", angle, pi)
    )
    return graph.node("Where", inside, angle, r)


def _log1p(graph: Graph, value: str) -> str:
    """sign(x) ln(1 + |x|). ONNX has no log1p: t ln(u) / (u - 1) with u = 1 + t as rounded makes up
    for the rounding (Kahan; D. Goldberg, ACM Computing Surveys 23 (1991) 5, theorem 4)."""
    one = graph.constant("one", 1.0)
    t = graph.node("Abs", value)
    u = graph.node("Add", t, one)
    ratio = graph.node("Div", t, graph.node("Sub", u, one))
    corrected = graph.node("Mul", graph.node("Log", u), ratio)
    log = graph.node("Where", graph.node("Equal", u, one), t, corrected)
    return graph.node("Mul", graph.node("Sign", value), log)


def _standardised(graph: Graph, metadata: Metadata, tensors: Tensors, value: str) -> str:
    step = metadata["preprocess"][-1]
    with np.errstate(over="ignore"):
        inverse = np.float32(1) / tensors[step["scale"]]
    centred = graph.node("Sub", value, graph.constant("mean", tensors[step["mean"]]))
    return graph.node("Mul", centred, graph.constant("inverse_scale", inverse))
