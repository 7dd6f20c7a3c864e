"""The picture of a running stream on a terminal."""

from __future__ import annotations

import math
import time

from rich.table import Table

from vaelocity.cli.console import facts, rate
from vaelocity.stream import StreamStats
from vaelocity.stream.stats import wilson
from vaelocity.threshold import Threshold
from vaelocity.units import format_rate

__all__ = ["LiveView"]


class LiveView:
    """Rendered anew by rich.live.Live; the rate shown is that since the last picture."""

    def __init__(self, stats: StreamStats, title: str, made: Threshold | None) -> None:
        """made: the threshold that is applied, where the model holds it, to compare with."""
        self._stats, self._title, self._made = stats, title, made
        self._seen = (time.perf_counter(), 0)
        self._rate = 0.0

    def __rich__(self) -> Table:
        stats, now = self._stats, time.perf_counter()
        then, events = self._seen
        if now - then > 0.2:
            self._rate = (stats.events - events) / (now - then)
            self._seen = (now, stats.events)
        mean = stats.events / stats.seconds if stats.seconds > 0 else 0.0
        return facts(
            [
                ("events", f"{stats.events:,} in {stats.seconds:.0f} s"),
                ("rate", f"{rate(self._rate)} events/s now, {rate(mean)} events/s on average"),
                ("accepted", self._accepted()),
                ("latency", latency_text(stats)),
                ("flagged", f"{stats.nan:,} with NaN or infinity, {stats.saturated:,} saturated"),
                ("refused", f"{stats.refused:,} messages"),
            ],
            self._title,
        )

    def _accepted(self) -> str:
        return accepted_text(self._stats, self._made)


def accepted_text(stats: StreamStats, made: Threshold | None) -> str:
    """412 (1.03 %, 95 % interval 0.93 to 1.13 %; fpr=0.01 was made for 1 %)

    Where the threshold knows the rate of all events, parts are given as rates: 1.03 kHz.
    """
    part = stats.accepted / stats.events if stats.events else 0.0
    low, high = wilson(stats.accepted, stats.events)
    if made is None:
        return f"{stats.accepted:,} ({_part(part)}, 95 % interval {_part(low)} to {_part(high)})"
    hz = made.input_rate
    of = "" if hz is None else f" of {format_rate(hz)}"
    return (
        f"{stats.accepted:,} ({_part(part, hz)}{of}, 95 % interval {_part(low, hz)} to "
        f"{_part(high, hz)}; {made.name} was made for {_part(made.fpr, hz)})"
    )


def _part(part: float, hz: float | None = None) -> str:
    return f"{100 * part:.3g} %" if hz is None else format_rate(part * hz, 3)


def latency_text(stats: StreamStats) -> str:
    """p50 1.2 ms, p99 3.4 ms, p99.9 5.6 ms from arrival to result"""
    found = {name: stats.latency.quantile(q) for name, q in _SHOWN.items()}
    if any(math.isnan(value) for value in found.values()):
        return "no events yet"
    shown = ", ".join(f"{name} {_time(value)}" for name, value in found.items())
    return f"{shown} from arrival to result"


_SHOWN = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def _time(seconds: float) -> str:
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"
