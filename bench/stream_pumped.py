"""A stream into a null sink, as all cases of bench_stream.py run it."""

from __future__ import annotations

import tempfile
from typing import Any

from vaelocity.stream import Pump, Rejects, StreamScorer, open_sink

__all__ = ["pumped"]


def pumped(scorer: Any, source: Any, sink: Any = None, **settings: Any) -> Any:
    """Pump a source dry; its stats. sink: null: if there is none. settings: Pump's."""
    model = StreamScorer(scorer, threshold=1e30)
    with tempfile.TemporaryDirectory() as folder:
        target = sink or open_sink("null:", source)
        return Pump(source, target, model, rejects=Rejects(folder), **settings).run()
