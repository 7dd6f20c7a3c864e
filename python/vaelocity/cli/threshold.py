"""`vaelocity threshold`: put a named threshold for a rate into a model file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

import vaelocity
from vaelocity import Threshold
from vaelocity.bundle import read_bundle
from vaelocity.bundle_parts import get_histogram
from vaelocity.cli import console, options
from vaelocity.cli.batches import feature_batches
from vaelocity.cli.console import CommandError
from vaelocity.histogram import ScoreHistogram
from vaelocity.threshold import threshold_for
from vaelocity.units import format_rate, lhc_input_rate
from vaelocity.working_points import store_thresholds, working_points

_ASKED = "What is asked for"


def threshold(
    bundle: options.Bundle,
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DATA]",
            help="Held-out events; without, the score histogram in the model is used.",
        ),
    ] = None,
    fpr: Annotated[
        float | None,
        typer.Option("--fpr", rich_help_panel=_ASKED, help="Part of normal events above it."),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate",
            metavar="RATE",
            rich_help_panel=_ASKED,
            help='Accepted rate: "1 kHz"; needs --input-rate or --bunches.',
        ),
    ] = None,
    contamination: Annotated[
        float | None,
        typer.Option(
            "--contamination",
            rich_help_panel=_ASKED,
            help="Part of DATA that is anomalous; DATA are then events as they come.",
        ),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(
            "--point",
            metavar="NAME=VALUE",
            rich_help_panel=_ASKED,
            help='Several at once: "loose=20 Hz" "tight=1e-5" (a part, without a unit).',
        ),
    ] = None,
    input_rate: options.InputRate = None,
    bunches: Annotated[
        int | None,
        typer.Option(
            "--bunches", help="Colliding LHC bunches: an input rate of 11,245.6 Hz for each."
        ),
    ] = None,
    luminosity: Annotated[
        float | None,
        typer.Option(
            "--luminosity",
            help="Of the run the threshold is for; with --bunches and --sample-luminosity, in its "
            "unit: the rate is taken to be proportional to it.",
        ),
    ] = None,
    sample_luminosity: Annotated[
        float | None,
        typer.Option("--sample-luminosity", help="Of the run that DATA was taken in."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the threshold; default: what was asked for.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="MODEL.vael",
            help="The model with the threshold; may be the same file. Without, it is only shown.",
        ),
    ] = None,
    first: Annotated[
        bool,
        typer.Option("--default", help="Make it the one that is taken where none is named."),
    ] = False,
    keep_histogram: Annotated[
        bool,
        typer.Option(
            "--histogram/--no-histogram",
            help="Store the counts of DATA's scores, too: 12 bytes for each bin in use.",
        ),
    ] = True,
    kind: options.Kind = None,
    confidence: Annotated[float, typer.Option("--confidence", help="Of the interval.")] = 0.95,
    count_not_finite: Annotated[
        bool,
        typer.Option(
            "--count-not-finite",
            help="Count events without a score as accepted, which they are, instead of stopping.",
        ),
    ] = False,
    label: options.Label = None,
    normal: options.Normal = None,
    weight: Annotated[
        str | None, typer.Option("--weight", metavar="COLUMN", help="Weights of the events.")
    ] = None,
    threads: options.Threads = None,
    batch_size: options.BatchSize = 65536,
    key: options.Key = None,
    file_format: options.FileFormat = None,
    header: options.Header = None,
    delimiter: options.Delimiter = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Find a threshold for a rate, a false-positive rate or a contamination, with its interval.

    DATA must not have trained the model. Scores are counted in a histogram of 0.05 % wide bins, so
    any number of events takes the same memory. Exit code: 0; 2 for unusable input, too few events
    for what is asked among it (the message says how many it takes).
    """
    if output is not None:
        options.check_output(output)
    scorer = vaelocity.load(bundle, kind=kind)
    if data:
        reading = options.Reading(key, file_format, header, delimiter)
        tables = feature_batches(
            scorer,
            data,
            reading,
            batch_size=batch_size,
            label=label,
            normal=normal or [],
            weight=weight,
        )
        histogram = ScoreHistogram(scorer.kind, scorer.identity)
        for table in tables:
            scores = scorer.score(table.rows, threads=threads or options.cores())
            histogram.update(scores, table.weights if weight is not None else None)
    else:
        histogram = _stored(bundle, scorer)
    found = _find(
        histogram,
        point,
        fpr=fpr,
        rate=rate,
        contamination=contamination,
        name=name,
        input_rate=_input_rate(input_rate, bunches, luminosity, sample_luminosity),
        confidence=confidence,
        not_finite="count" if count_not_finite else "refuse",
    )
    if output is not None:
        kept = histogram if data and keep_histogram and contamination is None else None
        store_thresholds(bundle, found, output, histogram=kept, first=first)
    _report(found, output, as_json)


