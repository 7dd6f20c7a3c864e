"""The fused ops, beside the same formulas in plain torch, eager and compiled.

    python bench/bench_ops.py [--quick] [--device cuda] [--output FOLDER] [--cpu N]

Groups op x size x pass (forward; forward and backward). Every implementation is checked against the
op's reference in float64 on the same inputs, and only then timed, in turns. Writes ops.json and
ops.md to bench/results/<machine>/ (or FOLDER; --quick writes nothing without one) and prints the
page. bench/README.md tells how to read it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import machine
import ops_report
import pages
from ops_workload import Workload, checked, entries, of_cases, of_op, vae_loss
from race import race

PACKAGES = ("vaelocity", "torch", "triton")
SIZES = ((256, 16), (4096, 16), (4096, 784))
COMPILED_SIZE = (4096, 16)
"""Every op is compiled for one size only: inductor takes many seconds each time."""
COMPILED = ("reconstruction_loss 4096x784",)
"""And these, of which something was promised."""


def main() -> None:
    """The whole run."""
    options = _options()
    cpu = max(os.sched_getaffinity(0)) if options.cpu is None else options.cpu
    os.sched_setaffinity(0, {cpu})
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    about = machine.fingerprint(PACKAGES)
    if options.device == "cuda":
        about["gpu"] = torch.cuda.get_device_name()
    cases = [_timed(each, options) for each in _workloads(options)]
    results = {
        "schema": ops_report.SCHEMA,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": about,
        "device": options.device,
        "quick": options.quick,
        "notes": f"Pinned to processor {cpu}, one thread.",
        "cases": cases,
    }
    results["requirements"] = ops_report.judge(results)
    page = ops_report.markdown(results)
    if options.output or not options.quick:
        target = options.output or Path(__file__).parent / "results" / machine.folder_name()
        stem = "ops" if options.device == "cpu" else f"ops-{options.device}"
        pages.write(results, target, stem, page)
        sys.stderr.write(f"written to {target}\n")
    sys.stdout.write(page)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few sizes, few rounds, no compiling")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", type=Path, help="folder for ops.json and ops.md")
    parser.add_argument("--cpu", type=int, help="processor to run on (default: the last)")
    return parser.parse_args()


def _workloads(options: argparse.Namespace) -> Iterator[Workload]:
    """What is timed: every op at every size, the whole loss of a VAE, then the cases of the tests,
    which are small: calling costs more than computing there."""
    from vaelocity import ops

    passes = (False, True)
    for b in (4096, 256):
        yield from (vae_loss(b, 59, 16, options.device, backward) for backward in passes)
    for name, module in sorted(ops.OPS.items()):
        for b, d in SIZES[:1] if options.quick else SIZES:
            yield from (of_op(name, b, d, options.device, backward) for backward in passes)
        if not options.quick:
            yield from of_cases(name, module, options.device)


def _timed(workload: Workload | None, options: argparse.Namespace) -> dict[str, Any]:
    assert workload is not None
    sys.stderr.write(f"{time.process_time():6.1f} s CPU  {workload.title}\n")
    compiled = not options.quick and (
        workload.shape == COMPILED_SIZE
        or workload.op == "vae_loss"
        or any(workload.title.startswith(each) for each in COMPILED)
    )
    found = [checked(each, workload) for each in entries(workload, compiled)]
    rounds, sample = (5, 0.002) if options.quick else (31, 0.005)
    timed = race(found, 1, 0, machine.NO_PEAK, rounds, sample)
    return {
        "id": workload.title,
        "title": workload.title,
        "op": workload.op,
        "pass": workload.direction,
        "shape": list(workload.shape),
        "bytes": workload.bytes,
        "entries": timed,
    }


if __name__ == "__main__":
    main()
