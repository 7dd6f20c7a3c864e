"""What Prometheus would be told."""

from __future__ import annotations

import urllib.request
from typing import Any

from vaelocity.stream.metrics import serve_metrics

__all__ = ["page_at", "values_of"]


def values_of(*args: Any) -> dict[str, float]:
    """Metric, with its labels, to value: from a server of `serve_metrics(stats, fingerprint, ...)`
    that is asked once. args: its arguments, without host and port."""
    stats, fingerprint, *more = args
    port, stop = serve_metrics(stats, fingerprint, "127.0.0.1", 0, *more)
    try:
        lines = page_at(f"http://127.0.0.1:{port}/metrics").splitlines()
    finally:
        stop()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def page_at(url: str) -> str:
    """The text at an address."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
    return text
