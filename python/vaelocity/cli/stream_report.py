"""What `vaelocity stream` says when it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vaelocity.cli import console
from vaelocity.record_batch import flags_text
from vaelocity.threshold import Threshold

if TYPE_CHECKING:
    from vaelocity.stream import Pump
    from vaelocity.stream.recent import Recent
    from vaelocity.stream.shadow import ShadowWatch

__all__ = ["report"]

_SHOWN_DISAGREEMENTS = 10


def report(
    pump: Pump,
    title: str,
    made: Threshold | None,
    recent: Recent,
    compared: ShadowWatch | None,
    sink: str,
    *,
    as_json: bool,
) -> None:
    """Counts, rates, latencies, drift and the comparison with the shadow: on stdout, or on stderr
    where the scores go to stdout."""
    if as_json:
        console.print_json(_as_json(pump, recent, compared))
        return
    out = console.err() if sink == "-" else console.out()
    out.print(console.facts(_facts(pump, made, recent), title))
    found = None if compared is None else compared.summary()
    if found is not None:
        _print_comparison(out, found, None if made is None else made.input_rate)


def _as_json(pump: Pump, recent: Recent, compared: ShadowWatch | None) -> dict[str, Any]:
    scorer, drift = pump.scorer.scorer, recent.drift()
    found: dict[str, Any] = {
        **pump.stats.summary(),
        "fingerprint": scorer.fingerprint,
        "kind": scorer.kind,
        "threshold": pump.scorer.threshold,
        "drift": None if drift is None else drift.summary(),
    }
    if compared is not None:
        found["shadow"] = compared.summary()
    return found


def _facts(pump: Pump, made: Threshold | None, recent: Recent) -> list[tuple[str, str]]:
    from vaelocity.cli.live import accepted_text, drift_rows, latency_text

    stats = pump.stats
    mean = stats.events / stats.seconds if stats.seconds > 0 else 0.0
    decided = "no threshold" if pump.scorer.threshold is None else accepted_text(stats, made)
    drift = recent.drift()
    return [
        ("events", f"{stats.events:,} in {stats.messages:,} messages"),
        ("anomalous", decided),
        ("emitted", f"{stats.emitted:,}"),
        ("flagged", flags_text(stats.flagged)),
        ("refused", f"{stats.refused:,} messages"),
        ("time", f"{stats.seconds:.2f} s: {console.rate(mean)} events/s"),
        ("latency", latency_text(stats)),
        *([] if drift is None else drift_rows(drift)),
    ]


def _print_comparison(out: Console, found: dict[str, Any], hz: float | None) -> None:
    """The summary of a ShadowWatch, in words. hz: of all events, where the threshold knows it."""
    live, shadow = found["live"], found["shadow"]
    rows = [
        ("events", f"{found['events']:,} scored by both, {found['missed']:,} not by the shadow"),
        ("live", _model(live)),
        ("shadow", _model(shadow)),
        *_decisions(found, hz),
        (
            "correlation",
            f"{_digits(found['correlation'])} of the logarithms of the scores, "
            f"{_digits(found['rank_correlation'])} of the ranks (of "
            f"{found['rank_correlation_events']:,} events)",
        ),
    ]
    out.print()
    out.print(console.facts(rows, "The shadow beside the live model"))
    if found["earlier"]:
        out.print(f"{len(found['earlier'])} earlier comparison(s): --json, or the log, has them")
    if found["quantiles"]:
        out.print()
        out.print(_quantiles(found["quantiles"]))
    if found["disagreements"]:
        out.print()
        out.print("Where they disagree most; in brackets the part of the events with such a score:")
        out.print(_disagreements(found["disagreements"]))


def _model(one: dict[str, Any]) -> str:
    cut = one["threshold"]
    decides = "no threshold" if cut is None else f"above {cut:.6g}"
    return f"model {one['fingerprint']:.12}, {one['kind']}, {decides}"


def _decisions(found: dict[str, Any], hz: float | None) -> list[tuple[str, str]]:
    if found["decisions"] is None:
        return [("accepted", "not compared: not both have a threshold")]
    names = {
        "live": "live accepts", "shadow": "shadow accepts", "both": "both",
        "only_live": "only live", "only_shadow": "only shadow", "neither": "neither",
    }  # fmt: skip
    from vaelocity.cli.live import part_text

    rows = []
    for key, name in names.items():
        share = found["decisions"][key]
        part, low, high = (part_text(x, hz) for x in (share["fraction"], *share["interval"]))
        rows.append((name, f"{share['events']:,} ({part}, 95 % interval {low} to {high})"))
    return rows


def _digits(value: float | None) -> str:
    return "?" if value is None else f"{value:.4f}"


def _quantiles(found: list[dict[str, float]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("quantile", "live", "shadow"):
        table.add_column(column, justify="right")
    for one in found:
        table.add_row(f"{100 * one['q']:g} %", f"{one['live']:.5g}", f"{one['shadow']:.5g}")
    return table


def _disagreements(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    names = list(found[0]["event"])
    for name in names:
        table.add_column(name, overflow="fold")
    for name in ("live", "shadow"):
        table.add_column(name, justify="right")
    for one in found[:_SHOWN_DISAGREEMENTS]:
        scores = [
            f"{'NaN' if score is None else f'{score:.5g}'} ({part:.2g})"
            for score, part in zip(one["scores"], one["parts"], strict=True)
        ]
        table.add_row(*(Text(str(one["event"].get(name, ""))) for name in names), *scores)
    return table
