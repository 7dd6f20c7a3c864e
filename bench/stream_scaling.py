"""How a ZeroMQ stream grows with its scoring threads, for bench_stream.py: the sender has
processors of its own where there are four, and scores are compared with the scorer's before any
is timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from stream_pumped import pumped
from stream_report import line
from stream_zmq import WANTED, dropped, frame, sender, sending, timed

import vaelocity
from vaelocity.benchmark.networks import jet_rows
from vaelocity.benchmark.timing import Contender, Estimate, interleave, median, speedup

__all__ = ["FEW", "scaling_cases"]

THREADS = (1, 2, 4, 8)
CASES = (("ipc", 512), ("ipc", 4096), ("tcp", 4096))
FEW = 4
"""With fewer processors than these the sender shares those of the stream."""

SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
CASE_SECONDS = 25.0
"""After so long a case makes three rounds do: a slow machine does not take minutes."""
SENDERS = 2  # its own thread, and ZeroMQ's


def scaling_cases(network: Any, folder: Path, quick: bool) -> list[dict[str, Any]]:
    """A line for every way of sending and number of threads, and one for the command."""
    scorer = vaelocity.load(network.path)
    with _processors() as (own, senders):
        threads = [n for n in THREADS if n <= len(own)]
        _check(scorer, folder, threads[-1])
        alone = _alone(scorer, threads, quick)
        where = f"{len(own)} processors, " + (
            "which the sender shares" if senders == own else f"{len(senders)} more for the sender"
        )
        found: list[dict[str, Any]] = []
        for transport, rows in CASES:
            seconds = _seconds(scorer, folder, (transport, rows), threads, senders, quick)
            title = f"ZeroMQ over {transport} to null:, messages of {rows:,} events"
            found += _lines(title, seconds, alone, where, _events(quick))
        found.append(_command(network.path, scorer, folder, threads[-1], senders, quick))
    return found


@contextmanager
def _processors() -> Iterator[tuple[set[int], set[int]]]:
    """The stream's processors and the sender's; this process is held to the former meanwhile."""
    allowed = os.sched_getaffinity(0)
    senders = _last_cores(allowed) if len(allowed) >= FEW else allowed
    own = allowed - senders or allowed
    os.sched_setaffinity(0, own)
    try:
        yield own, senders
    finally:
        os.sched_setaffinity(0, allowed)


def _last_cores(allowed: set[int]) -> set[int]:
    """SENDERS processors at least, all threads of the last cores: nothing of a core is shared."""
    found: set[int] = set()
    for cpu in sorted(allowed, reverse=True):
        if len(found) >= SENDERS:
            break
        found |= _siblings(cpu) & allowed
    return found


def _siblings(cpu: int) -> set[int]:
    """The processors that are threads of one core; only itself where Linux does not tell."""
    try:
        text = Path(SIBLINGS.format(cpu)).read_text()
    except OSError:
        return {cpu}
    spans = [span.split("-") for span in text.strip().split(",")]
    return {cpu}.union(*(range(int(span[0]), int(span[-1]) + 1) for span in spans))


class _Compared:
    """A sink that compares scores with those expected of every message, bit for bit."""

    name = "a comparison"

    def __init__(self, expected: Any) -> None:
        self._expected, self.messages = expected, 0

    def write(self, batch: pa.RecordBatch) -> None:
        found = batch.column("score").to_numpy().reshape(-1, len(self._expected))
        if not (found.view(np.uint32) == self._expected.view(np.uint32)).all():
            raise AssertionError("the stream's scores are not the scorer's: nothing is timed")
        self.messages += len(found)

    def flush(self, positions: Sequence[Any]) -> None:
        """Nothing is held back."""

    def close(self, *, complete: bool) -> None:
        """Nothing is open."""


def _check(scorer: Any, folder: Path, threads: int) -> None:
    for transport, rows in CASES:
        sink, count = _Compared(scorer.score(jet_rows(rows, scorer.n_features))), 200
        with sending(scorer, folder, rows, count, transport=transport) as (source, _):
            pumped(scorer, source, sink, threads=threads)
        assert sink.messages == count


def _alone(scorer: Any, threads: Sequence[int], quick: bool) -> dict[int, float]:
    """Events/s of the scorer on rows in memory, by threads."""
    block = np.concatenate([jet_rows(1 << 16, scorer.n_features)] * (2 if quick else 16))
    ways = {str(n): Contender(lambda n=n: scorer.score(block, threads=n)) for n in threads}
    seconds = interleave(ways, rounds=2 if quick else 5, sample_seconds=0.0)
    return {int(n): len(block) / median(values).value for n, values in seconds.items()}


def _events(quick: bool) -> int:
    """Events for every thread: some tenths of a second's work."""
    return 1 << (17 if quick else 20)


