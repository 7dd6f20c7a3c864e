"""`vaelocity demo`: from jets to a frozen model, a scored stream and a report."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

import vaelocity
from vaelocity.cli import console, demo_tables, options, race, study
from vaelocity.cli.console import CommandError
from vaelocity.cli.score_loop import Counts, Cut, ScoreLoop, repeated
from vaelocity.cli.tensors import TensorFile
from vaelocity.cli.top import Top, explain
from vaelocity.cli.torch_threads import torch_threads
from vaelocity.data import Table

TOP = 10
BATCH = 65536
EAGER = "PyTorch eager, 1 thread"
FUSED_1, FUSED_2 = "fused scorer, 1 thread", "fused scorer, 2 threads"


@dataclass(frozen=True)
class Outcome:
    """Everything the demo found."""

    seed: int
    settings: study.Settings
    sample: study.Sample
    models: list[study.Model]
    results: list[study.Result]
    speed: dict[str, race.Entry]
    stream: Counts
    stream_threads: int
    top: list[dict[str, Any]]
    isa: str


def demo(
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="Folder for the models and the report.")
    ] = Path("vaelocity-demo"),
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Two epochs and a short stream: to try it, not to see it."),
    ] = False,
    rows: Annotated[
        int | None, typer.Option("--rows", min=1, help="Events in the stream; default 5,000,000.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the splits and the training.")] = 0,
    threads: options.Threads = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Train on quark jets alone, freeze, score a stream of all jets, and write report.html.

    Takes less than two minutes on two cores. Nothing is downloaded. Exit code: 0; 2 if a package or
    the folder is missing.
    """
    start = time.perf_counter()
    demo_page = _page()
    output_dir.mkdir(parents=True, exist_ok=True)
    settings = study.QUICK if quick else study.Settings()
    if rows is not None:
        settings = replace(settings, stream_rows=rows)
    with torch_threads(1):
        outcome = run(settings, output_dir, seed, threads or options.cores(), show=not as_json)
        report = demo_page.page(outcome).write(output_dir / "report.html")
    seconds = time.perf_counter() - start
    if as_json:
        console.print_json(_as_json(outcome, report, seconds))
    else:
        demo_tables.ending(outcome, report, seconds)


def _page() -> Any:
    """The module that makes the page, or which package it needs, before any work is done."""
    try:
        import sklearn  # noqa: F401
        import torch  # noqa: F401

        from vaelocity.cli import demo_page
    except ModuleNotFoundError as error:
        raise CommandError(f'the demo needs {error.name}: pip install "vaelocity[demo]"') from error
    return demo_page


def run(settings: study.Settings, folder: Path, seed: int, threads: int, *, show: bool) -> Outcome:
    """Train, evaluate, time and stream. show: print each result when it is there."""
    from vaelocity.data import jets

    sample = study.split(jets.load(), seed)
    if show:
        demo_tables.beginning(sample)
    models = study.train_models(sample, settings, folder, seed)
    results = study.evaluate(study.all_methods(models, sample), sample)
    if show:
        demo_tables.quality(models, results)
    unseen = sample.unseen()
    ae = models[0].scorer("reconstruction")
    speed = measure(models[0].trained.path, ae, unseen, settings)
    if show:
        demo_tables.speed(speed, ae.isa)
    counts, top = score_stream(models[0], unseen, settings.stream_rows, threads)
    outcome = Outcome(seed, settings, sample, models, results, speed, counts, threads, top, ae.isa)
    if show:
        demo_tables.stream(outcome)
    return outcome


def measure(
    path: Path, scorer: vaelocity.Scorer, jets: Table, settings: study.Settings
) -> dict[str, race.Entry]:
    """Events/s of plain PyTorch and of the fused scorer, in turns, on the same rows."""
    rows = next(repeated(jets, settings.race_rows, settings.race_rows)).rows
    runners: dict[str, race.Score] = {
        EAGER: race.plain_torch(scorer.metadata, TensorFile(path)),
        FUSED_1: lambda x: scorer.score(x, threads=1),
        FUSED_2: lambda x: scorer.score(x, threads=2),
    }
    return race.race(runners, rows, rounds=settings.race_rounds)


def score_stream(
    model: study.Model, jets: Table, rows: int, threads: int
) -> tuple[Counts, list[dict[str, Any]]]:
    """Score `rows` events, the jets again and again; the top events are those of the first pass."""
    scorer = model.scorer("reconstruction")
    threshold = model.trained.threshold
    assert threshold is not None
    stream = ScoreLoop(scorer, Cut(float(threshold.value), threshold.name), threads, Top(TOP))
    start = time.perf_counter()
    with console.event_progress() as progress:
        task = progress.add_task("scoring", total=rows)
        for table in repeated(replace(jets, labels=None), rows, BATCH):
            stream.columns(table)
            progress.advance(task, len(table))
    stream.counts.seconds = time.perf_counter() - start
    first_pass = ScoreLoop(scorer, None, threads, Top(TOP))
    first_pass.columns(jets)
    return stream.counts, explain(first_pass.top, scorer, scorer.feature_names)


def _as_json(outcome: Outcome, report: Path, seconds: float) -> dict[str, Any]:
    def ratio(name: str) -> dict[str, float]:
        return asdict(race.ratio(outcome.speed[name], outcome.speed[EAGER]))

    return {
        "seed": outcome.seed,
        "settings": asdict(outcome.settings),
        "jets": study.sizes(outcome.sample),
        "models": [str(model.trained.path) for model in outcome.models],
        "methods": [
            {
                "method": result.method.key,
                "auc": {name: e._asdict() for name, e in result.auc.items()},
                "efficiency": {name: e._asdict() for name, e in result.efficiency.items()},
            }
            for result in outcome.results
        ],
        "fpr": study.FPR,
        "speed": {
            name: {"events_per_s": entry.rate, "batch": entry.batch}
            for name, entry in outcome.speed.items()
        },
        "ratio": {name: ratio(name) for name in (FUSED_1, FUSED_2)},
        "isa": outcome.isa,
        "stream": asdict(outcome.stream),
        "top": outcome.top,
        "report": str(report),
        "seconds": seconds,
    }
