"""Events scored a second, beside torch, torch.compile, ONNX Runtime and OpenVINO.

    python bench/bench_score.py [--quick] [--output FOLDER] [--cpu N] [--networks NAME ...]

One process, one thread, one processor; every implementation computes the whole score from the same
float32 rows, is checked against a float64 reference and only then timed. Writes score.json and
score.md to bench/results/<machine>/ (or FOLDER; --quick writes nothing without one) and prints the
page. With --networks some of them only: where there are processors to spare, several such runs side
by side take less time, and bench/joined.py makes one result of theirs. bench/README.md tells how to
read it.
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
import score_counts
import score_plan

import vaelocity
from vaelocity.benchmark import cases, latency, machine, score_report
from vaelocity.benchmark.cases import LONG
from vaelocity.benchmark.one_event import one_event
from vaelocity.benchmark.race import PEERS, load_peers

PACKAGES = ("vaelocity", "numpy", "torch", "onnxruntime", "openvino", "pyod", "emx-onnx-cgen")


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
        networks = score_plan.networks(Path(name), options.quick, options.networks)
        jets = next((each for each in networks if each.name == score_plan.JETS), None)
        found = []
        for network, n, beside_peers in score_plan.batches(networks, options.quick):
            _progress(f"{network.name}, {n:,} rows")
            rows = score_plan.rows(network, n)
            peers = PEERS if beside_peers else ()
            found.append(cases.batch(network, rows, peak, options.quick, peers=peers))
        for network in networks:
            if network.name in requirements.PEAK and not options.quick:
                _progress(f"{network.name}, beyond the caches")
                rows = score_plan.rows(network, cases.MANY)
                found.append(cases.far(network, rows, peak))
        if jets:
            _progress("columns")
            rows = score_plan.rows(jets, 4096)
            found.append(cases.columns(jets, rows, peak, options.quick))
        latencies = {}
        for network in networks:
            _progress(f"{network.name}, one event a call")
            rows = score_plan.rows(network, 64)
            found.append(one_event(network, rows, peak, options.quick))
            if network.name in score_plan.TRIGGERS:
                calls = 100_000 if options.quick else 10_000_000
                latencies[network.name] = latency.measure(network.path, network.kind, calls)
        if jets and not options.quick:
            _progress("threads")
            os.sched_setaffinity(0, allowed)
            found.append(cases.threads(jets, score_plan.rows(jets, LONG), peak, (1, 2)))
            os.sched_setaffinity(0, {cpu})
        start = cases.start(networks[0].path, 3 if options.quick else 9)
        isa = vaelocity.load(networks[0].path).isa
    results: dict[str, Any] = {
        "schema": score_report.SCHEMA,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": about,
        "quick": options.quick,
        "isa": isa,
        "peak": peak_found,
        "notes": f"Pinned to processor {cpu}, one thread.",
        **start,
        "latencies": latencies,
        "cases": found,
    }
    here = Path(__file__).parent / "results" / machine.folder_name()
    results["requirements"] = requirements.judge(results, score_counts.read(here))
    if options.output or not options.quick:
        target = options.output or here
        score_report.write(results, target)
        sys.stderr.write(f"written to {target}\n")
    sys.stdout.write(score_report.markdown(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two cases, few rounds")
    parser.add_argument("--output", type=Path, help="folder for score.json and score.md")
    parser.add_argument("--cpu", type=int, help="processor to run on (default: the last)")
    names = score_plan.NAMES
    parser.add_argument("--networks", nargs="+", choices=names, default=names, metavar="NAME")
    return parser.parse_args()


def _progress(text: str) -> None:
    sys.stderr.write(f"{time.process_time():6.1f} s CPU  {text}\n")


if __name__ == "__main__":
    main()
