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
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
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


def candidates(start: Config) -> list[Config]:
    """For many rows, the rule's first. Tiles of 64 and more rows use Hopper's wgmma; stages above 1
    copy the next tile while one is computed; rows in groups go through the tensor memory
    accelerator, and by themselves are tried where they did best before."""
    sizes = [(64, 4), (128, 8), (64, 8)] if start.kernel == "score" else [(64, 4), (128, 8)]
    found = [
        replace(start, many=Launch(block_rows, warps, stages, per_sm))
        for block_rows, warps in sizes
        for stages in (1, 2, 3)
        for per_sm in (1, 2, 3, 4)
    ]
    for stages, per_sm in ((1, 2), (1, 3), (2, 2), (3, 2)):
        found.append(replace(start, many=Launch(64, 4, stages, per_sm), grouped=False))
    return [replace(each, few_rows=0) for each in dict.fromkeys([start, *found])]


def few_candidates(start: Config) -> list[Config]:
    """For few rows, the rule's first: smaller tiles for more multiprocessors, fewer warps for less
    waiting at barriers."""
    sizes = ((16, 4), (16, 2), (16, 1), (32, 4), (32, 2), (64, 4))
    launches = dict.fromkeys([start.few, *(Launch(rows, warps, 1, 2) for rows, warps in sizes)])
    return [replace(start, few=few, few_rows=FEW_ROWS) for few in launches]


def sweep(device: Device, networks: list[GpuNetwork], folder: Path, seconds: float) -> list[Found]:
    """The fastest configuration of every network in every precision, as far as time goes: the first
    candidates are the most promising."""
    found = []
    cases = [(each, precision) for each in networks for precision in reversed(PRECISIONS)]
    end = time.perf_counter() + seconds
    if device.real:
        _compile_all(device.arch, cases, folder)
    for i, (each, precision) in enumerate(cases):
        share = (end - time.perf_counter()) / (len(cases) - i)
        found.append(_sweep_one(device, each, precision, folder, share))
        sys.stderr.write(f"{each.name} {precision}: {found[-1].config.why}\n")
    return found


def _compile_all(arch: str, cases: list[tuple[GpuNetwork, str]], folder: Path) -> None:
    """Puts every candidate into Triton's cache on disk, on all processors at once: one after the
    other they would take most of the sweep's time. What fails here fails again where it is said."""
    jobs = []
    for each, precision in cases:
        start = rule(arch, each.network(folder), precision)
        # How many programs a multiprocessor gets is not compiled in.
        configs = [c for c in candidates(start) if c.many.per_sm == 2] + few_candidates(start)
        jobs += [(each, precision, config, folder) for config in configs]
    spawned = multiprocessing.get_context("spawn")
    processes = max(1, min(14, (os.cpu_count() or 1) - 1))
    with ProcessPoolExecutor(processes, mp_context=spawned) as pool:
        for job in jobs:
            pool.submit(_compile_one, *job)


def _compile_one(each: GpuNetwork, precision: str, config: Config, folder: Path) -> None:
    device = make_device(dry_run=False)
    scorer = device.scorer(each.path(folder), precision, config)
    for kind in _kinds(precision):
        scorer.score(device.put(rows_for(each, FEW_ROWS), kind), device.empty(FEW_ROWS))


def _kinds(precision: str) -> tuple[str, ...]:
    """Of rows that are scored in a precision."""
    return ("fp32", "bf16") if precision == "bf16" else ("fp32",)


def _sweep_one(
    device: Device, each: GpuNetwork, precision: str, folder: Path, seconds: float
) -> Found:
    """The launch for many rows, then the one for few."""
    start = time.perf_counter()
    base = rule(device.arch, each.network(folder), precision)
    n = each.rows_to_tune if device.real else 40
    rows = rows_for(each, n)
    exact = each.reference(folder, rows[:FEW_ROWS])
    put = [device.put(rows, kind) for kind in _kinds(precision)]
    tried = []
    for config in candidates(base):
        tried.append(_try(device, each, precision, folder, config, put, exact))
        if time.perf_counter() - start > seconds:
            break
    few = [rows[:FEW_ROWS] for rows in put[:1]]
    tried_few = [
        _try(device, each, precision, folder, config, few, exact)
        for config in few_candidates(base)[: None if device.real else 1]
    ]
    best, why = _best(tried, f"{device.name}: {n:,} rows")
    best_few, why_few = _best(tried_few, f"{min(n, FEW_ROWS):,} rows")
    config = replace(base, why=f"{why}; {why_few}")
    if best:
        config = replace(config, many=Launch(*best["launch"]), grouped=best["grouped"])
    if best_few:
        config = replace(config, few=Launch(*best_few["launch"]))
    name = network_name(each.network(folder))
    return Found(device.arch, name, precision, config, tried + tried_few)


def _best(tried: list[dict[str, Any]], what: str) -> tuple[dict[str, Any] | None, str]:
    """The fastest, and a text; None where nothing ran."""
    good = [each for each in tried if each["seconds"] is not None]
    if not good:
        return None, f"{what}: nothing ran"
    best = min(good, key=lambda each: float(each["seconds"]))
    first = tried[0]["seconds"]
    against = f", the rule's {first * 1e3:.4g} ms" if first else ""
    return best, f"{what} in {best['seconds'] * 1e3:.4g} ms{against}; fastest of {len(tried)} tried"


def _try(
    device: Device, each: GpuNetwork, precision: str, folder: Path, config: Config,
    put: list[Any], exact: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    """One candidate: seconds, the mean over the kinds of rows, or why not."""
    launch = config.launch(len(put[0]))
    told = {
        "launch": [launch.block_rows, launch.warps, launch.stages, launch.per_sm],
        "grouped": config.grouped,
        "seconds": None,
    }
    taken, errors = [], []
    try:
        scorer = device.scorer(each.path(folder), precision, config)
        for rows in put:
            out = device.empty(len(rows))
            scorer.score(rows, out)
            errors.append(_error(device.take(out[: len(exact)]), exact))
            if not errors[-1] <= ALLOWED[precision]:
                return {**told, "why": f"off by {errors[-1]:.1e}"}
            call = partial(scorer.score, rows, out)
            few = len(rows) <= config.few_rows
            seconds = device.warm_seconds(call) if few else device.kernel_seconds(call, repeats=7)
            taken.append(float(np.median(seconds)))
    except Exception as failure:  # a candidate that does not fit the chip is an answer
        text = str(failure).strip().splitlines() or [""]
        return {**told, "why": f"{type(failure).__name__}: {text[0]}"}
    return {**told, "seconds": float(np.mean(taken)), "each": taken, "error": max(errors)}


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