def _seconds(
    scorer: Any, folder: Path, case: tuple[str, int], threads: Sequence[int], senders: set[int],
    quick: bool,
) -> dict[int, Any]:  # fmt: skip
    """Seconds an event in every round, by threads; 0: received and dropped."""
    transport, rows = case
    seconds: dict[int, list[float]] = {n: [] for n in (0, *threads)}
    late = time.monotonic() + CASE_SECONDS
    for i in range(2 if quick else 5):
        if i >= 3 and time.monotonic() > late:
            break
        for n in list(seconds)[:: 1 if i % 2 else -1]:
            count = max(1, n) * _events(quick) // rows

            def way(source: Any, n: int = n) -> int:
                return int(pumped(scorer, source, threads=n).messages) if n else dropped(source)

            with sending(scorer, folder, rows, count, transport=transport, processors=senders) as (
                source,
                _,
            ):
                seconds[n].append(timed(source, way, count) / (count * rows))
    return {n: np.array(values) for n, values in seconds.items()}


def _lines(
    title: str, seconds: dict[int, Any], alone: dict[int, float], where: str, events: int
) -> list[dict[str, Any]]:
    """A line for each number of threads; the fastest is held against what is wanted."""
    rates = {n: median(1 / values) for n, values in seconds.items()}
    threads = [n for n in rates if n]
    best = max(threads, key=lambda n: rates[n].value)
    return [
        line(
            f"{title}, {n} scoring thread{'s' * (n > 1)}",
            n * events,
            rates[n].value,
            ratio=speedup(seconds[n], seconds[1]) if n > 1 else None,
            of="one thread",
            wanted=f">= {WANTED / 1e6:g} M events/s" if n == best else "stated",
            met=rates[n].low >= WANTED if n == best else None,
            note=f"{where}; {_range(rates[n])}; the scorer alone with as many threads: "
            f"{alone[n] / 1e6:.2f} M; received and dropped: {rates[0].value / 1e6:.1f} M",
            threads=n,
            alone_per_second=alone[n],
            dropped_per_second=rates[0].value,
        )
        for n in threads
    ]


def _range(rate: Estimate) -> str:
    return f"95 %: {rate.low / 1e6:.2f} to {rate.high / 1e6:.2f} M"


def _command(
    bundle: Path, scorer: Any, folder: Path, threads: int, senders: set[int], quick: bool
) -> dict[str, Any]:
    """What `vaelocity stream` itself says of some seconds."""
    rows, events = CASES[1][1], threads << (18 if quick else 21)
    path, count = frame(scorer.n_features, folder, rows), events // rows
    address = f"ipc://{folder}/c"
    command = [sys.executable, "-m", "vaelocity.cli", "stream", str(bundle), "-t", "null:",
               "-s", f"zmq+{address}?bind=1", "--threads", str(threads), "--json"]  # fmt: skip
    with sender(address, path, count, processors=senders):
        ran = subprocess.run(command, stdout=subprocess.PIPE, cwd=folder, check=True)
    said = json.loads(ran.stdout)
    assert said["events"] == events, said
    return line(
        f"`vaelocity stream -s zmq+ipc://... -t null: --threads {threads}`, messages of {rows:,} "
        "events",
        events,
        said["events_per_second"],
        wanted=f">= {WANTED / 1e6:g} M events/s",
        met=said["events_per_second"] >= WANTED,
        note=f"as it says itself after {said['seconds']:.1f} s, with drift watched and the first "
        "wait for the sender counted",
        threads=threads,
    )
