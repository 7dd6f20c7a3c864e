"""What the pages of all benchmarks share: files, tables, numbers as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def write(results: Mapping[str, Any], folder: Path, stem: str, page: str) -> None:
    """<stem>.json and <stem>.md in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / f"{stem}.md").write_text(page)


def machine_line(results: Mapping[str, Any]) -> str:
    """Where and when it was measured, and with what."""
    machine = results["machine"]
    packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items() if v)
    commit = f"commit {machine['commit']}; " if machine["commit"] else ""
    return (
        f"{machine['cpu']}, {machine['cpus']} CPUs, {', '.join(machine['flags'])}; "
        f"{machine['system']}; Python {machine['python']}; {packages}; "
        f"{commit}load average at the start "
        f"{machine['load_average'][0]:.2f}; {results['date']}."
    )


def requirements(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of what was promised."""
    return table(
        ("requirement", "wanted", "measured [95 %]", "met", "why"),
        [
            (r["name"], r["wanted"], r["measured"], "yes" if r["met"] else "**no**", r["why"])
            for r in found
        ],
    )


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Lines of a Markdown table."""
    line = "|" + "---|" * len(head)
    return [f"| {' | '.join(row)} |" for row in (head,)] + [
        line,
        *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows),
    ]


def ratio_text(ratio: Mapping[str, float] | None) -> str:
    """1.35 [1.33, 1.37]"""
    if ratio is None:
        return ""
    return f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def time_text(seconds: float) -> str:
    """1.04 ms"""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.0f} ns"


def error_text(entry: Mapping[str, Any]) -> str:
    """The largest error, where it was checked."""
    return "" if entry["error"] is None else f"{entry['error']:.0e}"
