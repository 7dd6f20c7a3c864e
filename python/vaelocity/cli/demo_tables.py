"""What the demo prints: one table when each of its results is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from vaelocity.cli import race, study
from vaelocity.cli.console import facts, out, rate
from vaelocity.cli.top import top_table
from vaelocity.report.metrics import Estimate

if TYPE_CHECKING:
    from vaelocity.cli.demo import Outcome


def beginning(sample: study.Sample) -> None:
    counts = study.sizes(sample)
    others = ", ".join(f"{counts[name]:,} {name}" for name in sample.anomalies)
    out().print(
        f"{counts['training']:,} quark jets to train on, {sample.training.n_features} features; "
        f"{counts['test']:,} quark jets, {others} to test on"
    )


def quality(models: Sequence[study.Model], results: Sequence[study.Result]) -> None:
    console = out()
    for model in models:
        history = model.trained.history
        console.print(
            f"{model.name}: {len(history['loss'])} epochs in {model.trained.seconds:.1f} s, "
            f"frozen in {model.trained.path}"
        )
    console.print()
    console.print(_estimates("AUC, quark jets against", {r.method.name: r.auc for r in results}, 1))
    console.print()
    title = f"efficiency in % at {100 * study.FPR:g} % false positives"
    console.print(_estimates(title, {r.method.name: r.efficiency for r in results}, 100))
    console.print()


def _estimates(title: str, rows: Mapping[str, Mapping[str, Estimate]], scale: float) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("score")
    for name in next(iter(rows.values())):
        table.add_column(name, justify="right")
    best = {
        name: max(values[name].value for values in rows.values())
        for name in next(iter(rows.values()))
    }
    for method, values in rows.items():
        cells = []
        for name, estimate in values.items():
            text = estimate_text(estimate, scale)
            cells.append(f"[bold]{text}[/bold]" if estimate.value == best[name] else text)
        table.add_row(method, *cells)
    return table


def estimate_text(estimate: Estimate, scale: float = 1) -> str:
    """0.846 ± 0.005, or with scale 100: 3.2 ± 0.4."""
    digits = 3 if scale == 1 else 1
    return f"{estimate.value * scale:.{digits}f} ± {estimate.error * scale:.{digits}f}"


def speed(entries: Mapping[str, race.Entry], isa: str) -> None:
    """Events/s of every runner; the ratio to the first one."""
    console = out()
    title = f"events/s, in turns on the same jets ({isa}; median of {_rounds(entries)} rounds)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("", "events/s", "batch", "times PyTorch (9 rounds in 10)"):
        table.add_column(name, justify="left" if not name else "right")
    for row in speed_rows(entries):
        table.add_row(*row)
    console.print(table)
    console.print()


def speed_rows(entries: Mapping[str, race.Entry]) -> list[list[str]]:
    first = next(iter(entries.values()))
    rows = []
    for name, entry in entries.items():
        times = race.ratio(entry, first)
        text = "" if entry is first else f"{times.value:.1f} ({times.low:.1f} to {times.high:.1f})"
        rows.append([name, rate(entry.rate), f"{entry.batch:,}", text])
    return rows


def _rounds(entries: Mapping[str, race.Entry]) -> int:
    return len(next(iter(entries.values())).rates)


def stream(outcome: Outcome) -> None:
    console = out()
    console.print(facts([("stream", stream_text(outcome))]))
    console.print()
    console.print(top_table(outcome.top, "the most anomalous jets"))
    console.print()


def stream_text(outcome: Outcome) -> str:
    counts = outcome.stream
    return (
        f"{counts.rows:,} jets in {counts.seconds:.2f} s: {rate(counts.rows / counts.seconds)} "
        f"events/s; scoring alone {counts.scoring_seconds:.2f} s: "
        f"{rate(counts.rows / counts.scoring_seconds)} events/s with {outcome.stream_threads} "
        f"thread(s); {100 * counts.anomalous / counts.rows:.2f} % above the threshold"
    )


def ending(outcome: Outcome, report: Path, seconds: float) -> None:
    out().print(
        facts(
            [
                ("report", str(report)),
                ("models", ", ".join(str(model.trained.path) for model in outcome.models)),
                ("time", f"{seconds:.0f} s"),
            ]
        )
    )
