"""What the counts of bench/instructions/score.py allow: read, and judged beside a measured time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LANES = 8
"""float32 numbers in a register of AVX2."""
FMA, VECTORS, LOADS, ISSUE, LATENCY = 2, 2, 3, 6, 4
"""Zen 3: fused multiply-adds, loads of vectors, loads of any kind and instructions that a cycle can
start at most, and cycles until a fused multiply-add's result is there (AMD publication 56665)."""

Found = Mapping[str, Any]
"""products and row_bytes of a row; chain, the cycles for which an event's products wait for each
other, None where that is not known; and for "rows", "columns" and "event" counts a row:
instructions, fma, loads, vectors (loads into vector registers), bytes (loaded), stores."""


def read(folder: Path) -> dict[str, Found]:
    """By network, from score_counts.json; nothing where there is none."""
    path = folder / "score_counts.json"
    if not path.exists():
        return {}
    networks: dict[str, Found] = json.loads(path.read_text())["networks"]
    return networks


def peak_cycles(found: Found) -> float:
    """Cycles of a row at the peak: its products and nothing else."""
    return float(found["products"]) / LANES / FMA


def limit(found: Found, case: str) -> tuple[float, str]:
    """The most of the peak, in per cent, that the counts allow on Zen 3, and what sets it."""
    counts = found[case]
    cycles = {
        "fma": counts["fma"] / FMA,
        "loads": max(counts["vectors"] / VECTORS, counts["loads"] / LOADS),
        "instructions": counts["instructions"] / ISSUE,
    }
    if case == "event" and found["chain"]:
        cycles["chain"] = found["chain"]
    what = max(cycles, key=lambda each: cycles[each])
    return 100 * peak_cycles(found) / cycles[what], what


def rate(found: Found, case: str, percent_of_peak: float) -> float:
    """Instructions a cycle, at so much of the peak."""
    return float(found[case]["instructions"]) * percent_of_peak / 100 / peak_cycles(found)


def text(found: Found | None, case: str, percent_of_peak: float) -> str:
    """Counts and what they mean, for the table of what was promised; empty without counts."""
    if found is None:
        return ""
    counts, (most, what) = found[case], limit(found, case)
    waits = ""
    if what == "chain":
        waits = f", {found['chain']:,} cycles of products that wait for each other"
    return (
        f"{counts['instructions']:,.0f} instructions, {counts['loads']:,.0f} loads and "
        f"{counts['fma']:,.0f} fma for {found['products'] / LANES:,.0f} of products"
        f"{waits}: at most {most:.0f} % of the peak; "
        f"{rate(found, case, percent_of_peak):.1f} instructions a cycle ran"
    )
