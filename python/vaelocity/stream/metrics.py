"""The counts of a stream for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from vaelocity.stream.recent import Recent
from vaelocity.stream.stats import StreamStats

__all__ = ["serve_metrics"]

# Upper edges in seconds.
_BUCKETS = [s * 10.0**e for e in range(-5, 1) for s in (1, 2, 5)] + [10.0]
_FLAGGED = {
    "nan": "Events with a NaN or an infinity.",
    "saturated": "Events whose score is beyond float32.",
    "missing": "Events with missing values that were left out or replaced.",
}


def serve_metrics(
    stats: StreamStats,
    fingerprint: Callable[[], str],
    host: str,
    port: int,
    recent: Recent | None = None,
) -> tuple[int, Callable[[], None]]:
    """Serve http://host:port/metrics from a thread; port 0 takes a free one.

    recent: of which drift is told.

    Returns the port, and a function that ends it. Raises OSError where the port is taken, and
    ImportError without prometheus-client.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(_Collector(stats, fingerprint, recent))
    server, thread = start_http_server(port, host, registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return int(server.server_port), stop


class _Collector:
    """Reads the stream's own counts when Prometheus asks, so that nothing is counted twice."""

    def __init__(
        self, stats: StreamStats, fingerprint: Callable[[], str], recent: Recent | None
    ) -> None:
        self._stats, self._fingerprint, self._recent = stats, fingerprint, recent

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        stats = self._stats
        for name, value, text in (
            ("events", stats.events, "Events whose scores are out."),
            ("accepted", stats.accepted, "Events above the threshold."),
            ("emitted", stats.emitted, "Events in what went out."),
            *((name, count, _FLAGGED[name]) for name, count in stats.flagged.items()),
            ("messages", stats.messages, "Messages, or blocks of files, that were scored."),
            ("refused_messages", stats.refused, "Messages that could not be scored."),
            ("batches", stats.batches, "Micro-batches."),
            ("sink_wait_seconds", stats.waiting, "Time spent in the sink."),
        ):
            yield CounterMetricFamily(f"vaelocity_{name}", text, value)
        up = GaugeMetricFamily("vaelocity_uptime_seconds", "Since the stream started.")
        up.add_metric([], stats.seconds)
        yield up
        model = GaugeMetricFamily("vaelocity_model", "1 for the model in use.", labels=["model"])
        model.add_metric([self._fingerprint()], 1)
        yield model
        latency = HistogramMetricFamily(
            "vaelocity_latency_seconds", "From an event's arrival to its score's being out."
        )
        counts = [(repr(edge), float(stats.latency.below(edge))) for edge in _BUCKETS]
        latency.add_metric([], [*counts, ("+Inf", float(stats.latency.n))], stats.latency.seconds)
        yield latency
        yield from self._drift()

    def _drift(self) -> Iterator[Any]:
        from prometheus_client.core import GaugeMetricFamily

        drift = None if self._recent is None else self._recent.look()
        if drift is None:
            return
        psi = GaugeMetricFamily(
            "vaelocity_drift_psi",
            "Population stability index of the score and of each input, of late.",
            labels=["of"],
        )
        ks = GaugeMetricFamily(
            "vaelocity_drift_ks",
            "Kolmogorov-Smirnov distance of the score and of each input, of late.",
            labels=["of"],
        )
        if drift.psi is not None and drift.ks is not None:
            psi.add_metric(["score"], drift.psi)
            ks.add_metric(["score"], drift.ks)
        for channel in sorted(drift.channels, key=lambda one: one.name):
            psi.add_metric([f"input:{channel.name}"], channel.psi)
            ks.add_metric([f"input:{channel.name}"], channel.ks)
        yield psi
        yield ks
        if drift.channels:
            bad = GaugeMetricFamily(
                "vaelocity_inputs_not_ok", "Inputs that are dead, stuck, hot, missing or drifted."
            )
            bad.add_metric([], len(drift.bad))
            yield bad
