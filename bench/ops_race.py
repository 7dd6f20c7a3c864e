"""A workload's implementations: each checked, then timed in turns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from ops_report import IDLE
from ops_workload import Workload, as_one_writes_it
from torch import Tensor

from vaelocity.benchmark import machine
from vaelocity.benchmark.race import OURS, Entry, failed, race

EAGER, COMPILED, GRAPH = "torch eager", "torch.compile", "torch.compile, CUDA graph"


def timed(workload: Workload, compiled: bool, rounds: int, seconds: float) -> dict[str, Any]:
    """The workload as JSON: see `race.race`."""
    expected = workload.expected()
    ours = Entry(OURS, "fused", workload.call(workload.ours))
    entries = [checked(ours, workload, expected)]
    finish = None
    with as_one_writes_it():
        entries += [checked(each, workload, expected) for each in _rivals(workload, compiled)]
        if workload.leaves:
            nothing = "computes nothing"
            entries.append(Entry(IDLE, nothing, workload.idle(), information=nothing))
        if workload.device.type == "cuda":
            finish = torch.cuda.synchronize
        found = race(entries, 1, 0, machine.NO_PEAK, rounds, seconds, finish)
    return {
        "id": workload.title,
        "op": workload.op,
        "size": workload.size,
        "pass": workload.direction,
        "entries": found,
    }


def _rivals(workload: Workload, compiled: bool) -> Iterator[Entry]:
    """Plain torch: eager, and if wanted compiled; on CUDA with a CUDA graph as well."""
    yield Entry(EAGER, "plain torch", workload.call(workload.plain))
    if not compiled:
        return
    modes = {COMPILED: "default"}
    if workload.device.type == "cuda":
        modes[GRAPH] = "reduce-overhead"
    for name, mode in modes.items():
        torch.compiler.reset()
        try:
            function = torch.compile(workload.plain, mode=mode, dynamic=False)
            yield Entry(name, mode, workload.call(function))
        except Exception as error:
            yield failed(Entry(name, mode, None), error)


def checked(entry: Entry, workload: Workload, expected: list[Tensor]) -> Entry:
    """The entry with its largest relative error; refused where it leaves the case's tolerance.

    Ours is compared in every number. A rival draws other noise: of it, what two calls give alike.
    """
    if entry.call is None:
        return entry
    try:
        first = [each.detach().clone() for each in entry.call()]
        second = [each.detach().clone() for each in entry.call()]
    except Exception as error:
        return failed(entry, error)
    worst = 0.0
    for ours, again, right in zip(first, second, expected, strict=True):
        if ours.shape != right.shape:
            reason = f"gives shape {tuple(ours.shape)}, not {tuple(right.shape)}"
            return replace(entry, call=None, status="refused", reason=reason)
        if entry.name != OURS and not torch.equal(ours, again):
            continue
        off = _excess(ours, right, workload)
        worst = max(worst, off) if off == off else off
    if worst <= 1:
        return replace(entry, error=worst * workload.rtol)
    reason = f"off by {worst:.1e} times what is allowed ({workload.rtol:.0e} relative)"
    return replace(entry, call=None, status="refused", reason=reason)


def _excess(ours: Tensor, right: Tensor, workload: Workload) -> float:
    """The largest error as a multiple of what is allowed."""
    if not len(right.reshape(-1)):
        return 0.0
    exact = ours.dtype in (torch.float32, torch.float64, torch.bool)
    rtol = workload.rtol if exact else torch.finfo(ours.dtype).eps
    right = right.detach().to(ours.dtype).double()
    allowed = workload.atol + rtol * right.abs()
    error = (ours.double() - right).abs()
    return float(torch.where(error == 0, 0, error / allowed).max())
