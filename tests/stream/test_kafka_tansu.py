"""Exactly once from Kafka to Kafka on a broker that others wrote: what test_kafka_transactions.py
asks of librdkafka's mock with the part of it that kafka_wire.py adds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka_broker import (
    QUIET,
    ROWS,
    Broker,
    command,
    expected,
    kafka,
    payloads,
    pumped,
    received,
    scores_in,
    transactional,
    written,
)
from kafka_tansu import end_of, tansu
from stream_process import ended, started, wait_for

from vaelocity.stream import StreamError, open_sink


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with tansu(tmp_path) as found:
        yield found


def test_what_tansu_does_not_do(broker: Broker) -> None:
    """If this fails it no longer shows what was aborted: `open_in` below can go."""
    producer = kafka.Producer(
        {"bootstrap.servers": broker.address, "transactional.id": "t", **QUIET}
    )
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce("out", b"x", partition=0)
    assert producer.flush(10) == 0
    assert broker.messages("out") == []
    producer.abort_transaction(10)
    assert [message.value() for message in broker.messages("out", 1)] == [b"x"]


def place(message: Any) -> tuple[int, int]:
    return message.partition(), message.offset()


def open_in(broker: Broker, topic: str) -> set[tuple[int, int]]:
    """Partition and offset of the messages of a transaction that nobody has ended."""
    every = map(place, broker.messages(topic, level="read_uncommitted"))
    return set(every) - set(map(place, broker.messages(topic)))


def test_offsets_are_committed_with_the_scores(broker: Broker, bundle: Path) -> None:
    broker.send("in", payloads(60))
    source, sink = transactional(broker)
    pumped(source, sink, bundle, 60 * ROWS)
    assert broker.committed("in", "g") == 60
    found = scores_in([message.value() for message in broker.messages("out")])
    assert found == {event: [score] for event, score in expected(bundle, 60).items()}


def test_scores_and_offsets_come_out_together(broker: Broker, bundle: Path) -> None:
    broker.send("in", payloads(8))
    source, sink = transactional(broker)
    first, *_ = received(source, 8)
    written(sink, first, bundle)
    wait_for(lambda: end_of(broker, "out") == 1)
    assert (broker.messages("out"), broker.committed("in", "g")) == ([], 0)
    sink.flush([first.position])
    assert (len(broker.messages("out")), broker.committed("in", "g")) == (1, 1)
    sink.close(complete=True)
    source.close()


def test_kill_9_in_a_transaction_loses_nothing_and_doubles_nothing(
    broker: Broker, bundle: Path, tmp_path: Path
) -> None:
    """What the transaction had written that nobody ended is aborted; without it every event has its
    score once."""
    args = command(bundle, broker, broker.url("out"), "--transactional")
    # Time enough to be seen and killed between a write and its commit.
    args[args.index("--commit-seconds") + 1] = "3"
    broker.send("in", payloads(40))
    with started(args, tmp_path) as first:
        wait_for(lambda: broker.committed("in", "g") == 40)
        before = end_of(broker, "out")
        broker.send("in", payloads(40, 40), 40)
        wait_for(lambda: end_of(broker, "out") > before)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    aborted = open_in(broker, "out")
    assert aborted, "it was to be killed within a transaction"
    assert broker.committed("in", "g") < 80
    broker.send("in", payloads(40, 80), 80)
    with started(args, tmp_path) as second:
        wait_for(lambda: broker.committed("in", "g") == 120)
        ended(second)
    kept = [m.value() for m in broker.messages("out") if place(m) not in aborted]
    found = scores_in(kept)
    assert found == {event: [score] for event, score in expected(bundle, 120).items()}


def test_a_stream_whose_place_was_taken_commits_nothing(broker: Broker, bundle: Path) -> None:
    """A successor with the same transactional id starts while it still writes."""
    broker.send("in", payloads(8))
    source, sink = transactional(broker)
    first, *_ = received(source, 8)
    written(sink, first, bundle)
    wait_for(lambda: end_of(broker, "out") == 1)
    successor = open_sink(broker.url("out"), source, transactional=True)
    with pytest.raises(StreamError, match=r"/out: send_offsets_to_transaction: "):
        sink.flush([first.position])
    assert broker.committed("in", "g") == 0
    written(successor, first, bundle)
    successor.flush([first.position])
    assert broker.committed("in", "g") == 1
    successor.close(complete=True)
    source.close()