def _stored(bundle: Path, scorer: vaelocity.Scorer) -> ScoreHistogram:
    histogram = get_histogram(*read_bundle(bundle), scorer.kind)
    if histogram is None:
        raise CommandError(f"{bundle}: holds no histogram of {scorer.kind} scores; give DATA")
    return histogram


def _input_rate(
    rate: str | None, bunches: int | None, luminosity: float | None, sample: float | None
) -> str | float | None:
    if rate is not None and bunches is not None:
        raise CommandError("--input-rate and --bunches both say how many events there are")
    if bunches is None:
        if luminosity is not None or sample is not None:
            raise CommandError("--luminosity and --sample-luminosity need --bunches")
        return rate
    return lhc_input_rate(bunches, luminosity, sample)


def _find(
    histogram: ScoreHistogram, points: Sequence[str] | None, **arguments: Any
) -> list[Threshold]:
    if not points:
        return [threshold_for(histogram=histogram, **arguments)]
    for one in ("fpr", "rate", "contamination", "name"):
        if arguments.pop(one) is not None:
            raise CommandError(f"--point and --{one} both say what is asked for")
    return working_points(_points(points), histogram=histogram, **arguments)


def _points(texts: Sequence[str]) -> dict[str, float | str]:
    """'loose=20 Hz' as {"loose": "20 Hz"}, 'tight=1e-5' as {"tight": 1e-5}."""
    points: dict[str, float | str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name.strip() and equals) or name.strip() in points:
            raise CommandError(f'--point {text}: expected NAME=VALUE, such as "loose=20 Hz", once')
        try:
            points[name.strip()] = float(value)
        except ValueError:
            points[name.strip()] = value
    return points


def _report(found: Sequence[Threshold], output: Path | None, as_json: bool) -> None:
    for one in found:
        if one.achieved < 0.9 * one.fpr:
            console.warn(
                f"{one.name}: {one.achieved:.4g} accepted instead of {one.fpr:.4g}, since "
                f"{one.ties:,} scores tie at the threshold"
            )
    if as_json:
        saved = None if output is None else str(output)
        console.print_json({"output": saved, "thresholds": [one.to_dict() for one in found]})
        return
    console.out().print(threshold_table(found))
    if output is not None:
        console.out().print(console.facts([("saved", str(output))]))


def threshold_table(thresholds: Sequence[Threshold]) -> Table:
    """One line a threshold."""
    table = Table(title="thresholds", title_justify="left", box=None, pad_edge=False)
    columns = ("name", "score", "value", "accepted", "rate", "interval", "events", "ties")
    for column in columns:
        table.add_column(column, justify="left" if column in {"name", "score"} else "right")
    for one in thresholds:
        if one.rate is None or one.rate_interval is None:
            rate, ends = "", [f"{end:.4g}" for end in one.interval]
        else:
            rate, ends = format_rate(one.rate), [format_rate(end) for end in one.rate_interval]
        table.add_row(
            one.name,
            one.kind,
            f"{one.value:.6g}",
            f"{one.achieved:.4g}",
            rate,
            f"{ends[0]} to {ends[1]} ({100 * one.confidence:g} %)",
            f"{one.n:,}",
            f"{one.ties:,}",
        )
    return table
