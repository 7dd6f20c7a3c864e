"""ZeroMQ on loopback for bench_stream.py: what a stream takes from a sender in another process, and
in turns with it what bounds it there: receiving alone, and with the bare scorer beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from stream_pumped import pumped
from stream_report import line

import vaelocity
from vaelocity.benchmark.networks import jet_rows
from vaelocity.benchmark.timing import Contender, interleave, median, speedup
from vaelocity.stream import open_source
from vaelocity.stream.message import encode

__all__ = [
    "THREADS",
    "WANTED",
    "dropped",
    "frame",
    "sender",
    "sending",
    "threads_case",
    "timed",
    "zmq_cases",
]

FRAMES = (512, 4096)
WANTED = 5e6
THREADS = len(os.sched_getaffinity(0))
# What the bare scorer takes at once: some milliseconds, and 2 MB of rows.
AT_ONCE = 8192

# As light as can be: one frame, sent again and again without a copy. argv: address, file, messages,
# seconds between two of them, its processors. Prints when the first is due, and stays until it is
# killed: a sender that hangs up takes with it what the kernel holds.
_SENDER = """
import os, sys, time, zmq
address, path, count, period = *sys.argv[1:3], int(sys.argv[3]), float(sys.argv[4])
os.sched_setaffinity(0, map(int, sys.argv[5].split(",")))
socket = zmq.Context().socket(zmq.PUSH)
socket.set_hwm(64)
socket.connect(address)
frame = zmq.Frame(open(path, "rb").read())
due = time.perf_counter() + 0.2 * (period > 0)
print(due, flush=True)
for i in range(count):
    if period and (early := due + i * period - time.perf_counter()) > 0:
        time.sleep(early)
    socket.send(frame, copy=False)
socket.send(b"")
time.sleep(600)
"""


def threads_case(network: Any, quick: bool) -> dict[str, Any]:
    """What the processors that share the work of all other cases give to a second thread."""
    scorer = vaelocity.load(network.path)
    block = np.concatenate([jet_rows(1 << 16, scorer.n_features)] * (2 if quick else 8))
    ways = {str(n): Contender(lambda n=n: scorer.score(block, threads=n)) for n in (1, THREADS)}
    seconds = interleave(ways, rounds=3 if quick else 15, sample_seconds=0.0)
    many = seconds[str(THREADS)]
    return line(
        f"The scorer alone, {THREADS} threads on {THREADS} processors, rows in memory",
        len(block),
        len(block) / median(many).value,
        ratio=speedup(many, seconds["1"]),
        of="one thread",
        note="two processors that are threads of one core share its arithmetic units",
    )


def zmq_cases(network: Any, folder: Path, quick: bool) -> list[dict[str, Any]]:
    """A line for every size of message."""
    scorer = vaelocity.load(network.path)
    return [_case(scorer, network.name, folder, rows, quick) for rows in FRAMES]


def frame(n_features: int, folder: Path, rows: int) -> Path:
    """A message of so many events, the features in one column of rows."""
    lists = pa.FixedSizeListArray.from_arrays(
        pa.array(jet_rows(rows, n_features).reshape(-1)), n_features
    )
    path = folder / f"frame-{rows}"
    path.write_bytes(encode(pa.record_batch({"features": lists})).to_pybytes())
    return path


@contextmanager
def sender(
    address: str, path: Path, count: int, period: float = 0.0, processors: Iterable[int] = ()
) -> Iterator[float]:
    """A process that sends the file `count` times to an address; when the first is due
    (time.perf_counter()). processors: its own; those of this process where none are given."""
    own = ",".join(map(str, processors or os.sched_getaffinity(0)))
    with subprocess.Popen(
        [sys.executable, "-c", _SENDER, address, str(path), str(count), str(period), own],
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            yield float(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def sending(
    scorer: Any,
    folder: Path,
    rows: int,
    count: int,
    period: float = 0.0,
    *,
    transport: str = "ipc",
    processors: Iterable[int] = (),
) -> Iterator[tuple[Any, float]]:
    """The source of `count` messages, and when the first of them is due (time.perf_counter()).
    transport: ipc, a socket file, or tcp, the loopback device. processors: the sender's."""
    path = frame(scorer.n_features, folder, rows)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        address = f"zmq+ipc://{name}/s" if transport == "ipc" else "zmq://127.0.0.1:*"
        source = open_source(f"{address}?bind=1", scorer.feature_names)
        with ExitStack() as stack:
            stack.callback(source.close)
            due = stack.enter_context(sender(source.endpoint, path, count, period, processors))
            yield source, due


