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
from typing import TYPE_CHECKING, Any

import ops_report

from vaelocity.benchmark import machine, pages

if TYPE_CHECKING:
    from ops_workload import Workload

PACKAGES = ("vaelocity", "torch", "triton")
SIZES = ((1, 16), (256, 16), (4096, 16), (4096, 784))
COMPILED = ("4096x16", "B 4096, D 59, Z 16", "B 256, D 59, Z 16")
"""Sizes that are compiled as well: inductor takes many seconds for each. Beside them those of which
something was promised."""


def main() -> None:
    """The whole run."""
    options = _options()
    cpu = max(os.sched_getaffinity(0)) if options.cpu is None else options.cpu
    os.sched_setaffinity(0, {cpu})
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    about = machine.fingerprint(PACKAGES, Path(__file__).parent)
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
    """The whole loss of a VAE; every op at every size; and the cases of the tests with other
    dtypes, layouts and kinds, where calling costs more than computing."""
    from ops_workload import of_case, of_size, vae_loss

    from vaelocity import ops

    for b in (1, 256) if options.quick else (1, 256, 4096):
        for backward in (False, True):
            yield vae_loss(b, 59, 16, options.device, backward)
    for name, module in sorted(ops.OPS.items()):
        for b, d in SIZES[:2] if options.quick else SIZES:
            yield from of_size(name, b, d, options.device)
        for case in () if options.quick else module.CASES:
            if "33x" in case.name and not case.name.endswith("33x17"):
                yield of_case(name, case, (33, 17), options.device, False)


def _timed(workload: Workload, options: argparse.Namespace) -> dict[str, Any]:
    from ops_race import timed

    sys.stderr.write(f"{time.process_time():6.1f} s CPU  {workload.title}\n")
    promised = [name for name, rival, _ in ops_report.WANTED if rival != "torch eager"]
    compiled = workload.size in COMPILED or workload.title in promised
    rounds, seconds = (5, 0.002) if options.quick else (31, 0.005)
    return timed(workload, compiled and not options.quick, rounds, seconds)


if __name__ == "__main__":
    main()
