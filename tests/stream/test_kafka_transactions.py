"""Exactly once from Kafka to Kafka, as a broker that keeps transactions would have it: the part of
the broker that librdkafka's mock leaves out is in kafka_wire.py."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka", reason="needs the extra vaelocity[stream]")

import confluent_kafka as kafka
from kafka_broker import (
    QUIET,
    ROWS,
    SHORT,
    Broker,
    command,
    expected,
    payloads,
    pumped,
    received,
    scores_in,
    transactional,
    written,
)
from kafka_wire import Ledger, Wire
from stream_process import ended, started, wait_for

from vaelocity.stream import StreamError, open_sink


@pytest.fixture
def broker() -> Iterator[Broker]:
    """One whose `ledger` keeps transactions; `broker.direct` goes around it."""
    direct = Broker()
    ledger = Ledger(direct.address)
    wire = Wire(direct.address, ledger.take)
    found = Broker.at(wire.address)
    found.ledger, found.direct = ledger, direct
    yield found
    wire.close()


def test_what_the_mock_does_not_do() -> None:
    """If this fails, librdkafka's mock has learned to keep transactions: kafka_wire.py can go."""
    broker = Broker()
    producer = kafka.Producer(
        {"bootstrap.servers": broker.address, "transactional.id": "t", **QUIET}
    )
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce("aborted", b"x", partition=0)
    assert producer.flush(10) == 0
    producer.abort_transaction(10)
    assert [message.value() for message in broker.messages("aborted", 1)] == [b"x"]


def test_offsets_are_committed_with_the_scores_of_their_messages(
    broker: Broker, bundle: Path
) -> None:
    broker.send("in", payloads(60))
    source, sink = transactional(broker)
    pumped(source, sink, bundle, 60 * ROWS)
    ledger = broker.ledger
    assert ledger.dropped == []
    done = dict.fromkeys(range(4), 0)
    for one in ledger.log:
        assert {sent.group for sent in one.offsets} == {"g"}
        events = set(scores_in(one.values))
        offered: set[int] = set()
        for topic, partition, offset in [at for sent in one.offsets for at in sent.offsets]:
            assert topic == "in"
            # message i went to partition i % 4
            numbers = [4 * at + partition for at in range(done[partition], offset)]
            offered |= {number * ROWS + k for number in numbers for k in range(ROWS)}
            done[partition] = offset
        assert events == offered
    assert done == dict.fromkeys(range(4), 15)
    assert broker.direct.committed("in", "g") == 60
    found = scores_in(ledger.committed)
    assert found == {event: [score] for event, score in expected(bundle, 60).items()}


def test_kill_9_in_a_transaction_loses_nothing_and_doubles_nothing(
    broker: Broker, bundle: Path, tmp_path: Path
) -> None:
    ledger = broker.ledger
    args = command(bundle, broker, broker.url("out"), "--transactional")
    # Time enough to be killed between a write and its commit.
    args[args.index("--commit-seconds") + 1] = "0.7"
    broker.send("in", payloads(40))
    with started(args, tmp_path) as first:
        wait_for(lambda: len(ledger.log) > 0)
        broker.send("in", payloads(40, 40), 40)
        wait_for(lambda: ledger.pending() > 0)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    assert ledger.pending() > 0, "it was to be killed within a transaction"
    assert broker.direct.committed("in", "g") < 80
    broker.send("in", payloads(40, 80), 80)
    with started(args, tmp_path) as second:
        wait_for(lambda: broker.direct.committed("in", "g") == 120)
        ended(second)
    found = scores_in(ledger.committed)
    assert found == {event: [score] for event, score in expected(bundle, 120).items()}
    assert ledger.dropped, "the open transaction was aborted"
    written = scores_in([message.value() for message in broker.direct.messages("out")])
    assert any(len(scores) > 1 for scores in written.values()), "read_uncommitted sees it"


def test_messages_that_were_read_before_a_rebalance_are_not_committed(
    broker: Broker, bundle: Path
) -> None:
    """Another member reads them again: committed here, too, they would be there twice. The broker
    refuses what was read in an older generation of the group, and the stream ends."""
    broker.send("in", payloads(8))
    source, sink = transactional(broker)
    first, second, *_ = received(source, 8)
    written(sink, first, bundle)
    sink.flush([first.position])
    assert len(broker.ledger.log) == 1
    other = kafka.Consumer({"bootstrap.servers": broker.address, "group.id": "g", **SHORT, **QUIET})
    other.subscribe(["in"])
    deadline = time.monotonic() + 30
    while not other.assignment() and time.monotonic() < deadline:
        source.poll(0.1)
        other.poll(0.1)
    assert other.assignment()
    written(sink, second, bundle)
    with pytest.raises(StreamError, match=r"/out: send_offsets_to_transaction: .*generation"):
        sink.flush([second.position])
    sink.close(complete=False)
    assert len(broker.ledger.log) == 1
    assert len(broker.ledger.dropped) == 1
    other.close()
    source.close()


def test_a_stream_whose_place_was_taken_commits_nothing(broker: Broker, bundle: Path) -> None:
    """A successor with the same transactional id starts while it still writes."""
    broker.send("in", payloads(8))
    source, sink = transactional(broker)
    first, *_ = received(source, 8)
    written(sink, first, bundle)
    wait_for(lambda: broker.ledger.pending() == 1)
    successor = open_sink(broker.url("out"), source, transactional=True)
    with pytest.raises(StreamError, match=r"/out: send_offsets_to_transaction: .*epoch"):
        sink.flush([first.position])
    assert broker.ledger.log == []
    written(successor, first, bundle)
    successor.flush([first.position])
    assert len(broker.ledger.log) == len(broker.ledger.dropped) == 1
    successor.close(complete=True)
    source.close()
