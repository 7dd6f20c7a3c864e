"""Chooses how the GPU scorer is launched, and records why: kernels/score_configs.json.

    python bench/tune_score.py [--write] [--seconds S]      on a GPU
    python bench/tune_score.py [--write] --compile sm_90    anywhere

Times every candidate of `candidates` on this machine's GPU for the networks of NETWORKS, checked
against float64 first. --compile takes the rule's configuration and records what the compiler says
that it costs, where nothing has been timed yet. --write puts the result into the table; without it
the table is printed. Nothing is tuned when vaelocity runs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from gpu_device import Device, make_device
from gpu_networks import JETS, NETWORKS, GpuNetwork, rows_for

from vaelocity.cuda.compile import compile_program, resources
from vaelocity.cuda.config import PRECISIONS, Config, Launch, network_name, rule, to_json
from vaelocity.cuda.program import program

TABLE = Path(__file__).parents[1] / "kernels" / "score_configs.json"

FEW_ROWS = 1024

# Largest error over (|score| + mean |score|) at which a candidate is still right.
ALLOWED = {"float32": 1e-5, "tf32": 1e-2, "bf16": 5e-2}


@dataclass(frozen=True)
class Found:
    """A network's fastest configuration, and every candidate that was tried."""

    arch: str
    network: str
    precision: str
    config: Config
    tried: list[dict[str, Any]]


def candidates(start: Config, narrow: bool) -> Iterator[Launch]:
    """Launches for many rows. Tiles of 64 and more rows use Hopper's wgmma, smaller ones mma.sync;
    stages above 1 copy the next tile while one is computed."""
    sizes = [(64, 4), (128, 8), (64, 8)] if narrow else [(128, 8), (64, 4)]
    if start.many.block_rows < 64:
        sizes = [(16, 4), (32, 8), (32, 4), (64, 4)]
    for block_rows, warps in sizes:
        for stages in (1, 2, 3):
            for per_sm in (1, 2, 3, 4):
                yield Launch(block_rows, warps, stages, per_sm)


def sweep(device: Device, networks: list[GpuNetwork], folder: Path, seconds: float) -> list[Found]:
    """The fastest configuration of every network in every precision, as far as time goes: the first
    candidates are the most promising."""
    found = []
    cases = [(each, precision) for each in networks for precision in reversed(PRECISIONS)]
    if device.real:
        began = time.perf_counter()
        _compile_all(device.arch, cases, folder)
        seconds -= time.perf_counter() - began
    for i, (each, precision) in enumerate(cases):
        share = (seconds - sum(f.tried[-1]["at"] for f in found if f.tried)) / (len(cases) - i)
        found.append(_sweep_one(device, each, precision, folder, share))
        sys.stderr.write(f"{each.name} {precision}: {found[-1].config.why}\n")
    return found


def _configs(base: Config) -> list[Config]:
    """The rule's own first."""
    launches = dict.fromkeys([base.many, *candidates(base, base.kernel == "score")])
    return [replace(base, many=many, few_rows=0) for many in launches]


def _compile_all(arch: str, cases: list[tuple[GpuNetwork, str]], folder: Path) -> None:
    """Puts every candidate into Triton's cache on disk, on all processors at once: one after the
    other they would take most of the sweep's time. What fails here fails again where it is said."""
    jobs = []
    for each, precision in cases:
        configs = _configs(rule(arch, each.network(folder), precision))
        # How many programs a multiprocessor gets is not compiled in.
        jobs += [(each, precision, c, folder) for c in configs if c.many.per_sm == 1]
    spawned = multiprocessing.get_context("spawn")
    processes = max(1, min(12, (os.cpu_count() or 1) - 2))
    with ProcessPoolExecutor(processes, mp_context=spawned) as pool:
        for job in jobs:
            pool.submit(_compile_one, *job)


def _compile_one(each: GpuNetwork, precision: str, config: Config, folder: Path) -> None:
    device = make_device(dry_run=False)
    rows = device.put(rows_for(each, FEW_ROWS), "bf16" if precision == "bf16" else "fp32")
    device.scorer(each.path(folder), precision, config).score(rows, device.empty(FEW_ROWS))


