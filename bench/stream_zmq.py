"""ZeroMQ on loopback for bench_stream.py: messages of several sizes from another process, scored,
and in turns with that received and dropped: what ZeroMQ and the kernel take by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import vaelocity
from vaelocity.benchmark.networks import jet_rows
from vaelocity.benchmark.timing import median, speedup
from vaelocity.stream import Pump, Rejects, StreamScorer, open_sink, open_source
from vaelocity.stream.message import encode

__all__ = ["FRAMES", "frame", "zmq_cases"]

FRAMES = (512, 4096, 32768)
WANTED = 5e6

_FEED = """
import sys
from vaelocity.stream import open_sink
raw = open(sys.argv[2], "rb").read()
sink = open_sink(sys.argv[1], None)
for _ in range(int(sys.argv[3])):
    sink._send(raw)
sink.close(complete=True)
"""


def zmq_cases(network: Any, folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Every size of message: scored, and received and dropped."""
    scorer = vaelocity.load(network.path)
    return [case for rows in FRAMES for case in _cases(scorer, network.name, folder, rows, quick)]


def frame(scorer: Any, folder: Path, rows: int) -> Path:
    """A message of so many events, the features in one column of rows."""
    values = jet_rows(rows, scorer.n_features)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), scorer.n_features)
    path = folder / f"frame-{rows}"
    path.write_bytes(encode(pa.record_batch({"features": lists})).to_pybytes())
    return path


def _cases(scorer: Any, network: str, folder: Path, rows: int, quick: bool) -> list[dict[str, Any]]:
    threads = len(os.sched_getaffinity(0))
    count, rounds = ((1 << 20) // rows, 1) if quick else ((1 << 22) // rows, 5)
    ways: dict[str, Callable[[Any], int]] = {
        "scored": lambda source: _scored(scorer, source, threads),
        "dropped": _dropped,
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*ways, "alone")}
    block = np.concatenate([jet_rows(1 << 16, scorer.n_features)] * 8)
    for i in range(rounds):
        start = time.perf_counter()
        scorer.score(block, threads=threads)
        seconds["alone"].append((time.perf_counter() - start) / len(block))
        for name, way in list(ways.items())[:: 1 if i % 2 else -1]:
            seconds[name].append(_timed(scorer, folder, rows, count, way))
    rates = {name: 1 / median(values).value for name, values in seconds.items()}
    ratio = speedup(np.array(seconds["scored"]), np.array(seconds["alone"]))
    of = f"messages of {rows:,} events"
    return [
        {
            "title": f"ZeroMQ PUSH/PULL to null:, network {network}, {of}",
            "events": count * rows,
            "events_per_second": rates["scored"],
            "alone_per_second": rates["alone"],
            "ratio": asdict(ratio),
            "wanted": f">= {WANTED / 1e6:g} M events/s",
            "met": rates["scored"] >= WANTED,
            "note": f"{threads} scoring threads on {threads} processors that the sender shares; "
            f"the scorer alone with as many threads: {rates['alone'] / 1e6:.2f} M events/s",
        },
        {
            "title": f"ZeroMQ PUSH/PULL, received and dropped, beside {network}, {of}",
            "events": count * rows,
            "events_per_second": rates["dropped"],
            "ratio": None,
            "wanted": "stated",
            "met": None,
            "note": f"{rates['dropped'] * 4 * scorer.n_features / 1e9:.2f} GB/s: neither Arrow nor "
            "vaelocity takes part",
        },
    ]


def _timed(scorer: Any, folder: Path, rows: int, count: int, way: Callable[[Any], int]) -> float:
    """Seconds an event, from the first message on; the sender has been started by then."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        address = f"zmq+ipc://{name}/s"
        source = open_source(f"{address}?bind=1", scorer.feature_names)
        path = frame(scorer, folder, rows)
        feed = [sys.executable, "-c", _FEED, f"{address}?end=1", str(path), str(count)]
        with subprocess.Popen(feed):
            while not source._socket.poll(1000):
                pass
            begin = time.perf_counter()
            messages = way(source)
            taken = time.perf_counter() - begin
            source.close()
        assert messages == count
        return taken / (count * rows)


def _scored(scorer: Any, source: Any, threads: int) -> int:
    with tempfile.TemporaryDirectory() as rejects:
        model = StreamScorer(scorer, threshold=1e30)
        sink = open_sink("null:", source)
        return Pump(source, sink, model, threads=threads, rejects=Rejects(rejects)).run().messages


def _dropped(source: Any) -> int:
    messages = 0
    while len(source._socket.recv(copy=False).buffer):
        messages += 1
    return messages
