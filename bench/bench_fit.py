"""Training: rows a second of an autoencoder and a VAE on the shipped jets.

    python bench/bench_fit.py [--quick] [--output FOLDER] [--cpu N]

Beside a plain loop in torch, the same loop compiled, and PyOD; a sample is some epochs. After the
first sample the mean reconstruction loss of each must be near ours, or it is not timed (PyOD has a
loss and a scaling of its own; it is timed as shipped). Writes fit.json and fit.md to
bench/results/<machine>/ (or FOLDER; --quick writes nothing without one) and prints the page.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fit_report
import numpy as np

from vaelocity.benchmark import machine, pages
from vaelocity.benchmark.race import Entry, failed, race

PACKAGES = ("vaelocity", "torch", "pyod")
BATCHES = (256, 1024, 8192)
LEARNED = 1.25
"""How many times our loss a rival's may be after the same number of steps."""


def main() -> None:
    """The whole run."""
    options = _options()
    cpu = max(os.sched_getaffinity(0)) if options.cpu is None else options.cpu
    os.sched_setaffinity(0, {cpu})
    warnings.simplefilter("ignore")
    import torch

    from vaelocity.data import jets

    torch.set_num_threads(1)
    about = machine.fingerprint(PACKAGES, Path(__file__).parent)
    rows = np.ascontiguousarray(jets.load().rows)
    batches = BATCHES[:1] if options.quick else BATCHES
    if options.quick:
        rows = rows[:2048]
    results = {
        "schema": fit_report.SCHEMA,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": about,
        "quick": options.quick,
        "notes": f"{len(rows):,} jets, {rows.shape[1]} features; pinned to processor {cpu}, "
        "one thread.",
        "cases": [
            _case(rows, kind, batch, options.quick)
            for kind in ("Autoencoder", "VAE")
            for batch in batches
        ],
    }
    results["requirements"] = fit_report.judge(results)
    page = fit_report.markdown(results)
    if options.output or not options.quick:
        target = options.output or Path(__file__).parent / "results" / machine.folder_name()
        pages.write(results, target, "fit", page)
        sys.stderr.write(f"written to {target}\n")
    sys.stdout.write(page)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="2,048 rows, one batch size, no compiling"
    )
    parser.add_argument("--output", type=Path, help="folder for fit.json and fit.md")
    parser.add_argument("--cpu", type=int, help="processor to run on (default: the last)")
    return parser.parse_args()


def _case(rows: np.ndarray, kind: str, batch: int, quick: bool) -> dict[str, Any]:
    from fit_contenders import CONTENDERS, EPOCHS, MEASURES

    sys.stderr.write(f"{time.process_time():6.1f} s CPU  {kind}, batch {batch:,}\n")
    entries, ours = [], float("nan")
    for name, build in CONTENDERS.items():
        if quick and "compile" in name:
            continue
        alone = "no implementation" if name in MEASURES else None
        entry = Entry(name, f"{EPOCHS} epochs", None, information=alone)
        try:
            fit, error = build(rows, kind, batch)
            fit()
            reached = error()
        except Exception as problem:
            entries.append(failed(entry, problem))
            continue
        ours = reached if name == "vaelocity" else ours
        entry = replace(entry, call=fit)
        if reached > LEARNED * ours:
            reason = f"loss {reached:.3g} after {EPOCHS} epochs, ours {ours:.3g}"
            entry = replace(entry, call=None, status="refused", reason=reason)
        entries.append(entry)
    rounds = 3 if quick else 7
    found = race(entries, EPOCHS * len(rows), 0, machine.NO_PEAK, rounds, 0.001)
    title = f"{kind}, batch {batch:,}"
    return {"id": f"{kind}/{batch}", "title": title, "rows": EPOCHS * len(rows), "entries": found}


if __name__ == "__main__":
    main()
