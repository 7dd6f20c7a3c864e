"""What counting costs on a GPU: the histogram and the accepted events beside the scores alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gpu_cases import DRY_ROWS, FPR, Case, Entry, timed
from gpu_device import Device
from gpu_networks import GpuNetwork, rows_for

from vaelocity.histogram import ScoreHistogram


def counting_case(device: Device, network: GpuNetwork, folder: Path) -> Case:
    """bfloat16 rows on the device, accepted at FPR; all must be what the scores alone give."""
    n = network.rows if device.real else DRY_ROWS
    rows = device.put(rows_for(network, n), "bf16")
    scorer = device.scorer(network.path(folder), "bf16")
    scores, counts = device.empty(n), scorer.new_counts()
    accepted = device.accepted(n)
    scorer.score(rows, scores)
    found = device.take(scores)
    threshold = float(np.float32(np.quantile(found, 1 - FPR)))
    expected = ScoreHistogram(scorer.kind, scorer.identity).update(found)
    index = np.flatnonzero(~(found <= threshold))
    case = Case(f"{network.name}/counting", f"{network.name}, {n:,} bf16 rows, counted", n, 0)
    case.row_bytes = 2 * network.features
    wanted: dict[str, dict[str, Any]] = {
        "scores": {"scores": scores},
        "histogram alone": {"counts": counts},
        "scores and accepted events": {"scores": scores, "accepted": accepted},
        "all three": {"scores": scores, "counts": counts, "accepted": accepted},
    }
    for name, outputs in wanted.items():
        entry = Entry(f"vaelocity bf16, {name}", error=0.0, flipped=0.0)
        case.entries.append(entry)
        decides = {"threshold": threshold} if "accepted" in outputs else {}

        def call(outputs: dict[str, Any] = outputs, decides: dict[str, float] = decides) -> None:
            scorer.score_into(rows, **outputs, **decides)

        counts.zero_()
        call()
        if "counts" in outputs:
            counted = ScoreHistogram(scorer.kind, scorer.identity)
            if counted.add_counts(counts.cpu().numpy()) != expected:
                entry.why = "refused: other counts than the scores'"
        if "accepted" in outputs and not np.array_equal(device.take(accepted.taken()[0]), index):
            entry.why = "refused: other events than the scores'"
        if not entry.why:
            timed(device, entry, call)
    return case
