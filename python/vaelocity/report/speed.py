"""How fast a model scores on the machine that writes the report."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

import vaelocity
from vaelocity.frozen import Rows

SIZES = (1, 256, 4096, 65536)
_SECONDS = 0.4
_MOST_CALLS = 20_000


@dataclass(frozen=True)
class Speed:
    """Calls of `Scorer.score` with so many rows, seconds each; one thread."""

    rows: int
    seconds: Rows

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    def percentile(self, part: float) -> float | None:
        """None where fewer than ten calls took longer."""
        if len(self.seconds) * (1 - part) < 10:
            return None
        return float(np.quantile(self.seconds, part))


def measure(scorer: vaelocity.Scorer, rows: Rows) -> list[Speed]:
    """Times of calls with 1, 256, 4,096 and 65,536 rows, the given ones again and again."""
    sized = (np.resize(rows, (n, rows.shape[1])) for n in SIZES)
    return [_timed(scorer, np.ascontiguousarray(some)) for some in sized]


def _timed(scorer: vaelocity.Scorer, rows: Rows) -> Speed:
    out = np.empty(len(rows), np.float32)
    for _ in range(3):
        scorer.score(rows, out)
    seconds: list[float] = []
    stop = time.perf_counter() + _SECONDS
    while len(seconds) < 20 or (time.perf_counter() < stop and len(seconds) < _MOST_CALLS):
        start = time.perf_counter()
        scorer.score(rows, out)
        seconds.append(time.perf_counter() - start)
    return Speed(len(rows), np.array(seconds, np.float32))
