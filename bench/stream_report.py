"""Results of bench_stream.py: one line of the page each, and JSON to Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vaelocity.benchmark import pages
from vaelocity.benchmark.timing import Estimate

__all__ = ["SCHEMA", "line", "markdown"]

SCHEMA = 2


def line(
    title: str,
    events: int,
    per_second: float,
    *,
    ratio: Estimate | None = None,
    of: str = "",
    latency: Mapping[str, float] | None = None,
    wanted: str = "stated",
    met: bool | None = None,
    note: str = "",
    **more: Any,
) -> dict[str, Any]:
    """What was measured of one way.

    ratio, of: its rate divided by that of something else, and what that is.
    latency: seconds by name: p50, p99, p99.9.
    more: what only the JSON tells.
    """
    return {
        "title": title,
        "events": events,
        "events_per_second": per_second,
        "ratio": None if ratio is None else asdict(ratio),
        "of": of,
        "latency": None if latency is None else dict(latency),
        "wanted": wanted,
        "met": met,
        "note": note,
        **more,
    }


def markdown(results: Mapping[str, Any]) -> str:
    """The page."""
    head = ("", "M events/s", "part of [95 %]", "p50 / p99 / p99.9", "wanted", "met", "")
    lines = [
        "# Events a second through a stream",
        "",
        f"{pages.machine_line(results)} Network {results['network']} unless another is named.",
        "",
        *pages.table(head, [_cells(case) for case in results["cases"]]),
    ]
    return "\n".join(lines) + "\n"


def _cells(case: Mapping[str, Any]) -> tuple[str, ...]:
    part = pages.ratio_text(case["ratio"])
    latency = case["latency"] or {}
    return (
        case["title"],
        f"{case['events_per_second'] / 1e6:.3g}",
        f"{part} of {case['of']}" if part else "",
        " / ".join(pages.time_text(seconds) for seconds in latency.values()),
        case["wanted"],
        {True: "yes", False: "**no**", None: ""}[case["met"]],
        case["note"],
    )
