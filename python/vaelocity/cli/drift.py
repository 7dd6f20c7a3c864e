"""`vaelocity drift`: how the data differ from those the model was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

import vaelocity
from vaelocity.bundle import read_bundle
from vaelocity.bundle_parts import get_histogram, get_reference
from vaelocity.cli import console, options
from vaelocity.cli.batches import feature_batches
from vaelocity.cli.console import CommandError
from vaelocity.drift import Channel, DriftMonitor, score_drift


def drift(
    bundle: options.Bundle,
    data: options.Data,
    fail: Annotated[
        bool, typer.Option("--fail", help="End with exit code 1 if a channel is not ok.")
    ] = False,
    every: Annotated[
        int, typer.Option("--every", min=1, help="Look at the inputs of every N-th row.")
    ] = 1,
    kind: options.Kind = None,
    label: options.Label = None,
    normal: options.Normal = None,
    threads: options.Threads = None,
    batch_size: options.BatchSize = 65536,
    key: options.Key = None,
    file_format: options.FileFormat = None,
    header: options.Header = None,
    delimiter: options.Delimiter = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Compare every input with the training rows and the score with the held-out rows.

    PSI: below 0.1 stable, above 0.25 a major change. KS: largest distance of the cumulative
    distributions. Channels that are dead (0), stuck, hot or low (beyond all training rows) or
    missing are named. Exit code: 0; 1 see --fail; 2 unusable input, a model without a reference
    among it.
    """
    scorer = vaelocity.load(bundle, kind=kind)
    metadata, tensors = read_bundle(bundle)
    reference = get_reference(metadata, tensors)
    if reference is None:
        raise CommandError(f"{bundle}: holds no distributions of the training rows to compare with")
    monitor = DriftMonitor(reference, every)
    histogram = vaelocity.ScoreHistogram(scorer.kind, scorer.identity)
    reading = options.Reading(key, file_format, header, delimiter)
    for table in feature_batches(
        scorer, data, reading, batch_size=batch_size, label=label, normal=normal or []
    ):
        monitor.update(table.rows)
        histogram.update(scorer.score(table.rows, threads=threads or options.cores()))
    channels = monitor.channels(scorer.feature_names)
    expected = get_histogram(metadata, tensors, scorer.kind)
    comparable = expected is not None and histogram.n > histogram.n_nan
    score = score_drift(expected, histogram) if expected is not None and comparable else None
    if as_json:
        console.print_json(_as_json(monitor.n, channels, scorer.kind, score))
    else:
        _print(monitor.n, channels, scorer.kind, score)
    if fail and any(channel.state != "ok" for channel in channels):
        raise typer.Exit(console.FAILED)


def _print(
    n: int, channels: Sequence[Channel], kind: str, score: tuple[float, float] | None
) -> None:
    bad = sum(channel.state != "ok" for channel in channels)
    found = "no histogram in the model to compare with"
    if score is not None:
        found = f"PSI {score[0]:.4g}, KS {score[1]:.4g}"
    out = console.out()
    out.print(
        console.facts(
            [
                ("rows", f"{n:,} compared with the training rows"),
                ("channels", f"{len(channels)}, {bad} not ok"),
                (f"{kind} score", found),
            ]
        )
    )
    out.print()
    table = Table(box=None, pad_edge=False)
    for column in ("channel", "state", "PSI", "KS", "missing", "above", "below"):
        table.add_column(column, justify="left" if column in {"channel", "state"} else "right")
    for one in sorted(channels, key=lambda c: (c.state == "ok", -c.psi if c.psi == c.psi else 0)):
        style = None if one.state == "ok" else "bold red"
        shown = [f"{value:.4g}" for value in (one.psi, one.ks, one.missing, one.above, one.below)]
        table.add_row(one.name, one.state, *shown, style=style)
    out.print(table)


def _as_json(
    n: int, channels: Sequence[Channel], kind: str, score: tuple[float, float] | None
) -> dict[str, Any]:
    return {
        "rows": n,
        "kind": kind,
        "score": None if score is None else {"psi": score[0], "ks": score[1]},
        "channels": [
            {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in found.items()}
            for found in map(asdict, channels)
        ],
    }
