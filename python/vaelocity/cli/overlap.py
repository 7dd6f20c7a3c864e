"""`vaelocity overlap`: what several models accept of the same events, alone and together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

import vaelocity
from vaelocity import data as events
from vaelocity.cli import console, options
from vaelocity.cli.columns import layout, match_features
from vaelocity.cli.console import CommandError
from vaelocity.overlap import Overlap, Share
from vaelocity.units import format_rate, parse_rate


def overlap(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL.vael MODEL.vael DATA",
            help="Two or more model files, then the events: everything not named .vael.",
        ),
    ],
    threshold: options.ThresholdName = None,
    input_rate: options.InputRate = None,
    label: options.Label = None,
    threads: options.Threads = None,
    batch_size: options.BatchSize = 65536,
    key: options.Key = None,
    file_format: options.FileFormat = None,
    header: options.Header = None,
    delimiter: options.Delimiter = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Count which models accept which events: the rate of each, its pure rate (no other model
    accepts the event), and how much every two have in common.

    Exit code: 0; 2 for unusable input.
    """
    hz = None if input_rate is None else parse_rate(input_rate, "--input-rate")
    bundles = [name for name in files if name.endswith(".vael")]
    data = [name for name in files if not name.endswith(".vael")]
    if len(bundles) < 2 or not data:
        raise CommandError("expected two or more files named .vael, and events")
    scorers = [vaelocity.load(bundle) for bundle in bundles]
    counts = Overlap(_names(bundles))
    reading = options.Reading(key, file_format, header, delimiter)
    _count(counts, scorers, threshold, data, reading, label, batch_size, threads)
    if as_json:
        console.print_json(_as_json(counts, hz))
        return
    out = console.out()
    out.print(_rates(counts, hz))
    out.print()
    out.print(_pairs(counts))


def _names(bundles: Sequence[str]) -> list[str]:
    """The files' names without folder and suffix, where these are distinct."""
    short = [Path(bundle).stem for bundle in bundles]
    return short if len(set(short)) == len(short) else list(bundles)


def _count(
    counts: Overlap,
    scorers: Sequence[vaelocity.Scorer],
    threshold: str | None,
    data: Sequence[str],
    reading: options.Reading,
    label: str | None,
    batch_size: int,
    threads: int | None,
) -> None:
    found = layout(data, reading, label)
    wanted = [match_features(s.feature_names, found.names, data[0]) for s in scorers]
    union = list(dict.fromkeys(name for names in wanted for name in names))
    places = [np.array([union.index(name) for name in names]) for names in wanted]
    for table in events.batches(
        data, rows=batch_size, features=union, label=label, **reading.arguments()
    ):
        counts.update(
            [
                scorer.predict(table.rows[:, at], threshold, threads=threads or options.cores())
                for scorer, at in zip(scorers, places, strict=True)
            ]
        )
    if counts.n == 0:
        raise CommandError("the data hold no rows")


def _rates(counts: Overlap, hz: float | None) -> Table:
    title = f"{counts.n:,} events, {counts.any().events:,} accepted by at least one model"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("model")
    for column in ("accepted", "part", "interval (95 %)", "pure", "part", "interval (95 %)"):
        table.add_column(column, justify="right")
    for name in counts.names:
        table.add_row(name, *_cells(counts.accepted(name), hz), *_cells(counts.pure(name), hz))
    return table


def _cells(share: Share, hz: float | None) -> list[str]:
    values = [share.fraction, *share.interval]
    shown = [f"{v:.4g}" if hz is None else format_rate(v * hz) for v in values]
    return [f"{share.events:,}", shown[0], f"{shown[1]} to {shown[2]}"]


def _pairs(counts: Overlap) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("models", "both", "of the first", "of the second", "of either"):
        table.add_column(column, justify="left" if column == "models" else "right")
    for one, other in combinations(counts.names, 2):
        both = counts.both(one, other).events
        parts = [both / max(counts.accepted(name).events, 1) for name in (one, other)]
        parts.append(counts.jaccard(one, other))
        table.add_row(f"{one}, {other}", f"{both:,}", *(f"{100 * p:.3g} %" for p in parts))
    return table


def _as_json(counts: Overlap, hz: float | None) -> dict[str, Any]:
    def as_dict(share: Share) -> dict[str, Any]:
        rate = {} if hz is None else {"rate": share.fraction * hz}
        return {
            "events": share.events,
            "fraction": share.fraction,
            "interval": list(share.interval),
            **rate,
        }

    return {
        "events": counts.n,
        "input_rate": hz,
        "any": as_dict(counts.any()),
        "models": {
            name: {
                "accepted": as_dict(counts.accepted(name)),
                "pure": as_dict(counts.pure(name)),
            }
            for name in counts.names
        },
        "pairs": [
            {"models": [one, other], "both": as_dict(counts.both(one, other))}
            for one, other in combinations(counts.names, 2)
        ],
    }
