"""Streams: events from files, pipes, Kafka or ZeroMQ; scores to the same, in order, none lost.

    source = open_source("kafka://localhost:9092/events?group=ad", scorer.feature_names)
    sink = open_sink("scores/", source)
    Pump(source, sink, StreamScorer(scorer, columns=["event"])).run()

The way of an event: a source (files.py, pipe.py, kafka.py, zeromq.py) -> gather.py -> pump.py ->
scoring.py -> vaelocity.score_batch -> a sink (parquet.py, pipe.py, kafka.py, zeromq.py).
"""

from __future__ import annotations

from vaelocity.stream.address import open_sink, open_source
from vaelocity.stream.ends import Sink, Source, StreamError
from vaelocity.stream.pump import Pump
from vaelocity.stream.rejects import Rejects
from vaelocity.stream.scoring import StreamScorer
from vaelocity.stream.stats import StreamStats

__all__ = [
    "Pump",
    "Rejects",
    "Sink",
    "Source",
    "StreamError",
    "StreamScorer",
    "StreamStats",
    "open_sink",
    "open_source",
]
