"""Kafka beside something slow or full: a consumer of the scores, the producer's queue, a disk."""

from __future__ import annotations

import logging
import resource
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from kafka_broker import (
    ROWS,
    SHORT,
    Broker,
    command,
    expected,
    payloads,
    scores_in,
)
from stream_ends import NAMES, ListSink, ListSource, messages, numbered
from stream_process import ended, started, wait_for

import vaelocity
from vaelocity.stream import Pump, StreamScorer, open_sink, open_source


def test_a_consumer_so_slow_that_the_group_goes_on_without_it_loses_nothing(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The sink stands still for longer than Kafka lets a member of a group be silent. The group
    gives its partitions away, here to itself again, and what was not committed comes once more."""
    broker = Broker()
    broker.send("in", payloads(40))
    patience = {"max.poll.interval.ms": "4500", **SHORT}

    class Slow(ListSink):
        def write(self, batch: Any) -> None:
            if len(self.batches) == 2:
                time.sleep(7)
            super().write(batch)

        def flush(self, positions: Any) -> None:
            if broker.committed("in", "g") == 40:
                pump.stop()

    sink = Slow()
    model = StreamScorer(vaelocity.load(bundle), columns=["event"])
    source = open_source(broker.url("in", group="g", **patience), NAMES)
    pump = Pump(source, sink, model, rows=ROWS, threads=2, commit_seconds=0.2)
    with caplog.at_level(logging.WARNING):
        pump.run()
    assert "maximum poll interval (4500ms) exceeded" in caplog.text
    assert "offsets not committed, their events come again: " in caplog.text
    assert broker.committed("in", "g") == 40
    scores = expected(bundle, 40)
    found: dict[int, set[float]] = {}
    for batch in sink.batches:
        for event, score in zip(batch.column("event"), batch.column("score"), strict=True):
            found.setdefault(event.as_py(), set()).add(score.as_py())
    assert found == {event: {score} for event, score in scores.items()}


def test_a_broker_slower_than_the_stream_makes_it_wait(bundle: Path) -> None:
    """The producer's queue holds two messages; scores that find it full wait for their place."""
    broker = Broker()
    source = ListSource(messages([10] * 40))
    few = {"queue.buffering.max.messages": "2", "linger.ms": "20"}
    sink: Any = open_sink(broker.url("out", **few), source)
    queued, produce = [], sink._produce

    def producing(batch: Any) -> None:
        queued.append(len(sink._producer))
        produce(batch)

    sink._produce = producing
    model = StreamScorer(vaelocity.load(bundle), columns=["event"])
    Pump(source, sink, model, rows=10).run()
    assert max(queued) == 2, "the queue was to be full"
    found = scores_in([message.value() for message in broker.messages("out")])
    scores = vaelocity.load(bundle).score(numbered(400)).tolist()
    assert found == {event: [score] for event, score in enumerate(scores)}


def test_a_full_disk_at_a_folder_commits_nothing_that_is_not_there(
    bundle: Path, tmp_path: Path
) -> None:
    """Files may grow to 20 kB: the first commits fit, the one after does not. Started again with
    room on the disk, the stream goes on where the last complete file ends."""
    broker = Broker()
    args = command(bundle, broker, f"{tmp_path}/out/")
    args[args.index("--commit-seconds") + 1] = "1"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    broker.send("in", payloads(4))
    with started(args, tmp_path, preexec_fn=limit) as process:
        wait_for(lambda: broker.committed("in", "g") == 4)
        broker.send("in", payloads(396, 4), 4)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    last = err.decode().splitlines()[-1]
    assert f"vaelocity: error: {tmp_path}/out/: " in last
    assert "File too large" in last
    assert last.endswith("start again, and what was not committed is scored again")
    safe = broker.committed("in", "g")
    assert 4 <= safe < 400
    assert pq.read_table(tmp_path / "out").num_rows == safe * ROWS
    assert [path.name for path in (tmp_path / "out").glob(".*")] == [], "no half file"
    with started(args, tmp_path) as process:
        wait_for(lambda: broker.committed("in", "g") == 400)
        ended(process)
    table = pq.read_table(tmp_path / "out")
    found = dict(zip(table["event"].to_pylist(), table["score"].to_pylist(), strict=True))
    assert table.num_rows == len(found)
    assert found == expected(bundle, 400)
