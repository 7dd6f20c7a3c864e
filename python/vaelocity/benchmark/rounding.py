"""bfloat16 beside float32: what its weights and fast mode give in speed, and cost in quality."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import vaelocity
from vaelocity import _core, fast
from vaelocity.benchmark import pages
from vaelocity.benchmark.race import OURS, Entry, checked, failed, floor_of
from vaelocity.frozen import Network, Rows, read
from vaelocity.narrowing import narrow

FPR = 1e-3

Scores = npt.NDArray[np.float32]


def entries(network: Network, rows: Rows) -> list[Entry]:
    """To be timed: bfloat16 weights, checked against the float64 reference of the rounded network,
    and fast mode, whose scores are others; or why not."""
    out = np.empty(len(rows), np.float32)
    way = "score(rows, out)"
    narrowed = Entry(f"{OURS}, bfloat16 weights", way, None)
    try:
        scorer, rounded = _narrowed(network)
    except ValueError as error:
        narrowed = failed(narrowed, error)
    else:
        timed = Entry(narrowed.name, way, partial(scorer.score, rows, out))
        narrowed = checked(timed, rounded.reference(rows), floor=floor_of(network))
    quick = Entry(f"{OURS}, fast", way, None, information="bfloat16 products")
    if why := _core.why_not_fast():
        return [narrowed, Entry(quick.name, way, None, "left out", why)]
    model = vaelocity.load(network.path, kind=network.kind, fast=True)
    timed = Entry(quick.name, way, partial(model.score, rows, out), information=quick.information)
    return [narrowed, checked(timed, network.reference(rows))]


def costs(
    network: Network, normal: Rows, anomalous: Rows, fpr: float = FPR
) -> list[dict[str, Any]]:
    """AUC, and how many decisions at `fpr` differ from float32's: of bfloat16 weights, fast mode.

    Decided twice: by float32's cut, and by a cut of its own at the same false-positive rate. Fast
    mode is computed in NumPy where this machine has none (`vaelocity.fast`).

    Args:
        normal, anomalous: rows [n, d] and [m, d], held out.
        fpr: n * fpr is at least 1.
    """
    rows = np.concatenate([normal, anomalous])
    scorer, _ = _narrowed(network)
    exact = vaelocity.load(network.path, kind=network.kind)
    found = {"float32": exact.score(rows), "bfloat16 weights": scorer.score(rows)}
    found["fast"], how = _fast(network, rows)
    names = {"fast": f"fast ({how})"}
    n = len(normal)
    return [
        {"name": names.get(name, name), **_cost(found["float32"], scores, n, fpr)}
        for name, scores in found.items()
    ]


def table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of `costs`."""
    head = ("", "AUC", "difference", "flipped of normal, anomalous", "with a cut of its own")
    rows = []
    for each in found:
        cells = [each["name"], f"{each['auc']:.5f}", "", "", ""]
        if each["auc_difference"] is not None:
            cells[2:] = [f"{each['auc_difference']:+.1e}"]
            cells += [_flipped(each, cut) for cut in ("by_float32", "by_own")]
        rows.append(tuple(cells))
    return pages.table(head, rows)


def _flipped(each: Mapping[str, Any], cut: str) -> str:
    counts = each[cut]
    return f"{counts[0]} of {each['normal']:,}, {counts[1]} of {each['anomalous']:,}"


def _narrowed(network: Network) -> tuple[vaelocity.Scorer, Network]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "narrow.vael"
        narrow(network.path, path)
        scorer = vaelocity.load(path, kind=network.kind)
        return scorer, read(network.name, path, network.kind)


def _fast(network: Network, rows: Rows) -> tuple[Scores, str]:
    if _core.why_not_fast() is None:
        model = vaelocity.load(network.path, kind=network.kind, fast=True)
        return model.score(rows), model.isa
    return fast.scores(network, rows), "computed in NumPy"


def _cost(exact: Scores, scores: Scores, n: int, fpr: float) -> dict[str, Any]:
    """Of the scores of n normal rows, then the anomalous ones."""
    auc = _auc(scores, n)
    decided = exact > _cut(exact[:n], fpr)
    cost: dict[str, Any] = {"auc": auc, "normal": n, "anomalous": len(scores) - n}
    cost["auc_difference"] = None if scores is exact else auc - _auc(exact, n)
    for name, cut in (("by_float32", _cut(exact[:n], fpr)), ("by_own", _cut(scores[:n], fpr))):
        flipped = (scores > cut) != decided
        cost[name] = [int(flipped[:n].sum()), int(flipped[n:].sum())]
    return cost


def _cut(normal: Scores, fpr: float) -> np.float32:
    """A normal score, which at most `fpr` of them exceed."""
    passing = math.floor(fpr * len(normal))
    if passing < 1:
        raise ValueError(f"normal: {len(normal)} rows are less than one above the cut at {fpr:g}")
    cut: np.float32 = np.sort(normal)[len(normal) - passing - 1]
    return cut


def _auc(scores: Scores, n: int) -> float:
    """P(an anomalous row scores higher), equal scores counting half: Mann and Whitney 1947."""
    normal = np.sort(scores[:n])
    below, up_to = (normal.searchsorted(scores[n:], side) for side in ("left", "right"))
    return float((below + up_to).sum() / 2 / n / (len(scores) - n))
