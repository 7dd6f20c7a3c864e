"""Ray Data for bench_stream.py: one actor and two, and beside them the scorer in one process and in
two without Ray. Nothing where Ray is not installed.

What a second actor adds is three things, measured apart, since two processors have nothing to
spare for Ray's own processes and those of others: how long Ray lets the actors wait for blocks, how
long the machine lets them wait for a processor, and what they score in a second on one. Two
processes without Ray tell what the machine has to give.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from stream_report import line

from vaelocity.benchmark.networks import build
from vaelocity.benchmark.timing import Estimate, median, speedup

__all__ = ["at_work", "rate", "ray_cases"]

ACTORS = (1, 2)
# A network and blocks of some tenths of a second's work: Ray takes milliseconds for a block.
HIDDEN, LATENT, BLOCK = (512, 256), 64, 16384
PLAIN_SECONDS = 1.5

Rounds: TypeAlias = npt.NDArray[np.float64]

# In a process of its own: what Ray starts ends with it. Prints [way, how many, events/s, events a
# second of processor time, part of the time at work, part of that on a processor].
_RUN = """
import json, os, subprocess, sys, time
import pyarrow as pa
import ray, ray.data
import vaelocity
from stream_ray import at_work, rate
from vaelocity.benchmark.networks import jet_rows
from vaelocity.cluster.ray import Scorer, options
bundle, number, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
context = ray.data.DataContext.get_current()
context.enable_progress_bars = False
# Else the first actor may have scored all before the second is there.
context.wait_for_min_actors_s = 60
rows = jet_rows(BLOCK, vaelocity.load(bundle).n_features)
lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
# Not from small files: Ray reads several of them as one block, and a block has one actor.
blocks = ray.data.from_arrow([pa.table({"features": lists})] * number).materialize()
assert blocks.num_blocks() == number

class Timed(Scorer):
    def __call__(self, table):
        start, busy = time.time(), time.process_time()
        rows = len(super().__call__(table))
        return pa.table({"actor": [os.getpid()], "start": [start], "end": [time.time()],
                         "busy": [time.process_time() - busy], "rows": [rows]})

def actors(n):
    found = blocks.map_batches(Timed, **options(bundle, actors=n, batch_size=BLOCK)).take_all()
    assert len({b["actor"] for b in found}) == n
    rows, busy = sum(b["rows"] for b in found), sum(b["busy"] for b in found)
    on = busy / sum(b["end"] - b["start"] for b in found)
    print(json.dumps(["actors", n, rate(found), rows / busy, at_work(found), on]), flush=True)

def plain(n):
    started = [subprocess.Popen([sys.executable, "-c", PLAIN, bundle], stdin=subprocess.PIPE,
               stdout=subprocess.PIPE, text=True) for _ in range(n)]
    for one in started:
        one.stdout.readline()
    for one in started:
        one.stdin.write("go\\n")
        one.stdin.flush()
    found = [json.loads(one.communicate()[0]) for one in started]
    rows, taken, busy = (sum(part) for part in zip(*found))
    each = sum(done / seconds for done, seconds, _ in found)
    print(json.dumps(["processes", n, each, rows / busy, 1.0, busy / taken]), flush=True)

for i in range(rounds):
    ways = [(way, n) for n in ACTORS for way in (actors, plain)]
    for way, n in ways[:: 1 if i % 2 else -1]:
        way(n)
