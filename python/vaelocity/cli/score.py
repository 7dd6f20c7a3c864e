"""`vaelocity score`: events in, scores out, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

import vaelocity
from vaelocity import data as events
from vaelocity.cli import console, options
from vaelocity.cli.columns import Layout, layout, match_features
from vaelocity.cli.console import CommandError
from vaelocity.cli.score_loop import Counts, Cut, ScoreLoop
from vaelocity.cli.top import Top, explain, top_table
from vaelocity.cli.writers import ScoreWriter, check_target
from vaelocity.cluster.shards import SHARD, Shard
from vaelocity.record_batch import model_metadata


class FailOn(StrEnum):
    """What makes `score` end with exit code 1."""

    nothing = "nothing"
    flagged = "flagged"
    anomalous = "anomalous"


def score(
    bundle: options.Bundle,
    data: options.Data,
    output: Annotated[
        str,
        typer.Option("--output", "-o", help=".parquet, .arrow, .csv or .npy; - is CSV on stdout."),
    ],
    kind: Annotated[
        str | None, typer.Option("--kind", help="Score kind; default: the model's own.")
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            "--threshold", help="A score, or the name of a threshold in the model: fpr=0.01."
        ),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", min=0, help="Show the N most anomalous events.", metavar="N")
    ] = 0,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Score only share I, from 0, of N; see merge.",
        ),
    ] = None,
    label: options.Label = None,
    threads: options.Threads = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Rows in memory at a time.")
    ] = 65536,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="End with exit code 1 if such an event was seen.")
    ] = FailOn.nothing,
    key: options.Key = None,
    file_format: options.FileFormat = None,
    header: options.Header = None,
    delimiter: options.Delimiter = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Score events with a frozen model: columns row, score, flags, anomalous (and label).

    flags: 1 the row holds a NaN or an infinity, 2 the score saturated, 4 a missing value that the
    model deals with. A row whose score is NaN counts as anomalous. Exit code: 0 all rows were
    scored; 1 see --fail-on; 2 unusable input.
    """
    check_target(output)
    if output == "-" and as_json:
        raise CommandError("--json and -o - both want stdout; choose one")
    if output != "-":
        options.check_output(Path(output))
    part = None if shard is None else Shard.parse(shard)
    if part is not None and Path(output).suffix.lower() not in (".parquet", ".pq"):
        raise CommandError(f"--output {output}: --shard needs a Parquet file")
    reading = options.Reading(key, file_format, header, delimiter)
    if part is not None:
        data = [str(file.path) for file in part.of(reading.files(data))]
    scorer = vaelocity.load(bundle, kind=kind)
    stream = ScoreLoop(scorer, choose_cut(scorer, threshold), threads or options.cores(), Top(top))
    found = layout(data, reading, label)
    names = match_features(scorer.feature_names, found.names, data[0])
    if stream.cut is None:
        console.warn(
            f"the model holds no threshold for {scorer.kind} scores: "
            "no column `anomalous` (see --threshold)"
        )
    batches = events.batches(
        data, rows=batch_size, features=names, label=label, **reading.arguments()
    )
    _run(stream, batches, output, found, part, with_label=label is not None)
    _report(stream, _explained(stream, bundle), output, as_json)
    _finish(stream.counts, fail_on)


def choose_cut(scorer: vaelocity.Scorer, wanted: str | None) -> Cut | None:
    """The threshold to apply: as asked, or the model's first one for this kind of score, if any."""
    stored = scorer.thresholds
    if wanted is None:
        if stored:
            first = next(iter(stored.values()))
            return Cut(first.value, first.name)
        return None
    if wanted in stored:
        return Cut(stored[wanted].value, wanted)
    try:
        value = float(wanted)
    except ValueError:
        value = float("nan")
    if np.isnan(value):
        known = ", ".join(stored) or "none"
        raise CommandError(
            f"--threshold {wanted}: expected a number or a threshold in the model "
            f"(for {scorer.kind}: {known})"
        )
    return Cut(value)


