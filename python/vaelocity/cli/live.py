"""The picture of a running stream on a terminal."""

from __future__ import annotations

import math
import time

import numpy as np
from rich.table import Table

from vaelocity.cli.console import facts, rate
from vaelocity.drift import Channel
from vaelocity.histogram import ScoreHistogram
from vaelocity.record_batch import flags_text
from vaelocity.stream import Pump, StreamStats
from vaelocity.stream.recent import Drift, Recent
from vaelocity.stream.shadow import ShadowWatch
from vaelocity.stream.stats import wilson
from vaelocity.threshold import Threshold
from vaelocity.units import format_rate

__all__ = ["LiveView", "accepted_text", "drift_rows", "latency_text", "part_text"]

_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 48
_WORST = 4


class LiveView:
    """Rendered anew by rich.live.Live; the rate shown is that since the last picture."""

    def __init__(
        self,
        pump: Pump,
        title: str,
        made: Threshold | None,
        recent: Recent,
        shadow: ShadowWatch | None = None,
    ) -> None:
        """made: the threshold that is applied, where the model holds it, to compare with."""
        self._pump, self._title, self._made = pump, title, made
        self._recent, self._shadow = recent, shadow
        self._seen = (time.perf_counter(), 0)
        self._rate = 0.0

    def __rich__(self) -> Table:
        stats, now = self._pump.stats, time.perf_counter()
        then, events = self._seen
        if now - then > 0.2:
            self._rate = (stats.events - events) / (now - then)
            self._seen = (now, stats.events)
        mean = stats.events / stats.seconds if stats.seconds > 0 else 0.0
        drift = self._recent.look()
        rows = [
            ("events", f"{stats.events:,} in {stats.seconds:.0f} s"),
            ("rate", f"{rate(self._rate)} events/s now, {rate(mean)} events/s on average"),
            ("accepted", accepted_text(stats, self._made)),
            ("latency", latency_text(stats)),
            ("flagged", flags_text(stats.flagged)),
            ("refused", f"{stats.refused:,} messages"),
        ]
        if drift is not None:
            rows += [("scores", bars(drift.scores, self._pump.scorer.threshold))]
            rows += drift_rows(drift)
        if self._shadow is not None:
            rows.append(("shadow", _agreement(self._shadow)))
        return facts(rows, self._title)


def drift_rows(drift: Drift) -> list[tuple[str, str]]:
    """Score and inputs against what the model's file expects; nothing where it expects nothing."""
    rows = []
    if drift.psi is not None and drift.ks is not None:
        text = f"PSI {drift.psi:.3g}, KS {drift.ks:.3g} against the held-out scores"
        rows.append(("score drift", text))
    if drift.channels:
        worst = ", ".join(_channel(one) for one in drift.channels[:_WORST])
        rows.append(
            ("input drift", f"{len(drift.bad)} of {len(drift.channels)} not ok; worst: {worst}")
        )
    return rows


def _channel(one: Channel) -> str:
    state = "" if one.state == "ok" else f"{one.state}, "
    return f"{one.name} ({state}PSI {one.psi:.3g}, KS {one.ks:.3g})"


def bars(scores: ScoreHistogram, threshold: float | None, width: int = _WIDTH) -> str:
    """1.2 ▁▃█▅▂▁|▁  4.5: counts over the logarithm of the score, taller is more by decades.

    From the 0.1 % quantile of the scores above 0 to the largest; `|` stands before the threshold.
    """
    steps = scores.steps()
    used = (steps.edges > 0) & np.isfinite(steps.edges)
    edges, counts = steps.edges[used].astype(np.float64), steps.counts[used]
    if len(edges) == 0:
        return "none above 0"
    below = np.cumsum(counts)
    first = float(edges[np.searchsorted(below, 0.001 * below[-1])])
    last = float(edges[-1])
    if not last > first:
        return f"all about {last:.3g}"
    span = math.log(last / first)
    at = np.clip(np.log(edges / first) / span * width, 0, width - 1).astype(int)
    heights = np.bincount(at, weights=counts, minlength=width)
    level = np.log1p(heights) / np.log1p(heights.max()) * (len(_BARS) - 1)
    shown = [_BARS[math.ceil(value)] for value in level]
    if threshold is not None and first < threshold < last:
        shown.insert(int(math.log(threshold / first) / span * width), "|")
    return f"{first:.3g} {''.join(shown)} {last:.3g}"


def _agreement(shadow: ShadowWatch) -> str:
    comparison = shadow.comparison
    decisions = None if comparison is None else comparison.decisions()
    if comparison is None or decisions is None:
        return "no decisions to compare" if comparison and comparison.n else "no events yet"
    same = decisions["both"].fraction + decisions["neither"].fraction
    return (
        f"decides the same for {100 * same:.4g} %: "
        f"{decisions['only_live'].events:,} only live, "
        f"{decisions['only_shadow'].events:,} only shadow"
    )


def accepted_text(stats: StreamStats, made: Threshold | None) -> str:
    """412 (1.03 %, 95 % interval 0.93 to 1.13 %; fpr=0.01 was made for 1 %)

    Where the threshold knows the rate of all events, parts are given as rates: 1.03 kHz.
    """
    part = stats.accepted / stats.events if stats.events else 0.0
    low, high = wilson(stats.accepted, stats.events)
    if made is None:
        edges = f"{part_text(low)} to {part_text(high)}"
        return f"{stats.accepted:,} ({part_text(part)}, 95 % interval {edges})"
    hz = made.input_rate
    of = "" if hz is None else f" of {format_rate(hz)}"
    return (
        f"{stats.accepted:,} ({part_text(part, hz)}{of}, 95 % interval {part_text(low, hz)} to "
        f"{part_text(high, hz)}; {made.name} was made for {part_text(made.fpr, hz)})"
    )


def part_text(part: float, hz: float | None = None) -> str:
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
