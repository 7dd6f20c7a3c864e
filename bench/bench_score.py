"""Events scored a second, beside torch, torch.compile, ONNX Runtime and OpenVINO.

    python bench/bench_score.py [--quick] [--output FOLDER] [--cpu N]

One process, one thread, one processor; every implementation computes the whole score from the same
float32 rows, is checked against a float64 reference and only then timed. Writes score.json and
score.md to bench/results/<machine>/ (or FOLDER; --quick writes nothing without one) and prints the
page. bench/README.md tells how to read it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requirements

import vaelocity
from vaelocity.benchmark import cases, machine, score_report
from vaelocity.benchmark.cases import LONG
from vaelocity.benchmark.networks import build, images, jet_rows, made_rows
from vaelocity.benchmark.race import load_peers

IMAGES = ("mnist-conv", "cicada-conv")
PACKAGES = ("vaelocity", "numpy", "torch", "onnxruntime", "openvino", "pyod")


def main() -> None:
    """The whole run."""
    options = _options()
    allowed = os.sched_getaffinity(0)
    cpu = max(allowed) if options.cpu is None else options.cpu
    os.sched_setaffinity(0, {cpu})
    if options.quick:
        os.environ["BENCH_QUICK"] = "1"
    warnings.simplefilter("ignore")
    about = machine.fingerprint(PACKAGES, Path(__file__).parent)
    peak = machine.fma_peak(bandwidth=not options.quick)
    peak_found = cases.peak_found(peak)
    load_peers()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jets = build(59, (64, 32), 16, folder)
        small = build(57, (32, 16), 3, folder)
        plan = [(jets, n) for n in (1, 256, 4096, 65536, LONG)] + [(small, 1), (small, 4096)]
        plan += [(images(name, folder), n) for name in IMAGES for n in (1, 4096)]
        if options.quick:
            plan = [(jets, 1), (jets, 4096)]
        found = []
        for network, n in plan:
            _progress(f"{network.name}, {n:,} rows")
            if network.name in IMAGES:
                rows = made_rows(network, n)
            else:
                rows = jet_rows(n, network.n_features)
            found.append(cases.batch(network, rows, peak, options.quick))
        _progress("columns")
        found.append(cases.columns(jets, jet_rows(4096, jets.n_features), peak, options.quick))
        if not options.quick:
            _progress("threads")
            os.sched_setaffinity(0, allowed)
            found.append(cases.threads(jets, jet_rows(LONG, jets.n_features), peak, (1, 2)))
            os.sched_setaffinity(0, {cpu})
        start = cases.start(jets.path, 3 if options.quick else 9)
        isa = vaelocity.load(jets.path).isa
    results: dict[str, Any] = {
        "schema": score_report.SCHEMA,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": about,
        "quick": options.quick,
        "isa": isa,
        "peak": peak_found,
        "notes": f"Pinned to processor {cpu}, one thread.",
        **start,
        "cases": found,
    }
    results["requirements"] = requirements.judge(results)
    if options.output or not options.quick:
        target = options.output or Path(__file__).parent / "results" / machine.folder_name()
        score_report.write(results, target)
        sys.stderr.write(f"written to {target}\n")
    sys.stdout.write(score_report.markdown(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two cases, few rounds")
    parser.add_argument("--output", type=Path, help="folder for score.json and score.md")
    parser.add_argument("--cpu", type=int, help="processor to run on (default: the last)")
    return parser.parse_args()


def _progress(text: str) -> None:
    sys.stderr.write(f"{time.process_time():6.1f} s CPU  {text}\n")


if __name__ == "__main__":
    main()