def _case(scorer: Any, network: str, folder: Path, rows: int, quick: bool) -> dict[str, Any]:
    count, rounds = ((1 << 19) // rows, 2) if quick else ((1 << 20) // rows, 6)
    ways: dict[str, Callable[[Any], int]] = {
        "stream": lambda source: int(pumped(scorer, source, threads=THREADS).messages),
        "beside": lambda source: _beside(scorer, source, rows),
        "dropped": dropped,
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*ways, "alone")}
    block = np.concatenate([jet_rows(1 << 16, scorer.n_features)] * 8)
    for i in range(rounds):
        start = time.perf_counter()
        scorer.score(block, threads=THREADS)
        seconds["alone"].append((time.perf_counter() - start) / len(block))
        for name, way in list(ways.items())[:: 1 if i % 2 else -1]:
            with sending(scorer, folder, rows, count) as (source, _):
                seconds[name].append(timed(source, way, count) / (count * rows))
    rates = {name: 1 / median(values).value for name, values in seconds.items()}
    bytes_per_second = rates["dropped"] * 4 * scorer.n_features
    return line(
        f"ZeroMQ PUSH/PULL to null:, network {network}, messages of {rows:,} events",
        count * rows,
        rates["stream"],
        ratio=speedup(np.array(seconds["stream"]), np.array(seconds["beside"])),
        of="the bare scorer beside the same sender",
        wanted=f">= {WANTED / 1e6:g} M events/s",
        met=rates["stream"] >= WANTED,
        note=f"{THREADS} scoring threads on {THREADS} processors that the sender shares; the bare "
        f"scorer beside the sender: received, dropped, and as many rows of memory scored, "
        f"{rates['beside'] / 1e6:.2f} M events/s; received and dropped: "
        f"{rates['dropped'] / 1e6:.1f} M ({bytes_per_second / 1e9:.1f} GB/s); the scorer alone: "
        f"{rates['alone'] / 1e6:.2f} M",
        rates=rates,
    )


def timed(source: Any, way: Callable[[Any], int], count: int) -> float:
    """Seconds from the first message on, until a way has taken all of them."""
    while not source._socket.poll(1000):
        pass
    begin = time.perf_counter()
    messages = way(source)
    taken = time.perf_counter() - begin
    assert messages == count
    return taken


def dropped(source: Any) -> int:
    """Receive and forget."""
    messages = 0
    while len(source._socket.recv(copy=False).buffer):
        messages += 1
    return messages


def _beside(scorer: Any, source: Any, rows: int) -> int:
    """Drop what is received and score as many rows that lie in memory: neither Arrow, nor
    micro-batches, nor a sink."""
    block, messages, due = jet_rows(AT_ONCE, scorer.n_features), 0, 0
    with ThreadPoolExecutor(THREADS) as pool:
        running: deque[Future[Any]] = deque()
        while len(source._socket.recv(copy=False).buffer):
            messages += 1
            due += rows
            while due >= AT_ONCE:
                due -= AT_ONCE
                running.append(pool.submit(scorer.score, block))
                if len(running) > THREADS + 1:
                    running.popleft().result()
        running.append(pool.submit(scorer.score, block[:due]))
        for one in running:
            one.result()
    return messages
