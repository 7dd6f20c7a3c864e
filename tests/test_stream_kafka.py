"""Kafka, against the broker that librdkafka brings along (test.mock.num.brokers).

The mock keeps offsets, groups and messages as a broker does, but shows messages of transactions
that were aborted, and forgets the offsets sent in transactions: what a transaction hides and what
it commits cannot be seen here, only that the scores come out.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")
pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
pytest.importorskip("confluent_kafka", reason="needs the extra vaelocity[stream]")

import confluent_kafka as kafka
import pyarrow as pa
import pyarrow.parquet as pq

import vaelocity
from vaelocity.cli import main
from vaelocity.stream import Pump, Rejects, StreamScorer, open_sink, open_source
from vaelocity.stream.message import decode, encode

D = 7
NAMES = [f"f{j}" for j in range(D)]
ROWS = 50
QUIET = {"log_level": 0}
# The mock forgets a member that left, or was killed, only after the session's time; below three
# seconds, which the first member of a group has to wait for, nobody ever gets in.
SHORT = {"session.timeout.ms": "4000", "heartbeat.interval.ms": "500"}


class Broker:
    """A broker in this process, with a producer to it."""

    def __init__(self) -> None:
        self.host = kafka.Producer({"test.mock.num.brokers": 1, **QUIET})
        brokers = self.host.list_topics(timeout=10).brokers.values()
        self.address = ",".join(f"{b.host}:{b.port}" for b in brokers)

    def url(self, topic: str, **more: str) -> str:
        options = "&".join(f"{k}={v}" for k, v in {"log_level": "0", **more}.items())
        return f"kafka://{self.address}/{topic}?{options}"

    def send(self, topic: str, values: list[bytes], first: int = 0) -> None:
        """One message each, spread over the four partitions that a topic of the mock has."""
        for i, value in enumerate(values):
            self.host.produce(topic, value, partition=(first + i) % 4)
        assert self.host.flush(20) == 0

    def messages(self, topic: str, enough: int = 10**9, seconds: float = 3.0) -> list[Any]:
        """What is in a topic: until there is `enough`, or nothing came for a second."""
        reader = kafka.Consumer(
            {"bootstrap.servers": self.address, "group.id": f"read {time.time()}",
             "auto.offset.reset": "earliest", "enable.auto.commit": False, **QUIET}
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


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def bundle(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle([D, 5, 2])


def rows_of(first: int, n: int = ROWS) -> np.ndarray:
    number = np.arange(first, first + n)
    return np.sin(number[:, None] * 0.7 + np.arange(D)).astype(np.float32)


def payloads(count: int, first: int = 0) -> list[bytes]:
    """`count` messages of ROWS events with numbers from first * ROWS on."""
    found = []
    for i in range(first, first + count):
        rows = rows_of(i * ROWS)
        columns = {name: rows[:, j] for j, name in enumerate(NAMES)}
        batch = pa.record_batch({"event": np.arange(i * ROWS, (i + 1) * ROWS), **columns})
        found.append(encode(batch).to_pybytes())
    return found


def scores_in(messages: list[Any]) -> dict[int, list[float]]:
    """Every score that was given to each event."""
    found: dict[int, list[float]] = {}
    for message in messages:
        batch = decode(message.value())
        for event, score in zip(
            batch.column("event").to_pylist(), batch.column("score").to_pylist(), strict=True
        ):
            found.setdefault(event, []).append(score)
    return found


def expected(bundle: Path, count: int) -> dict[int, float]:
    scores = vaelocity.load(bundle).score(rows_of(0, count * ROWS))
    return dict(enumerate(scores.tolist()))


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


def test_from_topic_to_topic_and_on_from_the_committed_offset(broker: Broker, bundle: Path) -> None:
    for part in (0, 1):
        broker.send("in", payloads(40, 40 * part), 40 * part)
        source = open_source(broker.url("in", group="g", **SHORT), NAMES)
        sink = open_sink(broker.url("out"), source)
        pump = pumped(source, sink, bundle, 40 * ROWS)
        # all of this part and nothing of the one before
        assert pump.stats.events == 40 * ROWS
        assert broker.committed("in", "g") == 40 * (part + 1)
    messages = broker.messages("out")
    found = scores_in(messages)
    assert {event: scores[0] for event, scores in found.items()} == expected(bundle, 80)
    assert all(len(scores) == 1 for scores in found.values())
    fingerprint = vaelocity.load(bundle).fingerprint
    headers = dict(messages[0].headers())
    assert headers["vaelocity.fingerprint"].decode() == fingerprint


def test_a_malformed_message_is_set_aside_and_committed(
    broker: Broker, bundle: Path, tmp_path: Path
) -> None:
    values = payloads(10)
    values.insert(4, b"\x00 not arrow")
    broker.send("in", values)
    source = open_source(broker.url("in", group="g", **SHORT), NAMES)
    sink = open_sink(f"{tmp_path}/out/", source)
    pump = pumped(source, sink, bundle, 10 * ROWS, rejects=Rejects(tmp_path / "rejects"))
    assert (pump.stats.events, pump.stats.refused) == (10 * ROWS, 1)
    assert (tmp_path / "rejects" / "000000.bin").read_bytes() == values[4]
    assert broker.committed("in", "g") == 11
    table = pq.read_table(tmp_path / "out")
    assert sorted(table.column("event").to_pylist()) == list(range(10 * ROWS))


def test_transactions_give_every_score(broker: Broker, bundle: Path) -> None:
    """What the mock can show: the calls are taken, in order, and all scores are there once."""
    broker.send("in", payloads(20))
    source = open_source(broker.url("in", group="g", **SHORT), NAMES, transactional=True)
    sink = open_sink(broker.url("out"), source, transactional=True)
    pumped(source, sink, bundle, 20 * ROWS)
    found = scores_in(broker.messages("out"))
    assert {event: scores for event, scores in found.items()} == {
        event: [score] for event, score in expected(bundle, 20).items()
    }


def command(bundle: Path, broker: Broker, sink: str, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "vaelocity.cli", "stream", str(bundle), "-s",
        broker.url("in", group="g", **SHORT), "-t", sink, "--pass", "event",
        "--commit-seconds", "0.05",
        "--batch-size", "200", *more,
    ]  # fmt: skip


@pytest.fixture
def running() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(args: list[str], cwd: Path) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(args, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(what: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


@pytest.mark.parametrize("sink", ["kafka", "parquet"])
def test_kill_9_in_the_middle_loses_nothing(
    broker: Broker,
    bundle: Path,
    tmp_path: Path,
    running: Callable[..., subprocess.Popen[bytes]],
    sink: str,
) -> None:
    """Killed while messages keep coming; its successor in the group finishes. No score is missing
    and every duplicate is the same score: at least once."""
    target = broker.url("out") if sink == "kafka" else f"{tmp_path}/out/"
    args = command(bundle, broker, target)
    broker.send("in", payloads(40))
    first = running(args, tmp_path)
    wait_for(lambda: broker.committed("in", "g") > 0)
    broker.send("in", payloads(40, 40), 40)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    broker.send("in", payloads(40, 80), 80)
    second = running(args, tmp_path)
    wait_for(lambda: broker.committed("in", "g") == 120)
    second.send_signal(signal.SIGTERM)
    _, err = second.communicate(timeout=30)
    assert second.returncode == 0, err.decode()
    if sink == "kafka":
        found = scores_in(broker.messages("out"))
    else:
        table = pq.read_table(tmp_path / "out")
        found = {}
        for event, score in zip(
            *(table.column(c).to_pylist() for c in ("event", "score")), strict=True
        ):
            found.setdefault(event, []).append(score)
    wanted = expected(bundle, 120)
    assert found.keys() == wanted.keys()
    assert all(set(scores) == {wanted[event]} for event, scores in found.items())


def test_a_broker_that_stops_answering_delays_and_loses_nothing(
    bundle: Path, tmp_path: Path, running: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """The broker's process is frozen long enough for connections to time out, then goes on."""
    host = subprocess.Popen(
        [sys.executable, "-c", _HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert host.stdout is not None
        broker = Broker.__new__(Broker)
        broker.address = host.stdout.readline().strip()
        broker.host = kafka.Producer({"bootstrap.servers": broker.address, **QUIET})
        broker.send("in", payloads(20))
        args = command(bundle, broker, broker.url("out", **{"socket.timeout.ms": "1000"}))
        args[args.index("-s") + 1] += "&socket.timeout.ms=1000"
        process = running(args, tmp_path)
        wait_for(lambda: broker.committed("in", "g") == 20)
        host.send_signal(signal.SIGSTOP)
        time.sleep(3)
        assert process.poll() is None
        host.send_signal(signal.SIGCONT)
        broker.send("in", payloads(20, 20), 20)
        wait_for(lambda: broker.committed("in", "g") == 40)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err.decode()
        found = scores_in(broker.messages("out"))
        wanted = expected(bundle, 40)
        assert found.keys() == wanted.keys()
        assert all(set(scores) == {wanted[event]} for event, scores in found.items())
    finally:
        host.kill()
        host.communicate()


_HOST = """
import sys
from confluent_kafka import Producer
host = Producer({"test.mock.num.brokers": 1, "log_level": 0})
brokers = host.list_topics(timeout=10).brokers.values()
print(",".join(f"{b.host}:{b.port}" for b in brokers), flush=True)
sys.stdin.read()
"""


def test_from_a_folder_of_parquet_to_a_topic_with_1_khz_out_of_40_mhz(
    broker: Broker, bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the README walks through, with the command line alone."""
    rng = np.random.default_rng(0)
    for name, seed in (("held-out", 0), ("events", 1)):
        (tmp_path / name).mkdir()
        rng = np.random.default_rng(seed)
        for i in range(2):
            rows = rng.normal(size=(250_000, D)).astype(np.float32)
            columns = {f"f{j}": rows[:, j] for j in range(D)}
            event = np.arange(i * 250_000, (i + 1) * 250_000)
            table = pa.table({"event": event, **columns})
            pq.write_table(table, tmp_path / name / f"{i}.parquet")
    model = tmp_path / "with-threshold.vael"
    held_out = f"{tmp_path}/held-out/*.parquet"
    rate = ["--rate", "1 kHz", "--input-rate", "40 MHz", "--name", "1kHz"]
    assert main(["threshold", str(bundle), held_out, *rate, "-o", str(model)]) == 0
    args = ["-s", f"{tmp_path}/events/*.parquet", "-t", broker.url("accepted")]
    more = ["--threshold", "1kHz", "--accepted-only", "--pass", "event"]
    capfd.readouterr()
    assert main(["stream", str(model), *args, *more]) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert "Hz of 40 MHz, 95 % interval" in said
    assert "1kHz was made for 1 kHz" in said
    scorer = vaelocity.load(model)
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.normal(size=(250_000, D)).astype(np.float32) for _ in range(2)])
    wanted = np.flatnonzero(scorer.predict(rows, "1kHz"))
    low, high = scorer.thresholds["1kHz"].interval
    assert scorer.thresholds["1kHz"].fpr == 1e3 / 40e6
    assert 0.2 * low < len(wanted) / 500_000 < 5 * high
    found = scores_in(broker.messages("accepted"))
    assert sorted(found) == wanted.tolist()
    assert all(len(scores) == 1 for scores in found.values())
