"""Everything about the GPU scorer that needs a GPU, in one command of less than 8 minutes.

    python bench/gpu.py [--dry-run] [--no-tests] [--output FOLDER] [--seconds S]

1. pytest -m gpu: error against float64, flipped decisions, graphs, no allocation, same bits
2. the sweep of tune_score.py, in the time that is left for it
3. timings: kernel only (cold L2), device-resident, host to host, one CUDA-graph replay; beside
   torch eager and torch.compile + CUDA graph, each checked against float64 first
4. the histogram and the accepted events in the scorer's pass; a network with convolutions; training
   step by step and in a CUDA graph

Writes gpu.json, gpu.md and configs.json (the table with what the sweep found: review it, copy it to
kernels/score_configs.json) to bench/results/<gpu>/ or FOLDER. --dry-run (with TRITON_INTERPRET=1)
goes through all of it on a machine without a GPU, with a handful of rows; its times mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import gpu_report
from gpu_cases import Case, images_case, replay_case, stream_case, throughput_cases
from gpu_counting import counting_case
from gpu_device import Device, make_device
from gpu_networks import ALICE, JETS, MNIST
from gpu_training import training_case
from tune_score import TABLE, Found, merged, sweep

from vaelocity.benchmark import machine

PACKAGES = ("vaelocity", "numpy", "torch", "triton")
ROOT = Path(__file__).parents[1]

TESTS = ("cuda_scorer", "triton", "ops", "ops_torch", "ops_noise", "histogram", "training_graph")
"""Files with tests marked gpu, by name: others need packages that a machine for this may lack."""
TEST_SECONDS = 180
SWEEP_SECONDS = 120


def main() -> None:
    """The whole run."""
    options = _options()
    began = time.perf_counter()
    device = make_device(options.dry_run)
    tests = {"passed": False, "summary": "left out", "output": ""}
    if not options.no_tests:
        tests = _tests(device)
    _progress(began, tests["summary"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        networks = [JETS] if options.dry_run else [JETS, ALICE]
        found = sweep(device, networks, folder, options.seconds)
        _progress(began, "sweep done")
        cases = _cases(device, folder, found, began)
    results = {
        "schema": 1,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "gpu": device.name,
        "arch": device.arch,
        "dry_run": options.dry_run,
        "machine": machine.fingerprint(PACKAGES, Path(__file__).parent),
        "tests": tests,
        "sweep": [
            {"network": f.network, "precision": f.precision, "why": f.config.why, "tried": f.tried}
            for f in found
        ],
        "cases": [case.json() for case in cases],
        "seconds": time.perf_counter() - began,
    }
    results["requirements"] = gpu_report.judge(results)
    target = options.output or Path(__file__).parent / "results" / _folder_name(device.name)
    target.mkdir(parents=True, exist_ok=True)
    (target / "gpu.json").write_text(json.dumps(results, indent=2) + "\n")
    (target / "gpu.md").write_text(gpu_report.markdown(results))
    table = merged(json.loads(TABLE.read_text()), found)
    (target / "configs.json").write_text(json.dumps(table, indent=2) + "\n")
    sys.stderr.write(f"written to {target}\n")
    sys.stdout.write(gpu_report.markdown(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry-run", action="store_true", help="no GPU: up to the launch")
    parser.add_argument("--output", type=Path, help="folder for the results")
    parser.add_argument("--no-tests", action="store_true", help="only the sweep and the timings")
    parser.add_argument("--seconds", type=float, default=SWEEP_SECONDS, help="for the sweep")
    return parser.parse_args()


def _progress(began: float, text: str) -> None:
    sys.stderr.write(f"{time.perf_counter() - began:6.1f} s  {text}\n")


def _tests(device: Device) -> dict[str, Any]:
    """pytest -m gpu; on several processors at once, since most of its time is compiling."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    command += ["-p", "no:benchmark"]  # it warns beside xdist, and warnings are errors
    command += [f"tests/test_{name}.py" for name in TESTS]
    if not device.real:
        command.append("--collect-only")
    elif _has_xdist():
        command += ["-n", str(max(1, min(12, (os.cpu_count() or 1) - 2)))]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TEST_SECONDS
        )
    except subprocess.TimeoutExpired as late:
        return {"passed": False, "summary": f"not done after {late.timeout} s", "output": ""}
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()]
    summary = lines[-1].strip("= ")
    return {"passed": done.returncode == 0, "summary": summary, "output": done.stdout[-20_000:]}


def _has_xdist() -> bool:
    from importlib.util import find_spec

    return find_spec("xdist") is not None


def _cases(device: Device, folder: Path, found: list[Found], began: float) -> list[Case]:
    configs = {(f.network.split()[0], f.precision): f.config for f in found}
    cases: list[Case] = []
    for network in [JETS] if not device.real else [JETS, ALICE, MNIST]:
        for case in throughput_cases(device, network, folder, configs):
            cases.append(case)
            _progress(began, case.title)
    for precision in ("bf16", "tf32", "float32"):
        cases.append(replay_case(device, JETS, folder, precision))
        _progress(began, cases[-1].title)
    cases.append(counting_case(device, JETS, folder))
    cases.append(images_case(device, "mnist-conv", folder))
    cases.append(training_case(device))
    _progress(began, "counting, images, training")
    if device.real:
        cases.append(stream_case(device, JETS, folder, pinned=True))
        cases.append(stream_case(device, JETS, folder, pinned=False))
        _progress(began, "host to host")
    return cases


def _folder_name(gpu: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")


if __name__ == "__main__":
    main()
