"""Results of bench_fit.py: judged, and JSON to Markdown."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fit_contenders import FLOOR, ONE_ROW
from requirements import speed

from vaelocity.benchmark import pages

SCHEMA = 1

WANTED = (
    *((f"{kind}/{batch}", "pyod", 10.0)
      for kind in ("Autoencoder", "VAE") for batch in (256, 1024, 8192)),
    ("VAE/256", "torch eager loop", 1.5),
)  # fmt: skip
"""(case, rival, how many times faster): issue 3."""


def judge(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """name, wanted, measured, met, why of every requirement whose case was run."""
    cases = {case["id"]: case for case in results["cases"]}
    found = []
    for name, rival, factor in WANTED:
        if case := cases.get(name):
            entries = {e["name"]: e for e in case["entries"] if e["speedup"]}
            verdict = speed(case, entries.get(rival), factor)
            if not verdict["met"]:
                verdict["why"] += _explained(entries, rival)
            found.append({"name": f"{case['title']}: {rival}", **verdict})
    return found


def _explained(entries: Mapping[str, Any], rival: str) -> str:
    """What bounds the ratio, as far as it was timed."""
    text = ""
    if rival in entries and FLOOR in entries:
        bound = entries[rival]["speedup"]["value"] / entries[FLOOR]["speedup"]["value"]
        text += f"; the products of the layers alone: {bound:.1f} x"
    if ONE_ROW in entries:
        part = 100 * entries[ONE_ROW]["speedup"]["value"]
        text += f"; {part:.0f} % of our time is taken by steps of one row as well"
    return text


def markdown(results: Mapping[str, Any]) -> str:
    """The page of one run."""
    lines = [
        "# Training, rows a second",
        "",
        pages.machine_line(results),
        "",
        results["notes"],
        "",
        "## Requirements",
        "",
        *pages.requirements(results["requirements"]),
    ]
    for case in results["cases"]:
        lines += ["", f"## {case['title']}", "", *_table(case)]
    return "\n".join(lines) + "\n"


def _table(case: Mapping[str, Any]) -> list[str]:
    rows = []
    for entry in case["entries"]:
        if entry["status"] != "timed":
            rows.append((entry["name"], f"*{entry['status']}: {entry['reason']}*", "", ""))
            continue
        seconds = entry["seconds"]["value"]
        rows.append(
            (
                entry["name"],
                pages.time_text(seconds),
                f"{case['rows'] / seconds / 1e3:.0f}",
                pages.ratio_text(entry["speedup"]),
            )
        )
    return pages.table(("", "time", "thousand rows/s", "time / vaelocity's [95 %]"), rows)


if __name__ == "__main__":
    sys.stdout.write(markdown(json.loads(Path(sys.argv[1]).read_text())))
