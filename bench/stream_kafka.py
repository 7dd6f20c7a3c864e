"""Kafka for bench_stream.py: librdkafka's mock broker in another process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from stream_pumped import pumped
from stream_report import line
from stream_zmq import frame

import vaelocity
from vaelocity.stream import open_source

__all__ = ["kafka_case"]

FRAME = 512

_BROKER = """
import sys
from confluent_kafka import Producer
raw, count = open(sys.argv[1], "rb").read(), int(sys.argv[2])
host = Producer({"test.mock.num.brokers": 1, "log_level": 0})
brokers = host.list_topics(timeout=10).brokers.values()
for i in range(count):
    host.produce("in", raw, partition=i % 4)
assert host.flush(30) == 0
print(",".join(f"{b.host}:{b.port}" for b in brokers), flush=True)
sys.stdin.read()
"""


def kafka_case(network: Any, folder: Path) -> dict[str, Any]:
    """librdkafka's mock broker in another process. It keeps 5 MiB a partition: a short run."""
    scorer = vaelocity.load(network.path)
    path = frame(scorer.n_features, folder, FRAME)
    count = 4 * (3 * 2**20 // path.stat().st_size)
    command = [sys.executable, "-c", _BROKER, str(path), str(count)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        address = f"kafka://{host.stdout.readline().strip()}/in?group=bench&log_level=0"
        source = open_source(address, scorer.feature_names)
        while not (first := source.poll(1)):
            pass
        begin = time.perf_counter()
        stopping = _Stopping(source, count - len(first))
        stats = pumped(scorer, stopping)
        seconds = stopping.last - begin
        host.kill()
    return line(
        f"Kafka (mock broker) to null:, messages of {FRAME} events",
        stats.events,
        stats.events / seconds,
        note="broker in another process; offsets committed every second",
    )


class _Stopping:
    """A source that ends after so many messages, and remembers when the last one came."""

    def __init__(self, source: Any, messages: int) -> None:
        self._source, self._left, self.last = source, messages, 0.0
        self.name, self.commits, self.replays = source.name, source.commits, source.replays
        self.stop, self.commit, self.close = source.stop, source.commit, source.close

    def poll(self, timeout: float) -> Any:
        if self._left <= 0:
            return None
        found = self._source.poll(timeout)
        self._left -= len(found)
        self.last = time.perf_counter()
        return found
