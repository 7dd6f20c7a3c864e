"""Kafka when the broker goes away: frozen, or gone and back at the same address."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from kafka_broker import Broker, command, expected, payloads, scores_in
from kafka_wire import Wire
from stream_ends import NAMES, ListSource, rows_of
from stream_process import ended, started, wait_for

from vaelocity.stream import open_sink, open_source
from vaelocity.stream.sparing import SparingLog


def impatient(args: list[str]) -> list[str]:
    """Connections are given up after a second, not after a minute."""
    at = args.index("-s") + 1
    return [*args[:at], f"{args[at]}&socket.timeout.ms=1000", *args[at + 1 :]]


def test_a_broker_that_stops_answering_delays_and_loses_nothing(
    bundle: Path, tmp_path: Path
) -> None:
    """The broker's process is frozen long enough for connections to time out, then goes on."""
    host = subprocess.Popen(
        [sys.executable, "-c", _HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert host.stdout is not None
        broker = Broker.at(host.stdout.readline().strip())
        broker.send("in", payloads(20))
        sink = broker.url("out", **{"socket.timeout.ms": "1000"})
        with started(impatient(command(bundle, broker, sink)), tmp_path) as process:
            wait_for(lambda: broker.committed("in", "g") == 20)
            host.send_signal(signal.SIGSTOP)
            time.sleep(3)
            assert process.poll() is None
            host.send_signal(signal.SIGCONT)
            broker.send("in", payloads(20, 20), 20)
            wait_for(lambda: broker.committed("in", "g") == 40)
            ended(process)
        assert_all_there(broker, bundle, 40)
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


def test_a_broker_that_restarts_loses_nothing_and_is_told_of(bundle: Path, tmp_path: Path) -> None:
    """Twice every connection breaks off, and for seconds none is taken; events keep coming to the
    broker, scores are on their way to it, and the group's offsets have to get there, too."""
    broker = Broker()
    wire = Wire(broker.address)
    direct, broker.address = broker.address, wire.address
    args = impatient(command(bundle, broker, broker.url("out", **{"socket.timeout.ms": "1000"})))
    broker.address = direct
    broker.send("in", payloads(20))
    sent = 20
    with started(args, tmp_path) as process:
        wait_for(lambda: broker.committed("in", "g") == 20)
        for _ in range(2):
            # So many that the cut finds some of them on their way.
            broker.send("in", payloads(60, sent), sent)
            wait_for(lambda done=sent: broker.committed("in", "g") > done)
            wire.cut()
            cut_at = broker.committed("in", "g")
            sent += 60
            broker.send("in", payloads(20, sent), sent)
            sent += 20
            time.sleep(2.5)
            assert process.poll() is None
            assert broker.committed("in", "g") == cut_at < sent
            wire.restore()
            wait_for(lambda done=sent: broker.committed("in", "g") == done)
        said = ended(process)
    wire.close()
    assert "brokers are down" in said or "Connection refused" in said
    assert_all_there(broker, bundle, sent)


def test_a_broker_that_is_not_there_is_told_of_and_not_hundreds_of_times(
    bundle: Path, tmp_path: Path
) -> None:
    """librdkafka tries again many times a second, and says so each time."""
    np.save(tmp_path / "a.npy", rows_of(100))
    # Nothing listens on port 1.
    sink = "kafka://127.0.0.1:1/out?message.timeout.ms=3000"
    with started(["stream", str(bundle), "-s", "a.npy", "-t", sink], tmp_path) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    *before, last = err.decode().splitlines()
    assert last == (
        "vaelocity: error: kafka://127.0.0.1:1/out: Local: Message timed out; it took the scores "
        "of 100 events; start again, and all is scored again"
    )
    assert 1 <= len(before) <= 4, before
    assert all(line.startswith("warning: kafka://127.0.0.1:1/out: ") for line in before)


def test_a_warning_that_repeats_itself_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("vaelocity.stream")
    sparing, now = SparingLog(log, 0.2), time.monotonic()
    while time.monotonic() - now < 0.1:
        sparing.warn("down", "is down")
        sparing.warn("slow", "is slow")
        time.sleep(0.01)
    assert [record.message for record in caplog.records] == ["is down", "is slow"]
    time.sleep(0.2)
    sparing.warn("down", "is down")
    assert re.fullmatch(r"is down \(\d+ more like it before\)", caplog.records[-1].message)


@pytest.mark.parametrize("end", ["source", "sink"])
def test_an_option_that_kafka_does_not_know_is_named(end: str) -> None:
    broker = Broker()
    url = broker.url("in", gruop="g")
    with pytest.raises(ValueError, match=r"^kafka://.*/in: No such configuration property: .gruop"):
        open_source(url, NAMES) if end == "source" else open_sink(url, ListSource([]))


def assert_all_there(broker: Broker, bundle: Path, count: int) -> None:
    """Every event of `count` messages has its score, and no other one."""
    found = scores_in([message.value() for message in broker.messages("out")])
    wanted = expected(bundle, count)
    assert found.keys() == wanted.keys()
    assert all(set(scores) == {wanted[event]} for event, scores in found.items())