"""

_PLAIN = """
import json, sys, time
import vaelocity
from vaelocity.benchmark.networks import jet_rows
scorer = vaelocity.load(sys.argv[1])
rows, done = jet_rows(BLOCK // 8, scorer.n_features), 0
scorer.score(rows)
print("ready", flush=True)
sys.stdin.readline()
start, busy = time.perf_counter(), time.process_time()
while (now := time.perf_counter()) - start < PLAIN_SECONDS:
    scorer.score(rows)
    done += len(rows)
print(json.dumps([done, now - start, time.process_time() - busy]))
"""


def rate(blocks: Sequence[dict[str, float]]) -> float:
    """Events a second while every actor was at work: their start, a Python process, is left out."""
    first, last, _ = _together(blocks)
    rows = sum(block["rows"] * _within(block, first, last) for block in blocks)
    return rows / (last - first)


def at_work(blocks: Sequence[dict[str, float]]) -> float:
    """The part of that time which the actors spent on blocks and not waiting for one."""
    first, last, actors = _together(blocks)
    length = sum((b["end"] - b["start"]) * _within(b, first, last) for b in blocks)
    return length / (actors * (last - first))


def _together(blocks: Sequence[dict[str, float]]) -> tuple[float, float, int]:
    """When every actor had begun, when the first had ended, and how many they are."""
    actors: dict[float, list[dict[str, float]]] = {}
    for block in blocks:
        actors.setdefault(block["actor"], []).append(block)
    first = max(min(block["start"] for block in of) for of in actors.values())
    last = min(max(block["end"] for block in of) for of in actors.values())
    return first, last, len(actors)


def _within(block: dict[str, float], first: float, last: float) -> float:
    """The part of a block, under way at either end perhaps, that is within."""
    start, end = block["start"], block["end"]
    return max(0.0, min(last, end) - max(first, start)) / (end - start)


def ray_cases(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """One line for each number of actors."""
    if importlib.util.find_spec("ray") is None:
        return []
    network = build(59, HIDDEN, LATENT, folder)
    blocks, rounds = (8, 1) if quick else (20, 4)
    found = _run(network.path, blocks, rounds)
    title = f"Ray Data map_batches, network {network.name}"
    return [_line(title, n, blocks * BLOCK, found) for n in ACTORS]


@dataclass(frozen=True)
class _Found:
    """Of every round: events/s, events a second of processor time, the part of the time at work,
    and the part of that on a processor."""

    rate: Rounds
    per_busy: Rounds
    work: Rounds
    on: Rounds


_ByWay: TypeAlias = dict[tuple[str, int], _Found]
"""By actors or processes, and how many."""


def _line(title: str, n: int, events: int, found: _ByWay) -> dict[str, Any]:
    """Of two actors with what they gain over one."""
    of = found["actors", n]
    note = (
        f"blocks of {BLOCK:,} events in Ray's object store; at work {_percent(of.work)} of the "
        f"time, and {_percent(of.on)} of that on a processor"
    )
    if n == 1:
        return line(f"{title}, 1 actor", events, median(of.rate).value, note=note)
    gains = {
        f"{way}, {what}": speedup(1 / getattr(many, what), 1 / getattr(found[way, 1], what))
        for (way, number), many in found.items()
        if number == n
        for what in ("rate", "per_busy")
    }
    actors, plain = (_text(gains[f"{way}, rate"]) for way in ("actors", "processes"))
    return line(
        f"{title}, {n} actors",
        events,
        median(of.rate).value,
        ratio=gains["actors, per_busy"],
        of="one actor's events a second on a processor",
        note=f"{note}; in all {actors} of one actor's events/s, where {n} processes without Ray, "
        f"in turns with them, have {plain} of one's",
        gains={name: asdict(gain) for name, gain in gains.items()},
    )


def _run(bundle: Path, blocks: int, rounds: int) -> _ByWay:
    head = f"ACTORS, BLOCK = {ACTORS}, {BLOCK}\n"
    plain = f"BLOCK, PLAIN_SECONDS = {BLOCK}, {PLAIN_SECONDS}\n{_PLAIN}"
    ran = subprocess.run(
        [sys.executable, "-c", f"{head}PLAIN = {plain!r}\n{_RUN}", str(bundle), str(blocks),
         str(rounds)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": os.path.dirname(__file__)},
    )  # fmt: skip
    told: dict[tuple[str, int], list[list[float]]] = {}
    for entry in ran.stdout.splitlines():
        way, n, *values = json.loads(entry)
        told.setdefault((way, n), []).append(values)
    return {key: _Found(*np.array(values).T) for key, values in told.items()}


def _percent(parts: Rounds) -> str:
    return f"{100 * median(parts).value:.0f} %"


def _text(gain: Estimate) -> str:
    return f"{gain.value:.2f} [{gain.low:.2f}, {gain.high:.2f}]"