def _run(
    stream: ScoreLoop,
    batches: Iterator[events.Table],
    output: str,
    found: Layout,
    part: Shard | None,
    *,
    with_label: bool,
) -> None:
    start = time.perf_counter()
    histogram = vaelocity.ScoreHistogram(stream.scorer.kind, stream.scorer.identity)
    progress: Progress = console.event_progress()
    with ScoreWriter(output) as writer, progress:
        task = progress.add_task("scoring", total=found.rows)
        for table in batches:
            columns = stream.columns(table)
            if not with_label:
                columns.pop("label", None)
            writer.write(columns)
            if part is not None:
                histogram.update(columns["score"])
            progress.advance(task, len(table))
        if stream.counts.rows == 0:
            raise CommandError("the data hold no rows")
        if part is not None:
            writer.metadata.update(_shard_metadata(stream, part, histogram))
    stream.counts.seconds = time.perf_counter() - start


def _shard_metadata(
    stream: ScoreLoop, part: Shard, histogram: vaelocity.ScoreHistogram
) -> dict[str, str]:
    from vaelocity.cluster.merge import histogram_metadata

    threshold = None if stream.cut is None else stream.cut.value
    return {
        SHARD: str(part),
        **model_metadata(stream.scorer, threshold),
        **histogram_metadata(histogram),
    }


def _explained(stream: ScoreLoop, bundle: Path) -> list[dict[str, Any]]:
    """The top events; only the reconstruction score has contributions of features."""
    if stream.top.n == 0:
        return []
    scorer = vaelocity.load(bundle, kind="reconstruction", verify=False)
    return explain(stream.top, scorer, scorer.feature_names)


def _report(stream: ScoreLoop, best: Sequence[dict[str, Any]], output: str, as_json: bool) -> None:
    if as_json:
        console.print_json(_summary(stream, output, best))
        return
    target: Console = console.err() if output == "-" else console.out()
    target.print(console.facts(_facts(stream, output)))
    if best:
        target.print()
        target.print(top_table(best, f"the {len(best)} most anomalous events"))


def _summary(stream: ScoreLoop, output: str, best: Sequence[dict[str, Any]]) -> dict[str, Any]:
    counts, cut = stream.counts, stream.cut
    return {
        "output": output,
        "kind": stream.scorer.kind,
        "rows": counts.rows,
        "threshold": None if cut is None else cut.value,
        "threshold_name": None if cut is None else cut.name,
        "anomalous": None if cut is None else counts.anomalous,
        "flagged": {"nan_or_inf": counts.nan, "saturated": counts.saturated},
        "missing": counts.missing,
        "seconds": counts.seconds,
        "scoring_seconds": counts.scoring_seconds,
        "threads": stream.threads,
        "isa": stream.scorer.isa,
        "fingerprint": stream.scorer.fingerprint,
        "top": list(best),
    }


def _facts(stream: ScoreLoop, output: str) -> list[tuple[str, str]]:
    counts, cut, scorer = stream.counts, stream.cut, stream.scorer
    share = 100 * counts.anomalous / counts.rows
    decided = "no threshold"
    if cut is not None:
        name = f" ({cut.name})" if cut.name else ""
        decided = f"{counts.anomalous:,} ({share:.3g} %) above {cut.value:.6g}{name}"
    flagged = f"{counts.nan:,} with NaN or infinity, {counts.saturated:,} saturated"
    if counts.missing:
        flagged += f", {counts.missing:,} with missing values left out or replaced"
    return [
        ("events", f"{counts.rows:,}"),
        ("anomalous", decided),
        ("flagged", flagged),
        ("score", f"{scorer.kind}, {scorer.isa}, {stream.threads} thread(s)"),
        (
            "time",
            f"{counts.seconds:.2f} s: {console.rate(counts.rows / counts.seconds)} events/s; "
            f"scoring alone {counts.scoring_seconds:.2f} s: "
            f"{console.rate(counts.rows / counts.scoring_seconds)} events/s",
        ),
        ("saved", "stdout" if output == "-" else output),
    ]


def _finish(counts: Counts, fail_on: FailOn) -> None:
    if counts.flagged:
        console.warn(
            f"{counts.flagged:,} of {counts.rows:,} rows are flagged: see the column `flags`"
        )
    met = {FailOn.flagged: counts.flagged, FailOn.anomalous: counts.anomalous}.get(fail_on, 0)
    if met:
        raise typer.Exit(console.FAILED)
