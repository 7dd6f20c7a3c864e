"""`vaelocity faults`: what the accepted rate would be if a channel broke."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

import vaelocity
from vaelocity.cli import console, options
from vaelocity.cli.batches import feature_batches, some_rows
from vaelocity.cli.console import CommandError
from vaelocity.faults import FAULTS, Effect, rate_changes
from vaelocity.units import format_rate, parse_rate


def faults(
    bundle: options.Bundle,
    data: options.Data,
    threshold: options.ThresholdName = None,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", help=f"One of {', '.join(FAULTS)}; default: all of them."),
    ] = None,
    rows: Annotated[
        int, typer.Option("--rows", min=1, help="Events that every fault is tried on.")
    ] = 20_000,
    show: Annotated[
        int, typer.Option("--show", min=1, help="Show the N faults that change the rate most.")
    ] = 20,
    input_rate: options.InputRate = None,
    kind: options.Kind = None,
    label: options.Label = None,
    normal: options.Normal = None,
    threads: options.Threads = None,
    key: options.Key = None,
    file_format: options.FileFormat = None,
    header: options.Header = None,
    delimiter: options.Delimiter = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Put faults into each channel of real events and count how many the model would accept.

    dead: always 0; stuck: at the median; saturated: at the largest value; hot: far above it;
    swapped: with the next channel. Exit code: 0; 2 for unusable input.
    """
    hz = None if input_rate is None else parse_rate(input_rate, "--input-rate")
    wanted = tuple(fault or FAULTS)
    unknown = [name for name in wanted if name not in FAULTS]
    if unknown:
        raise CommandError(f"--fault {unknown[0]}: expected one of {', '.join(FAULTS)}")
    scorer = vaelocity.load(bundle, kind=kind)
    reading = options.Reading(key, file_format, header, delimiter)
    tables = feature_batches(
        scorer, data, reading, batch_size=min(rows, 65536), label=label, normal=normal or []
    )
    events = some_rows(tables, rows)
    effects = rate_changes(scorer, events, threshold, wanted, threads or options.cores())
    if as_json:
        console.print_json(_as_json(len(events), effects, hz))
        return
    nominal = effects[0].nominal
    accepted = f"{nominal:.4g}" if hz is None else format_rate(nominal * hz)
    out = console.out()
    out.print(
        console.facts([("events", f"{len(events):,}"), ("accepted without a fault", accepted)])
    )
    out.print()
    out.print(_table(effects, hz, show))


def _table(effects: Sequence[Effect], hz: float | None, show: int) -> Table:
    def size(effect: Effect) -> float:
        low = 1e-12
        return abs(math.log((effect.accepted + low) / (effect.nominal + low)))

    table = Table(box=None, pad_edge=False)
    for column in ("channel", "fault", "accepted", "interval (95 %)", "of the nominal rate"):
        table.add_column(column, justify="left" if column in {"channel", "fault"} else "right")
    for one in sorted(effects, key=size, reverse=True)[:show]:
        values = [one.accepted, *one.interval]
        shown = [f"{v:.4g}" if hz is None else format_rate(v * hz) for v in values]
        table.add_row(
            one.feature, one.fault, shown[0], f"{shown[1]} to {shown[2]}", f"{one.ratio:.4g}"
        )
    return table


def _as_json(n: int, effects: Sequence[Effect], hz: float | None) -> dict[str, Any]:
    def as_dict(effect: Effect) -> dict[str, Any]:
        found = {**asdict(effect), "interval": list(effect.interval)}
        found["ratio"] = effect.ratio if math.isfinite(effect.ratio) else None
        return found

    return {"events": n, "input_rate": hz, "effects": [as_dict(effect) for effect in effects]}