def _sweep_one(
    device: Device, each: GpuNetwork, precision: str, folder: Path, seconds: float
) -> Found:
    start = time.perf_counter()
    network = each.network(folder)
    base = rule(device.arch, network, precision)
    n = each.rows_to_tune if device.real else 40
    rows = rows_for(each, n)
    exact = each.reference(folder, rows[:FEW_ROWS])
    on_device = device.put(rows, "bf16" if precision == "bf16" else "fp32")
    tried = []
    for config in _configs(base):
        tried.append(_try(device, each, precision, folder, config, on_device, exact))
        tried[-1]["at"] = time.perf_counter() - start
        if time.perf_counter() - start > seconds:
            break
    good = [t for t in tried if t["seconds"] is not None]
    if not good:
        return Found(device.arch, network_name(network), precision, base, tried)
    best = min(good, key=lambda t: float(t["seconds"]))
    rule_seconds = tried[0]["seconds"]
    against = f", the rule's {rule_seconds * 1e3:.3f} ms" if rule_seconds else ""
    why = (
        f"{device.name}: {n:,} rows in {best['seconds'] * 1e3:.3f} ms{against}; "
        f"fastest of {len(tried)} tried"
    )
    config = replace(base, many=Launch(*best["launch"]), why=why)
    return Found(device.arch, network_name(network), precision, config, tried)


def _try(
    device: Device, each: GpuNetwork, precision: str, folder: Path, config: Config,
    rows: Any, exact: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    """One candidate: seconds, or why not."""
    many = config.many
    launch = [many.block_rows, many.warps, many.stages, many.per_sm]
    try:
        scorer = device.scorer(each.path(folder), precision, config)
        out = device.empty(len(rows))
        scorer.score(rows, out)
        error = _error(device.take(out[: len(exact)]), exact)
        if not error <= ALLOWED[precision]:
            return {"launch": launch, "seconds": None, "why": f"off by {error:.1e}"}
        taken = device.kernel_seconds(lambda: scorer.score(rows, out), repeats=7)
    except Exception as failure:  # a candidate that does not fit the chip is an answer
        text = str(failure).strip().splitlines() or [""]
        return {"launch": launch, "seconds": None, "why": f"{type(failure).__name__}: {text[0]}"}
    return {"launch": launch, "seconds": float(np.median(taken)), "error": error}


def _error(scores: np.ndarray, exact: np.ndarray) -> float:
    return float((np.abs(scores - exact) / (np.abs(exact) + np.abs(exact).mean())).max())


def compiled(arch: str, each: GpuNetwork, precision: str, folder: Path) -> Found:
    """The rule's configuration, and why: what the kernel for many float32 rows costs."""
    import triton

    network = each.network(folder)
    config = rule(arch, network, precision)
    made = program(network, arch, precision, config)
    cost = resources(compile_program(made, config.many, arch))
    why = (
        f"{config.why}; not timed. Triton {triton.__version__}: {cost.registers} registers, "
        f"{cost.stack} B stack, {cost.shared:,} B shared memory"
    )
    sys.stderr.write(f"{each.name} {precision}: {why}\n")
    return Found(arch, network_name(network), precision, replace(config, why=why), [])


def merged(table: dict[str, Any], found: list[Found]) -> dict[str, Any]:
    """The table with what was found in it."""
    for each in found:
        entry = table.setdefault(each.arch, {}).setdefault(each.network, {})
        entry[each.precision] = to_json(each.config)
    return table


def main() -> None:
    """Sweep, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write kernels/score_configs.json")
    parser.add_argument("--seconds", type=float, default=600.0, help="for the whole sweep")
    parser.add_argument("--compile", metavar="ARCH", help="no GPU: the compiler's resources")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, networks = Path(name), [JETS, *NETWORKS]
        if options.compile:
            found = [
                compiled(options.compile, each, precision, folder)
                for each in networks
                for precision in PRECISIONS
            ]
        else:
            found = sweep(make_device(dry_run=False), networks, folder, options.seconds)
    table = merged(json.loads(TABLE.read_text()), found)
    text = json.dumps(table, indent=2) + "\n"
    if options.write:
        TABLE.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
