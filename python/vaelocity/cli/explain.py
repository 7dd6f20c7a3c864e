"""`vaelocity explain`: why events were flagged, feature by feature."""

from __future__ import annotations

from collections.abc import Sequence
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
from vaelocity.cli.top import Top, number, share
from vaelocity.explain import BAND, Explanation, reference_of

_SIDES = {"low": "low", "high": "high", "below": "below all", "above": "above all", "": ""}


def explain(
    bundle: options.Bundle,
    data: options.Data,
    row: Annotated[
        list[int] | None,
        typer.Option(
            "--row",
            metavar="I",
            help="An event, counting from 0; may be given more than once. Default: --top.",
        ),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", min=1, metavar="N", help="The N most anomalous events.")
    ] = 5,
    features: Annotated[
        int, typer.Option("--features", min=1, metavar="K", help="Reasons an event.")
    ] = 5,
    group: Annotated[
        list[str] | None,
        typer.Option(
            "--group",
            metavar="NAME=FEATURES",
            help='Also the score of a group: "muon=mu_pt,mu_eta*"; may be given more than once.',
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option("--threshold", help="A score, or the name of one of the model's thresholds."),
    ] = None,
    label: options.Label = None,
    key: options.Key = None,
    file_format: options.FileFormat = None,
    header: options.Header = None,
    delimiter: options.Delimiter = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Show which features make events anomalous, and how unusual their values are.

    The parts are those of the reconstruction score: they add up to it, but for rounding. A band
    holds 15 of 16 training rows.
    """
    scorer = vaelocity.load(bundle, kind="reconstruction")
    groups = _groups(group or [])
    number_of, rows = _chosen(scorer, data, options.Reading(key, file_format, header, delimiter),
                              label, row, top)  # fmt: skip
    found = scorer.explain(rows, features, groups, reference_of(bundle))
    cut = choose_cut(scorer, threshold)
    flagged = None if cut is None else ~(scorer.score(rows) <= np.float32(cut.value))
    if as_json:
        console.print_json(_as_json(number_of, found, None if cut is None else cut.value, flagged))
        return
    for i, event in enumerate(found):
        title = f"row {number_of[i]}: score {number(_none(event.score))}"
        if cut is not None and flagged is not None:
            side = "above" if flagged[i] else "not above"
            title += f", {side} {cut.value:.4g}" + (f" ({cut.name})" if cut.name else "")
        console.out().print(_table(event, title))
        if event.groups:
            parts = (f"{name} {number(_none(of))}" for name, of in event.groups.items())
            console.out().print(Text("groups: " + ", ".join(parts)))
        console.out().print()


def _groups(given: Sequence[str]) -> dict[str, list[str]] | None:
    found = {}
    for text in given:
        name, equals, members = text.partition("=")
        if not name or not equals or not options.names(members):
            raise CommandError(f"--group {text}: expected NAME=FEATURE,FEATURE,...")
        if name in found:
            raise CommandError(f"--group {text}: {name} more than once")
        found[name] = options.names(members) or []
    return found or None


def _chosen(
    scorer: vaelocity.Scorer,
    data: Sequence[str],
    reading: options.Reading,
    label: str | None,
    asked: Sequence[int] | None,
    top: int,
) -> tuple[list[int], npt.NDArray[np.float32]]:
    """Numbers and rows [n, d] of the events to explain."""
    names = match_features(scorer.feature_names, layout(data, reading, label).names, data[0])
    wanted = list(dict.fromkeys(asked or []))
    kept: dict[int, npt.NDArray[np.float32]] = {}
    best, first = Top(top), 0
    for table in events.batches(data, features=names, label=label, **reading.arguments()):
        if wanted:
            kept |= {i: table.rows[i - first] for i in wanted if first <= i < first + len(table)}
        else:
            best.add(first, scorer.score(table.rows), table.rows)
        first += len(table)
    if wanted:
        missing = [i for i in wanted if i not in kept]
        if missing:
            raise CommandError(f"--row {missing[0]}: the data hold {first:,} rows, from 0")
        return wanted, np.stack([kept[i] for i in wanted])
    if best.rows is None:
        raise CommandError("the data hold no row that can be scored")
    return best.number.tolist(), best.rows


def _table(event: Explanation, title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("feature")
    for name in ("value", "part", "share"):
        table.add_column(name, justify="right")
    table.add_column(f"{100 * BAND:.0f} % of the training")
    for reason in event.reasons:
        band = ""
        if reason.band is not None:
            band = f"{reason.band[0]:.4g} to {reason.band[1]:.4g}"
            band += f", {_SIDES[reason.outside]}" if reason.outside else ""
        cells = (
            reason.feature,
            number(_none(reason.value)),
            number(_none(reason.score)),
            share(_none(reason.share)),
            band,
        )
        table.add_row(*map(Text, cells))
    return table


def _as_json(
    number_of: Sequence[int],
    found: Sequence[Explanation],
    cut: float | None,
    flagged: npt.NDArray[np.bool_] | None,
) -> dict[str, Any]:
    listed = []
    for i, event in enumerate(found):
        entry = {"row": number_of[i], **event.to_dict()}
        if flagged is not None:
            entry["anomalous"] = bool(flagged[i])
        listed.append(entry)
    return {"threshold": cut, "band": BAND, "events": listed}


def _none(value: float) -> float | None:
    return value if np.isfinite(value) else None
