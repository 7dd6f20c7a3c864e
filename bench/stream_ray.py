"""Ray Data for bench_stream.py: one actor and two, and beside them the scorer in one process and in
two without Ray, which tells what the machine gives to a second one. Nothing where Ray is not
installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from stream_report import line

from vaelocity.benchmark.networks import build, jet_rows
from vaelocity.benchmark.timing import Estimate, median, speedup

__all__ = ["ray_cases"]

ACTORS = (1, 2)
# A network and blocks of some tenths of a second's work: Ray takes milliseconds for a block.
HIDDEN, LATENT, BLOCK = (512, 256), 64, 16384
PLAIN_SECONDS = 1.5

# In a process of its own: what Ray starts ends with it. Prints [way, how many, events/s], and of
# actors also which part of the time they spent on a processor.
_RUN = """
import json, os, subprocess, sys, time
import pyarrow as pa
import ray, ray.data
from stream_ray import rate
from vaelocity.cluster.ray import Scorer, options
bundle, data, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False
blocks = ray.data.read_parquet(data).materialize()

class Timed(Scorer):
    def __call__(self, table):
        start, busy = time.time(), time.process_time()
        rows = len(super().__call__(table))
        return pa.table({"actor": [os.getpid()], "start": [start], "end": [time.time()],
                         "busy": [time.process_time() - busy], "rows": [rows]})

def actors(n):
    found = blocks.map_batches(Timed, **options(bundle, actors=n, batch_size=BLOCK)).take_all()
    busy = sum(b["busy"] for b in found) / sum(b["end"] - b["start"] for b in found)
    print(json.dumps(["actors", n, rate(found), busy]), flush=True)

def plain(n):
    started = [subprocess.Popen([sys.executable, "-c", PLAIN, bundle], stdin=subprocess.PIPE,
               stdout=subprocess.PIPE, text=True) for _ in range(n)]
    for one in started:
        one.stdout.readline()
    for one in started:
        one.stdin.write("go\\n")
        one.stdin.flush()
    found = sum(float(one.communicate()[0]) for one in started)
    print(json.dumps(["processes", n, found, 1.0]), flush=True)

for i in range(rounds):
    ways = [(way, n) for n in ACTORS for way in (actors, plain)]
    for way, n in ways[:: 1 if i % 2 else -1]:
        way(n)
"""

_PLAIN = """
import sys, time
import numpy as np
import vaelocity
from vaelocity.benchmark.networks import jet_rows
scorer = vaelocity.load(sys.argv[1])
rows, done = jet_rows(BLOCK // 8, scorer.n_features), 0
scorer.score(rows)
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
while (now := time.perf_counter()) - start < PLAIN_SECONDS:
    scorer.score(rows)
    done += len(rows)
print(done / (now - start))
"""


def rate(blocks: Sequence[dict[str, float]]) -> float:
    """Events a second while every actor was at work: their start, a Python process, is left out."""
    actors: dict[float, list[dict[str, float]]] = {}
    for block in blocks:
        actors.setdefault(block["actor"], []).append(block)
    first = max(min(block["start"] for block in of) for of in actors.values())
    last = min(max(block["end"] for block in of) for of in actors.values())
    # A block that is under way at either end counts for its part within.
    within = [
        block["rows"]
        * max(0.0, min(last, block["end"]) - max(first, block["start"]))
        / (block["end"] - block["start"])
        for block in blocks
    ]
    return sum(within) / (last - first)


def ray_cases(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """One line for each number of actors."""
    if importlib.util.find_spec("ray") is None:
        return []
    network = build(59, HIDDEN, LATENT, folder)
    blocks, rounds = (8, 1) if quick else (20, 4)
    rows = jet_rows(BLOCK, network.n_features)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    (folder / "ray").mkdir()
    for i in range(blocks):
        pq.write_table(pa.table({"features": lists}), folder / "ray" / f"{i:03}.parquet")
    rates, busy = _run(network.path, folder / "ray", rounds)
    gains = {
        way: speedup(1 / np.array(rates[way, 2]), 1 / np.array(rates[way, 1]))
        for way in ("actors", "processes")
    }
    two = f"; two processes without Ray: {_text(gains['processes'])} of one"
    return [
        line(
            f"Ray Data map_batches, network {network.name}, {n} actor{'s' * (n > 1)}",
            blocks * BLOCK,
            median(rates["actors", n]).value,
            ratio=gains["actors"] if n == 2 else None,
            of="one actor",
            note=f"blocks of {BLOCK:,} events in Ray's object store, while all actors are at work; "
            f"they are on a processor for {100 * median(busy[n]).value:.0f} % of it"
            + two
            * (n == 2),
        )
        for n in ACTORS
    ]


def _run(bundle: Path, data: Path, rounds: int) -> tuple[Any, Any]:
    """Events a second by way and number, and the busy part of the time by number of actors."""
    head = f"ACTORS, BLOCK = {ACTORS}, {BLOCK}\n"
    plain = f"BLOCK, PLAIN_SECONDS = {BLOCK}, {PLAIN_SECONDS}\n{_PLAIN}"
    ran = subprocess.run(
        [sys.executable, "-c", f"{head}PLAIN = {plain!r}\n{_RUN}", str(bundle), str(data),
         str(rounds)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": os.path.dirname(__file__)},
    )  # fmt: skip
    rates: dict[tuple[str, int], list[float]] = {}
    busy: dict[int, list[float]] = {n: [] for n in ACTORS}
    for entry in ran.stdout.splitlines():
        way, n, found, part = json.loads(entry)
        rates.setdefault((way, n), []).append(found)
        if way == "actors":
            busy[n].append(part)
    return rates, busy


def _text(gain: Estimate) -> str:
    return f"{gain.value:.2f} [{gain.low:.2f}, {gain.high:.2f}]"
