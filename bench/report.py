"""Results of bench_score.py: JSON to Markdown."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pages

SCHEMA = 1


def write(results: Mapping[str, Any], folder: Path) -> None:
    """score.json and score.md in `folder`, which is made."""
    pages.write(results, folder, "score", markdown(results))


def markdown(results: Mapping[str, Any]) -> str:
    """The page of one run."""
    peak = results["peak"]
    found = "not measured: " + peak["why"]
    if peak["gflops"]:
        spread = f"the middle 80 % of samples within {100 * peak['spread']:.1f} %"
        found = f"{peak['gflops']:.1f} GFLOP/s ({peak['why']}; {spread})"
    lines = [
        "# Scores a second, beside other runtimes",
        "",
        pages.machine_line(results),
        "",
        f"Measured peak of one core: {found}. The scorer ran {results['isa']}. {results['notes']}",
        "",
        "## Requirements",
        "",
        *pages.requirements(results["requirements"]),
    ]
    for case in results["cases"]:
        lines += ["", f"## {case['title']}", "", *_case(case)]
    return "\n".join(lines) + "\n"


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
            rows.append((entry["name"], entry["way"], text, "", "", "", pages.error_text(entry)))
            continue
        peak = entry["percent_of_peak"]
        note = f" ({entry['information']})" if entry["information"] else ""
        rows.append(
            (
                entry["name"] + note,
                entry["way"],
                pages.time_text(entry["seconds"]["value"]),
                f"{case['rows'] / entry['seconds']['value'] / 1e6:.3g}",
                "" if peak is None else f"{peak:.0f}",
                pages.ratio_text(entry["speedup"]),
                pages.error_text(entry),
            )
        )
    return pages.table(head, rows)


if __name__ == "__main__":
    sys.stdout.write(markdown(json.loads(Path(sys.argv[1]).read_text())))
