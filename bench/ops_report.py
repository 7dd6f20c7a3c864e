"""Results of bench_ops.py: judged, and JSON to Markdown."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from requirements import speed

from vaelocity.benchmark import pages

SCHEMA = 1
IDLE = "autograd alone"
"""The entry of a case that computes nothing: `Workload.idle`."""

_BOTH = "forward and backward"
WANTED = (
    ("philox_normal 4096x16, forward", "torch eager", 3.0),
    ("philox_normal 4096x16, forward", "torch.compile", 30.0),
    ("reparameterize_kl 4096x16, forward", "torch eager", 5.0),
    ("reparameterize_kl 4096x16, forward", "torch.compile", 30.0),
    (f"reparameterize_kl 4096x16, {_BOTH}", "torch eager", 4.0),
    (f"reconstruction_loss 4096x784, {_BOTH}", "torch eager", 3.0),
    (f"reconstruction_loss 4096x784, {_BOTH}", "torch.compile", 1.2),
    (f"VAE loss B 4096, D 59, Z 16, {_BOTH}", "torch eager", 4.0),
    (f"VAE loss B 4096, D 59, Z 16, {_BOTH}", "torch.compile", 4.0),
    (f"VAE loss B 256, D 59, Z 16, {_BOTH}", "torch eager", 3.0),
)
"""(case, rival, how many times faster): issue 3, for one thread of a CPU with AVX-512."""


def judge(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """name, wanted, measured, met, why: on the CPU of WANTED, on CUDA of every case and rival."""
    cases = {case["id"]: case for case in results["cases"]}
    wanted = WANTED
    if results["device"] == "cuda":
        wanted = tuple((name, "torch.compile, CUDA graph", 1.0) for name in cases)
    found = []
    for name, rival_name, factor in wanted:
        if case := cases.get(name):
            entries = {entry["name"]: entry for entry in case["entries"] if entry["speedup"]}
            if rival_name in entries or not results["quick"]:
                verdict = speed(case, entries.get(rival_name), factor)
                if not verdict["met"] and rival_name in entries and IDLE in entries:
                    verdict["why"] += _with_free_kernels(entries[rival_name], entries[IDLE])
                if not verdict["met"]:
                    verdict["why"] += _of_one_row(case, cases.get(one_row(name)))
                found.append({"name": f"{name}: {rival_name}", **verdict})
    return found


def _with_free_kernels(rival: Mapping[str, Any], idle: Mapping[str, Any]) -> str:
    """How fast kernels that take no time would be, behind one autograd.Function."""
    bound = rival["speedup"]["value"] / idle["speedup"]["value"]
    return f"; one autograd.Function with kernels that take no time: {bound:.2f} x"


def one_row(name: str) -> str:
    """The case that has one row instead: what calling costs."""
    return re.sub(r" (B )?\d+", r" \g<1>1", name, count=1)


def _of_one_row(case: Mapping[str, Any], one: Mapping[str, Any] | None) -> str:
    """How much of a case's time is that of the call and not of the rows."""
    if one is None or not one["entries"][0]["seconds"]:
        return ""
    whole, call = (each["entries"][0]["seconds"]["value"] for each in (case, one))
    return f"; {pages.time_text(call)} of {pages.time_text(whole)} are taken for one row as well"


def markdown(results: Mapping[str, Any]) -> str:
    """The page of one run."""
    lines = [
        "# The fused ops, beside plain torch",
        "",
        pages.machine_line(results),
        "",
        f"Device: {results['device']}. {results['notes']} Times are medians, with what the rivals "
        "took as a multiple; every result was checked against the reference in float64 first.",
        "",
        "## Requirements",
        "",
        *pages.requirements(results["requirements"]),
    ]
    for op in dict.fromkeys(case["op"] for case in results["cases"]):
        cases = [case for case in results["cases"] if case["op"] == op]
        lines += ["", f"## {op}", "", *_table(cases)]
    return "\n".join(lines) + "\n"


def _table(cases: list[Mapping[str, Any]]) -> list[str]:
    """Of an op: a line a size and pass, a column a rival."""
    rivals = list(dict.fromkeys(e["name"] for c in cases for e in c["entries"][1:]))
    head = ("size", "pass", "vaelocity", *(f"{name} / vaelocity [95 %]" for name in rivals))
    rows = []
    for case in cases:
        entries = {entry["name"]: entry for entry in case["entries"]}
        ours = case["entries"][0]
        cells = [_cell(entries[name]) if name in entries else "" for name in rivals]
        rows.append((case["size"], case["pass"], _cell(ours), *cells))
    return pages.table(head, rows)


def _cell(entry: Mapping[str, Any]) -> str:
    if entry["status"] != "timed":
        return f"*{entry['status']}: {entry['reason']}*"
    if entry["speedup"] is None:
        return pages.time_text(entry["seconds"]["value"])
    return pages.ratio_text(entry["speedup"])


if __name__ == "__main__":
    sys.stdout.write(markdown(json.loads(Path(sys.argv[1]).read_text())))
