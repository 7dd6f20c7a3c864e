"""What the tests of Kafka share: librdkafka's mock broker, messages of events, and their scores."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Who imports this file is skipped where they are not there.
pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")
pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
pytest.importorskip("confluent_kafka", reason="needs the extra vaelocity[stream]")

import confluent_kafka as kafka
import pyarrow as pa
from stream_ends import NAMES, numbered

import vaelocity
from vaelocity.stream import Pump, StreamScorer, open_sink, open_source
from vaelocity.stream.message import decode, encode

ROWS = 50
QUIET = {"log_level": 0}
# The mock forgets a member that left, or was killed, only after the session's time; below three
# seconds, which the first member of a group has to wait for, nobody ever gets in.
SHORT = {"session.timeout.ms": "4000", "heartbeat.interval.ms": "500"}


class Broker:
    """A broker in this process, with a producer to it.

    address: to reach it at; another one where something stands between.
    """

    def __init__(self) -> None:
        self.host = kafka.Producer({"test.mock.num.brokers": 1, **QUIET})
        brokers = self.host.list_topics(timeout=10).brokers.values()
        self.address = ",".join(f"{b.host}:{b.port}" for b in brokers)

    @classmethod
    def at(cls, address: str) -> Broker:
        """A broker of another process."""
        broker = cls.__new__(cls)
        broker.address = address
        broker.host = kafka.Producer({"bootstrap.servers": address, **QUIET})
        return broker

    def url(self, topic: str, **more: str) -> str:
        options = "&".join(f"{k}={v}" for k, v in {"log_level": "0", **more}.items())
        return f"kafka://{self.address}/{topic}?{options}"

    def send(self, topic: str, values: list[bytes], first: int = 0) -> None:
        """One message each, spread over the four partitions that a topic of the mock has."""
        for i, value in enumerate(values):
            self.host.produce(topic, value, partition=(first + i) % 4)
        assert self.host.flush(20) == 0

    def messages(
        self, topic: str, enough: int = 10**9, seconds: float = 3.0, level: str = "read_committed"
    ) -> list[Any]:
        """What is in a topic: until there is `enough`, or nothing came for a second. level: of
        isolation; the mock knows only read_uncommitted."""
        reader = kafka.Consumer(
            {"bootstrap.servers": self.address, "group.id": f"read {time.time()}",
             "auto.offset.reset": "earliest", "enable.auto.commit": False,
             "isolation.level": level, **QUIET}
        )  # fmt: skip
        reader.assign([kafka.TopicPartition(topic, p, 0) for p in range(4)])
        found: list[Any] = []
        deadline = time.monotonic() + seconds
        while len(found) < enough and time.monotonic() < deadline:
            some = [m for m in reader.consume(1000, 0.2) if m.error() is None]
            found += some
            if some:
                deadline = time.monotonic() + min(seconds, 1.0)
        reader.close()
        return found

    def committed(self, topic: str, group: str) -> int:
        """Messages of the topic that the group is done with."""
        reader = kafka.Consumer({"bootstrap.servers": self.address, "group.id": group, **QUIET})
        parts = [kafka.TopicPartition(topic, p) for p in range(4)]
        found = reader.committed(parts, 10)
        reader.close()
        return sum(max(0, part.offset) for part in found)


def payloads(count: int, first: int = 0) -> list[bytes]:
    """`count` messages of ROWS events with numbers from first * ROWS on."""
    found = []
    for i in range(first, first + count):
        rows = numbered(ROWS, i * ROWS)
        columns = {name: rows[:, j] for j, name in enumerate(NAMES)}
        batch = pa.record_batch({"event": np.arange(i * ROWS, (i + 1) * ROWS), **columns})
        found.append(encode(batch).to_pybytes())
    return found


def scores_in(values: list[bytes]) -> dict[int, list[float]]:
    """Every score that was given to each event."""
    found: dict[int, list[float]] = {}
    for value in values:
        batch = decode(value)
        for event, score in zip(
            batch.column("event").to_pylist(), batch.column("score").to_pylist(), strict=True
        ):
            found.setdefault(event, []).append(score)
    return found


def expected(bundle: Path, count: int) -> dict[int, float]:
    scores = vaelocity.load(bundle).score(numbered(count * ROWS))
    return dict(enumerate(scores.tolist()))


def transactional(broker: Broker) -> tuple[Any, Any]:
    """A source and a sink whose scores come out together with the offsets."""
    source = open_source(broker.url("in", group="g", **SHORT), NAMES, transactional=True)
    return source, open_sink(broker.url("out"), source, transactional=True)


class Counting:
    """A sink around a sink that stops the pump after so many rows."""

    def __init__(self, sink: Any, rows: int) -> None:
        self.name, self.sink, self.left, self.pump = sink.name, sink, rows, None
        self.flush, self.close = sink.flush, sink.close

    def write(self, batch: Any) -> None:
        self.sink.write(batch)
        self.left -= batch.num_rows
        if self.left <= 0:
            assert self.pump is not None
            self.pump.stop()


def pumped(source: Any, sink: Any, bundle: Path, rows: int, **more: Any) -> Pump:
    """Pump until `rows` rows are out."""
    counting = Counting(sink, rows)
    model = StreamScorer(vaelocity.load(bundle), columns=["event"])
    pump = Pump(source, counting, model, rows=1000, threads=2, commit_seconds=0.1, **more)
    counting.pump = pump
    pump.run()
    return pump


def command(bundle: Path, broker: Broker, sink: str, *more: str) -> list[str]:
    return [
        "stream", str(bundle), "-s",
        broker.url("in", group="g", **SHORT), "-t", sink, "--pass", "event",
        "--commit-seconds", "0.05",
        "--batch-size", "200", *more,
    ]  # fmt: skip


def received(source: Any, count: int) -> list[Any]:
    """The messages of a source: `count` at least."""
    found: list[Any] = []
    deadline = time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        found += source.poll(0.1)
    assert len(found) >= count
    return found


def written(sink: Any, message: Any, bundle: Path) -> None:
    """Give the scores of a message to a sink."""
    sink.write(vaelocity.score_batch(vaelocity.load(bundle), message.batch, columns=["event"]))
