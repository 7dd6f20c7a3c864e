"""What a stream did so far: counts, rates and latencies."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

from vaelocity.record_batch import FLAGS
from vaelocity.stream.latency import LatencyHistogram
from vaelocity.stream.scoring import Scored

__all__ = ["StreamStats", "wilson"]


@dataclass
class StreamStats:
    """Written by the thread that writes scores, read by any.

    emitted  events in what went out: all, or those that were accepted and selected
    flagged  events with each of record_batch.FLAGS, by its name
    latency  from the arrival of an event to the sink's taking its score
    waiting  seconds the sink made the stream wait
    """

    started: float = field(default_factory=time.perf_counter)
    batches: int = 0
    messages: int = 0
    events: int = 0
    accepted: int = 0
    emitted: int = 0
    flagged: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FLAGS, 0))
    refused: int = 0
    waiting: float = 0.0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)

    def add(self, scored: Scored, messages: int) -> None:
        """Count a micro-batch that is out."""
        self.batches += 1
        self.messages += messages
        self.events += scored.rows
        self.accepted += scored.accepted
        self.emitted += scored.batch.num_rows
        for name, count in scored.flagged.items():
            self.flagged[name] += count

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.started

    def summary(self) -> dict[str, Any]:
        """JSON: counts, events a second, part accepted with its interval, latencies in seconds."""
        seconds = self.seconds
        low, high = wilson(self.accepted, self.events)
        quantiles = {name: self.latency.quantile(q) for name, q in _QUANTILES.items()}
        return {
            "events": self.events,
            "messages": self.messages,
            "batches": self.batches,
            "accepted": self.accepted,
            "accepted_part": self.accepted / self.events if self.events else None,
            "accepted_interval": [low, high],
            "emitted": self.emitted,
            **self.flagged,
            "refused_messages": self.refused,
            "seconds": seconds,
            "events_per_second": self.events / seconds if seconds else None,
            "sink_seconds": self.waiting,
            "latency": {n: None if math.isnan(v) else v for n, v in quantiles.items()},
        }


_QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def wilson(count: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval of a part of which `count` of n were seen; 95 % for the default z.

    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    """
    if n == 0:
        return 0.0, 1.0
    p, zz = count / n, z * z
    middle = (p + zz / (2 * n)) / (1 + zz / n)
    half = z * math.sqrt(p * (1 - p) / n + zz / (4 * n * n)) / (1 + zz / n)
    return max(0.0, middle - half), min(1.0, middle + half)
