"""Ray Data for bench_stream.py: events a second with one actor and with two, in this machine's own
Ray. Nothing where Ray is not installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vaelocity.benchmark.networks import jet_rows
from vaelocity.benchmark.timing import median, speedup

__all__ = ["ray_cases"]

BLOCK = 65536
ACTORS = (1, 2)

# In a process of its own: what Ray starts ends with it. Of every block, the actor and when it began
# and ended with it.
_RUN = """
import json, os, sys, time
import pyarrow as pa
import ray, ray.data
from vaelocity.cluster.ray import Scorer, options
bundle, data, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False
blocks = ray.data.read_parquet(data).materialize()

class Timed(Scorer):
    def __call__(self, table):
        start = time.time()
        rows = len(super().__call__(table))
        return pa.table({"actor": [os.getpid()], "start": [start], "end": [time.time()],
                         "rows": [rows]})

for i in range(rounds):
    for actors in ACTORS[:: 1 if i % 2 else -1]:
        found = blocks.map_batches(Timed, **options(bundle, actors=actors, batch_size=BLOCK))
        print(json.dumps([actors, found.take_all()]), flush=True)
"""


def rate(blocks: list[dict[str, float]]) -> float:
    """Events a second while every actor was at work: their start, a Python process, is left out."""
    actors: dict[float, list[dict[str, float]]] = {}
    for block in blocks:
        actors.setdefault(block["actor"], []).append(block)
    first = max(min(block["start"] for block in of) for of in actors.values())
    last = min(max(block["end"] for block in of) for of in actors.values())
    within = [b["rows"] for b in blocks if b["start"] >= first and b["end"] <= last]
    return sum(within) / (last - first)


def ray_cases(network: Any, folder: Path, quick: bool) -> list[dict[str, Any]]:
    """One line for each number of actors."""
    if importlib.util.find_spec("ray") is None:
        return []
    blocks, rounds = (8, 1) if quick else (64, 3)
    rows = jet_rows(BLOCK, network.n_features)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    (folder / "ray").mkdir()
    for i in range(blocks):
        pq.write_table(pa.table({"features": lists}), folder / "ray" / f"{i:03}.parquet")
    code = f"ACTORS, BLOCK = {ACTORS}, {BLOCK}\n{_RUN}"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(network.path), str(folder / "ray"), str(rounds)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )  # fmt: skip
    rates: dict[int, list[float]] = {actors: [] for actors in ACTORS}
    for line in ran.stdout.splitlines():
        actors, found = json.loads(line)
        rates[actors].append(rate(found))
    one, two = (1 / np.array(rates[actors]) for actors in ACTORS)
    gain = speedup(two, one)
    return [
        {
            "title": f"Ray Data map_batches, {actors} actor{'s' * (actors > 1)}",
            "events": blocks * BLOCK,
            "events_per_second": median(rates[actors]).value,
            "ratio": None,
            "wanted": "stated",
            "met": None,
            "note": "blocks in Ray's object store, while all actors are at work"
            + (f"; {gain.value:.2f} [{gain.low:.2f}, {gain.high:.2f}] of one" * (actors == 2)),
        }
        for actors in ACTORS
    ]
