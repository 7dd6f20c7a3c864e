"""The results of gpu.py judged and printed.

python bench/gpu_report.py gpu.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

JETS = "59-64-32-16-32-64-59"
ALICE = "243-128-128-128-243"
PUBLISHED_ALICE = 20e6  # rows a second, ONNX Runtime on a GPU; the upper end of what is published


def judge(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """name, wanted, measured, met of everything that was promised."""
    cases = {case["id"]: case for case in results["cases"]}
    found = [
        {
            "name": "pytest -m gpu",
            "wanted": "all pass",
            "measured": results["tests"]["summary"],
            "met": results["tests"]["passed"],
        }
    ]
    bf16 = _rows_per_second(cases, f"{JETS}/bf16", "vaelocity bf16")
    found.append(_least(f"{JETS}, bf16 rows, device-resident", bf16, 5e9, "rows/s"))
    best = max((_rows_per_second(cases, f"{JETS}/fp32", f"vaelocity {p}") or 0) for p in _OURS)
    for peer, factor in (("torch eager", 8.0), ("torch.compile", 3.0)):
        theirs = _fastest_peer(cases.get(f"{JETS}/fp32"), peer)
        ratio = best / theirs if theirs else None
        found.append(_least(f"{JETS}, fp32 rows: times {peer}, its fastest", ratio, factor, "x"))
    alice = max((_rows_per_second(cases, f"{ALICE}/fp32", f"vaelocity {p}") or 0) for p in _OURS)
    name = f"{ALICE}: times {PUBLISHED_ALICE:.0e} rows/s"
    found.append(_least(name, alice / PUBLISHED_ALICE if alice else None, 20.0, "x"))
    times = [c["entries"][0]["call"] for i, c in cases.items() if i.startswith("replay/")]
    times = [t for t in times if t]
    replay = min(times) * 1e6 if times else None
    found.append(
        {
            "name": "one CUDA-graph replay of 1,024 rows",
            "wanted": "< 10 us",
            "measured": "not measured" if replay is None else f"{replay:.1f} us",
            "met": replay is not None and replay < 10,
        }
    )
    return found


_OURS = ("bf16", "tf32", "float32")


def _least(name: str, value: float | None, wanted: float, unit: str) -> dict[str, Any]:
    measured = "not measured" if not value else f"{value:.3g} {unit}"
    met = bool(value) and value >= wanted  # type: ignore[operator]
    return {"name": name, "wanted": f">= {wanted:.3g} {unit}", "measured": measured, "met": met}


def _rows_per_second(cases: Mapping[str, Any], case: str, name: str) -> float | None:
    if case not in cases:
        return None
    for entry in cases[case]["entries"]:
        if entry["name"] == name and entry["call"]:
            return float(cases[case]["rows"] / entry["call"])
    return None


def _fastest_peer(case: Mapping[str, Any] | None, prefix: str) -> float | None:
    if case is None:
        return None
    timed = [e for e in case["entries"] if e["name"].startswith(prefix) and e["call"]]
    return max((float(case["rows"] / e["call"]) for e in timed), default=None)


def markdown(results: Mapping[str, Any]) -> str:
    """The page."""
    packages = results["machine"]["packages"]
    lines = [f"# The GPU scorer on {results['gpu']}", ""]
    if results["dry_run"]:
        lines += ["**A dry run in Triton's interpreter: the times mean nothing.**", ""]
    lines += [
        f"{results['date']}, {results['arch']}, torch {packages['torch']}, triton "
        f"{packages['triton']}, commit {results['machine']['commit']}. Tests: "
        f"{results['tests']['summary']}. {results['seconds']:.0f} s in all.",
        "",
        "| promised | wanted | measured | met |",
        "|---|---|---|---|",
    ]
    for each in results["requirements"]:
        met = "yes" if each["met"] else "no"
        lines.append(f"| {each['name']} | {each['wanted']} | {each['measured']} | {met} |")
    for case in results["cases"]:
        lines += ["", f"## {case['title']}", ""]
        lines += ["| | error | flipped at FPR 1e-3 | kernel, cold L2 | call | rows/s | GB/s read |"]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [_row(case, entry) for entry in case["entries"]]
    lines += ["", "## Configurations", ""]
    lines += [
        f"- {each['network']}, {each['precision']}: {each['why']}" for each in results["sweep"]
    ]
    return "\n".join(lines) + "\n"


def _row(case: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    if entry["call"] is None:
        return f"| {entry['name']} | {entry['why']} | | | | | |"
    kernel = "" if entry["kernel"] is None else f"{entry['kernel'] * 1e6:,.1f} us"
    speed = case["rows"] / entry["call"]
    cells = [
        entry["name"],
        f"{entry['error']:.1e}",
        f"{entry['flipped']:.1e}",
        kernel,
        f"{entry['call'] * 1e6:,.1f} us",
        f"{speed:.3g}",
        f"{speed * case['row_bytes'] / 1e9:,.0f}" if case["row_bytes"] else "",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(markdown(json.loads(Path(sys.argv[1]).read_text())))
