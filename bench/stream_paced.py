"""Latencies for bench_stream.py: a sender that keeps a pace below saturation, and how long after an
event was due its score is out. At saturation a latency tells the length of the queues, no more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from stream_pumped import pumped
from stream_report import line
from stream_zmq import THREADS, sending

import vaelocity

__all__ = ["paced_cases"]

ROWS = 512
# (part of the rate at saturation, --max-latency in milliseconds)
PACES = ((0.25, 0.0), (0.5, 0.0), (0.5, 10.0))
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


class _Clock:
    """A sink that notes when it got how many rows."""

    name = "a clock"

    def __init__(self) -> None:
        self.times: list[float] = []
        self.rows: list[int] = []

    def write(self, batch: pa.RecordBatch) -> None:
        self.times.append(time.perf_counter())
        self.rows.append(batch.num_rows)

    def flush(self, positions: Sequence[Any]) -> None:
        """Nothing is held back."""

    def close(self, *, complete: bool) -> None:
        """Nothing is open."""

    def message_times(self) -> npt.NDArray[np.float64]:
        """When each message was out: [messages]. A micro-batch holds whole messages."""
        return np.repeat(self.times, np.array(self.rows) // ROWS)


def paced_cases(network: Any, folder: Path, saturation: float, quick: bool) -> list[dict[str, Any]]:
    """saturation: events/s that the stream takes of messages of ROWS events, at most."""
    scorer = vaelocity.load(network.path)
    # Ten messages are beyond the last percentile.
    count = 1000 if quick else 10_000
    return [
        _case(scorer, folder, part * saturation, part, ms, count) for part, ms in PACES
    ]  # fmt: skip


def _case(
    scorer: Any, folder: Path, pace: float, part: float, ms: float, count: int
) -> dict[str, Any]:
    clock, period = _Clock(), ROWS / pace
    with sending(scorer, folder, ROWS, count, period) as (source, first):
        pumped(scorer, source, clock, threads=THREADS, latency=ms / 1000)
    out = clock.message_times()
    due = first + period * np.arange(count)
    found = np.quantile(out - due, list(QUANTILES.values()), method="inverted_cdf").tolist()
    return line(
        f"ZeroMQ PUSH/PULL at {100 * part:g} % of that pace, messages of {ROWS} events, "
        f"--max-latency {ms:g}",
        count * ROWS,
        count * ROWS / (out[-1] - first),
        latency=dict(zip(QUANTILES, found, strict=True)),
        note="from when the sender was to send an event, late or not, to its score's being out",
    )
