"""A stream under load for minutes, and what becomes of its memory.

    python bench/soak.py [MODEL.vael] [--minutes 10]

Messages of 2,048 events go round in one process: ZeroMQ PUSH -> stream -> null:. Prints resident
memory and counts every few seconds. Exit code 1 if memory at the end is more than 5 % and 8 MiB
above that after the first fifth, or an event is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

import vaelocity
from vaelocity.benchmark.networks import build
from vaelocity.stream import Pump, Rejects, StreamScorer, open_sink, open_source

FRAME = 2048
PRINTS = 30


def main() -> int:
    """The whole run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, nargs="?", help="default: one trained for a moment")
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or build(59, (64, 32), 16, Path(folder)).path
        scorer = vaelocity.load(model)
        address = f"zmq+ipc://{folder}/soak"
        source = open_source(f"{address}?bind=1", scorer.feature_names)
        feed = open_sink(f"{address}?end=1", source)
        pump = Pump(
            source, open_sink("null:", source), StreamScorer(scorer, threshold=1e30),
            rejects=Rejects(Path(folder, "rejects")), threads=2,
        )  # fmt: skip
        seconds = 60 * options.minutes
        sent: list[int] = []
        threads = [
            threading.Thread(target=lambda: sent.append(_feed(feed, scorer.n_features, seconds))),
            threading.Thread(target=pump.run),
        ]
        for thread in threads:
            thread.start()
        memory = _watch(pump, threads, seconds)
    missing = FRAME * sum(sent) - pump.stats.events
    early, late = memory[len(memory) // 5], memory[-1]
    flat = late <= 1.05 * early + 8 * 2**20
    print(
        f"{pump.stats.events:,} events, {missing} missing; memory {early / 2**20:.1f} MiB after "
        f"the first fifth, {late / 2**20:.1f} MiB at the end: {'flat' if flat else 'GROWING'}"
    )
    return 0 if flat and missing == 0 else 1


def _feed(sink: object, n_features: int, seconds: float) -> int:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(FRAME, n_features)).astype(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), n_features)
    batch = pa.record_batch({"features": lists})
    deadline, count = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        sink.write(batch)
        count += 1
    sink.close(complete=True)
    return count


def _watch(pump: Pump, threads: list[threading.Thread], seconds: float) -> list[int]:
    """Resident bytes, sampled until the threads end."""
    memory = []
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(seconds / PRINTS / len(threads))
        memory.append(_resident())
        p99 = pump.stats.latency.quantile(0.99)
        mib = memory[-1] / 2**20
        print(f"{pump.stats.events:>14,} events  {mib:8.1f} MiB  p99 {1e3 * p99:.2f} ms")
    return memory


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


if __name__ == "__main__":
    sys.exit(main())
