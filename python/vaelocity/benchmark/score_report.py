"""Scores a second of a model, beside other runtimes: JSON to Markdown."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaelocity.benchmark import pages, rounding

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
    ]
    if bandwidth := peak.get("bandwidth"):
        lines += ["", f"One core reads memory at {bandwidth / 1e9:.1f} GB/s."]
    if "requirements" in results:
        lines += ["", "## Requirements", "", *pages.requirements(results["requirements"])]
    for case in results["cases"]:
        lines += ["", f"## {case['title']}", "", *_case(case)]
    if "rounding" in results:
        lines += ["", "## What bfloat16 costs", "", *_rounding(results["rounding"])]
    if "latency" in results:
        lines += ["", "## One row through the C ABI", "", *_latency(results["latency"])]
    for name, found in results.get("latencies", {}).items():
        lines += ["", f"## {name}, every call of the C ABI by itself", "", *_latency(found)]
    if "installed_bytes" in results:
        lines += ["", "## Once", "", *_once(results)]
    return "\n".join(lines) + "\n"


def _rounding(found: Mapping[str, Any]) -> list[str]:
    if "why" in found:
        return [f"Not measured: {found['why']}."]
    return [f"{found['rows']}.", "", *rounding.table(found["costs"])]


_PERCENTILES = ("p50", "p99", "p99.9", "p99.99", "max")
_LATENCIES = {
    "warm": "call after call",
    "denormal": "call after call, denormal inputs",
    "idle": "after 0.2 ms of sleep",
    "cold": "after 64 MB of other memory was written",
}


def _latency(found: Mapping[str, Any]) -> list[str]:
    if "why" in found:
        return [f"Not measured: {found['why']}."]
    rows = [
        (what, f"{found[case]['calls']:,}", *(_nanoseconds(found[case][p]) for p in _PERCENTILES))
        for case, what in _LATENCIES.items()
    ]
    return [
        *pages.table(("", "calls", *_PERCENTILES), rows),
        "",
        f"Each call timed by itself; {found['clock_ns']:.0f} ns, what the clock takes, subtracted. "
        "A percentile with fewer than ten calls beyond it is left out. The largest times are those "
        "of the system, which takes the processor away.",
    ]


def _nanoseconds(value: float | None) -> str:
    return "" if value is None else pages.time_text(value * 1e-9)


def _once(results: Mapping[str, Any]) -> list[str]:
    def cpu(name: str) -> str:
        return f"{pages.ratio_text(results[name])} s"

    rows = [
        ("`import vaelocity`, CPU beyond `import numpy`", cpu("import")),
        ("import, load, first score, CPU beyond `import numpy`", cpu("start")),
        ("size of the installed package", f"{results['installed_bytes'] / 1e6:.1f} MB"),
    ]
    return pages.table(("", ""), rows)


def _case(case: Mapping[str, Any]) -> list[str]:
    memory = any("percent_of_bandwidth" in entry for entry in case["entries"])
    head = ["", "way", "time", "M rows/s", "% of peak"]
    head += ["% of memory"] * memory + ["time / vaelocity's [95 %]", "largest error"]
    rows = []
    for entry in case["entries"]:
        if entry["status"] != "timed":
            text = f"*{entry['status']}: {entry['reason']}*"
            empty = [""] * (len(head) - 4)
            rows.append((entry["name"], entry["way"], text, *empty, pages.error_text(entry)))
            continue
        note = f" ({entry['information']})" if entry["information"] else ""
        cells = [
            entry["name"] + note,
            entry["way"],
            pages.time_text(entry["seconds"]["value"]),
            f"{case['rows'] / entry['seconds']['value'] / 1e6:.3g}",
            _percent(entry["percent_of_peak"]),
        ]
        cells += [f"{entry.get('percent_of_bandwidth', 0):.1f}"] * memory
        rows.append((*cells, pages.ratio_text(entry["speedup"]), pages.error_text(entry)))
    return pages.table(tuple(head), rows)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


if __name__ == "__main__":
    sys.stdout.write(markdown(json.loads(Path(sys.argv[1]).read_text())))
