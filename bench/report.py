"""Results of bench_score.py: JSON to Markdown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SCHEMA = 1


def write(results: Mapping[str, Any], folder: Path) -> None:
    """score.json and score.md in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "score.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "score.md").write_text(markdown(results))


def markdown(results: Mapping[str, Any]) -> str:
    """The page of one run."""
    machine = results["machine"]
    packages = ", ".join(f"{k} {v}" for k, v in machine["packages"].items() if v)
    peak = results["peak"]
    found = "not measured: " + peak["why"]
    if peak["gflops"]:
        spread = f"the middle 80 % of samples within {100 * peak['spread']:.1f} %"
        found = f"{peak['gflops']:.1f} GFLOP/s ({peak['why']}; {spread})"
    lines = [
        "# Scores a second, beside other runtimes",
        "",
        f"{machine['cpu']}, {machine['cpus']} CPUs, {', '.join(machine['flags'])}; "
        f"{machine['system']}; Python {machine['python']}; {packages}; "
        f"commit {machine['commit']}; load average at the start "
        f"{machine['load_average'][0]:.2f}; {results['date']}.",
        "",
        f"Measured peak of one core: {found}. The scorer ran {results['isa']}. {results['notes']}",
        "",
        "## Requirements",
        "",
        *_table(
            ("requirement", "wanted", "measured [95 %]", "met", "why"),
            [
                (r["name"], r["wanted"], r["measured"], "yes" if r["met"] else "**no**", r["why"])
                for r in results["requirements"]
            ],
        ),
    ]
    for case in results["cases"]:
        lines += ["", f"## {case['title']}", "", *_case(case)]
    return "\n".join(lines) + "\n"


def ratio_text(ratio: Mapping[str, float] | None) -> str:
    """1.35 [1.33, 1.37]"""
    if ratio is None:
        return ""
    return f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def _case(case: Mapping[str, Any]) -> list[str]:
    head = (
        "",
        "way",
        "time",
        "M rows/s",
        "% of peak",
        "time / vaelocity's [95 %]",
        "largest error",
    )
    rows = []
    for entry in case["entries"]:
        if entry["status"] != "timed":
            text = f"*{entry['status']}: {entry['reason']}*"
            rows.append((entry["name"], entry["way"], text, "", "", "", _error(entry)))
            continue
        peak = entry["percent_of_peak"]
        note = f" ({entry['information']})" if entry["information"] else ""
        rows.append(
            (
                entry["name"] + note,
                entry["way"],
                _time(entry["seconds"]["value"]),
                f"{case['rows'] / entry['seconds']['value'] / 1e6:.3g}",
                "" if peak is None else f"{peak:.0f}",
                ratio_text(entry["speedup"]),
                _error(entry),
            )
        )
    return _table(head, rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    line = "|" + "---|" * len(head)
    return [f"| {' | '.join(row)} |" for row in (head,)] + [
        line,
        *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows),
    ]


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.0f} ns"


def _error(entry: Mapping[str, Any]) -> str:
    return "" if entry["error"] is None else f"{entry['error']:.0e}"


if __name__ == "__main__":
    sys.stdout.write(markdown(json.loads(Path(sys.argv[1]).read_text())))
