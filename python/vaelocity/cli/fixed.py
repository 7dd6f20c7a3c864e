"""`vaelocity fixed`: what a model is worth in fixed point, and whether a sum can wrap around."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.table import Table
from rich.text import Text

import vaelocity
from vaelocity import data as events
from vaelocity.cli import console, options
from vaelocity.cli.columns import layout, match_features
from vaelocity.cli.console import CommandError
from vaelocity.cli.score import choose_cut
from vaelocity.fixed import (
    Box,
    FixedNetwork,
    Format,
    Integers,
    Interval,
    analyse,
    box_of,
    quantise,
)


@dataclass
class _Found:
    """What the rows of DATA told, batch by batch. box: of the standardised features, in steps."""

    rows: int = 0
    unusable: int = 0
    box: Box | None = None
    exact: list[npt.NDArray[np.float64]] = field(default_factory=list)
    fixed: list[npt.NDArray[np.float64]] = field(default_factory=list)


def fixed(
    bundle: options.Bundle,
    data: options.Data,
    values: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="W,I[,Q,O]",
            help="Of features and values: bits, those above the point, sign included; then TRN or "
            "RND_CONV, and WRAP or SAT.",
        ),
    ],
    weights: Annotated[
        str | None,
        typer.Option("--weights", help="Default: W bits, with I as a layer's weights need it."),
    ] = None,
    sums: Annotated[
        str | None,
        typer.Option("--sums", help="Of the accumulators; default: exact, whatever the input."),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option("--score", help="Of the sum of squares, unsigned; default: exact."),
    ] = None,
    kind: options.Kind = None,
    threshold: Annotated[
        str | None,
        typer.Option("--threshold", help="A score, or the name of one of the model's thresholds."),
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            "--rate", min=0, max=1, help="Share of DATA above the cut where there is no threshold."
        ),
    ] = 0.01,
    label: options.Label = None,
    key: options.Key = None,
    header: options.Header = None,
    delimiter: options.Delimiter = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Score DATA as ap_fixed types compute on an FPGA, bit for bit, beside the float scores.

    The table has every sum and every layer's values: what they can become before they overflow, for
    any row at all, and the integer bits that this takes; and those that the ranges of DATA's
    features take. Decisions are those of the threshold; without one, of the cut that --rate gives.
    """
    scorer = vaelocity.load(bundle, kind=kind)
    network = quantise(
        bundle, Format.parse(values), weights=_format(weights), sums=_format(sums),
        score=_format(score, signed=False), kind=scorer.kind,
    )  # fmt: skip
    reading = options.Reading(key, None, header, delimiter)
    names = match_features(scorer.feature_names, layout(data, reading, label).names, data[0])
    found = _Found()
    for table in events.batches(data, features=names, label=label, **reading.arguments()):
        _add(found, network, scorer.score, table.rows)
    if found.box is None:
        raise CommandError("the data hold no row that can be scored")
    exact, coarse = np.concatenate(found.exact), np.concatenate(found.fixed)
    cut = choose_cut(scorer, threshold)
    value = float(np.quantile(exact, 1 - rate)) if cut is None else cut.value
    facts = _facts(found, exact, coarse, value)
    pairs = list(zip(network.intervals, analyse(network, found.box), strict=True))
    if as_json:
        console.print_json({"sums": [_entry(*pair) for pair in pairs], **facts})
        return
    console.out().print(_table(pairs))
    console.out().print()
    _print(facts)


def _format(text: str | None, signed: bool = True) -> Format | None:
    return None if text is None else Format.parse(text, signed)


def _add(
    found: _Found,
    network: FixedNetwork,
    score: Callable[[Any], npt.NDArray[np.float32]],
    rows: npt.NDArray[np.float32],
) -> None:
    scores = network.score(rows)
    usable = np.isfinite(scores)
    found.rows += len(rows)
    found.unusable += int((~usable).sum())
    if not usable.any():
        return
    found.exact.append(score(rows[usable]).astype(np.float64))
    found.fixed.append(scores[usable])
    ends = _ends(network, rows[usable])
    found.box = box_of(ends if found.box is None else np.concatenate([ends, found.box]))


def _ends(network: FixedNetwork, rows: npt.NDArray[np.float32]) -> Integers:
    """Smallest and largest standardised feature, in steps [2, d]."""
    format = network.input_format
    ends = (np.stack([rows.min(axis=0), rows.max(axis=0)]) - network.mean) * network.inverse_scale
    limits = np.array([[format.lowest], [format.highest]]) * format.step
    if format.overflow == "WRAP":
        # What wraps around may end up anywhere.
        outside = (ends[0] < limits[0]) | (ends[1] > limits[1])
        ends = np.where(outside, limits, ends)
    return format.quantise(np.clip(ends, *limits))


def _facts(
    found: _Found,
    exact: npt.NDArray[np.float64],
    coarse: npt.NDArray[np.float64],
    cut: float,
) -> dict[str, Any]:
    difference = np.abs(coarse - exact)
    above, fixed_above = exact > cut, coarse > cut
    return {
        "rows": found.rows,
        "not_finite": found.unusable,
        "difference": {
            "median": float(np.median(difference)),
            "largest": float(difference.max()),
        },
        "cut": cut,
        "above": int(above.sum()),
        "lost": int((above & ~fixed_above).sum()),
        "gained": int((~above & fixed_above).sum()),
    }


def _entry(every: Interval, here: Interval) -> dict[str, Any]:
    low, high = every.range
    return {
        "name": every.name,
        "format": str(every.format),
        "low": low,
        "high": high,
        "overflows": every.overflows,
        "integer_bits": every.integer,
        "overflows_in_data_ranges": here.overflows,
        "integer_bits_in_data_ranges": here.integer,
    }


def _table(pairs: list[tuple[Interval, Interval]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("sum")
    table.add_column("format")
    for name in ("lowest", "highest", "overflows", "integer bits", "for DATA"):
        table.add_column(name, justify="right")
    for every, here in pairs:
        low, high = every.range
        how = {"WRAP": "wraps", "SAT": "saturates"}[every.format.overflow]
        cells = (
            every.name,
            str(every.format),
            f"{low:.5g}",
            f"{high:.5g}",
            how if every.overflows else "no",
            str(every.integer),
            str(here.integer),
        )
        table.add_row(*map(Text, cells))
    return table


def _print(facts: dict[str, Any]) -> None:
    difference, n = facts["difference"], facts["rows"] - facts["not_finite"]
    flipped = facts["lost"] + facts["gained"]
    lines = [
        f"{n:,} rows scored, {facts['not_finite']:,} not finite",
        f"score difference: median {difference['median']:.4g}, largest {difference['largest']:.4g}",
        f"decisions at {facts['cut']:.5g}: {facts['above']:,} above, {flipped:,} flipped "
        f"({facts['lost']:,} lost, {facts['gained']:,} gained)",
    ]
    for line in lines:
        console.out().print(Text(line), soft_wrap=True)
