"""Kafka, against the broker that librdkafka brings along (test.mock.num.brokers): it keeps offsets,
groups and messages as a broker does; and against Tansu where it is installed. Transactions and a
broker that goes away: the files beside."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")

import pyarrow as pa
import pyarrow.parquet as pq
from kafka_broker import (
    ROWS,
    SHORT,
    Broker,
    command,
    expected,
    payloads,
    pumped,
    scores_in,
)
from kafka_tansu import tansu
from stream_ends import NAMES, D
from stream_process import ended, started, wait_for

import vaelocity
from vaelocity.cli import main
from vaelocity.stream import Rejects, open_sink, open_source


@pytest.fixture(params=["mock", "tansu"])
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """librdkafka's, and one that others wrote where it is installed."""
    if request.param == "mock":
        yield Broker()
        return
    with tansu(tmp_path_factory.mktemp("tansu")) as found:
        yield found


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
    found = scores_in([message.value() for message in messages])
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


@pytest.mark.parametrize("sink", ["kafka", "parquet"])
def test_kill_9_in_the_middle_loses_nothing(
    broker: Broker, bundle: Path, tmp_path: Path, sink: str
) -> None:
    """Killed while messages keep coming; its successor in the group finishes. No score is missing
    and every duplicate is the same score: at least once."""
    target = broker.url("out") if sink == "kafka" else f"{tmp_path}/out/"
    args = command(bundle, broker, target)
    broker.send("in", payloads(40))
    with started(args, tmp_path) as first:
        wait_for(lambda: broker.committed("in", "g") > 0)
        broker.send("in", payloads(40, 40), 40)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    assert broker.committed("in", "g") < 120
    broker.send("in", payloads(40, 80), 80)
    with started(args, tmp_path) as second:
        wait_for(lambda: broker.committed("in", "g") == 120)
        ended(second)
    if sink == "kafka":
        found = scores_in([message.value() for message in broker.messages("out")])
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
    found = scores_in([m.value() for m in broker.messages("accepted")])
    assert sorted(found) == wanted.tolist()
    assert all(len(scores) == 1 for scores in found.values())
