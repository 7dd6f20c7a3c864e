"""Messages: their bytes, and how they are gathered into micro-batches."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")
import pyarrow as pa
from stream_ends import ListSource, batch_of, messages, stream_of

from vaelocity.stream.gather import gather
from vaelocity.stream.message import Decoder, Message, decode, encode


def gathered(given: Sequence[Message], rows: int, latency: float, at_once: int = 1) -> list[int]:
    source = ListSource(given, at_once=at_once)
    micros = gather(source, rows, latency, lambda batch: "")
    return [sum(batch.num_rows for batch in micro.batches) for micro in micros]


def test_messages_are_gathered_up_to_the_number_of_rows() -> None:
    assert gathered(messages([10] * 7), 30, 60) == [30, 30, 10]
    assert gathered(messages([10] * 7), 35, 60, at_once=7) == [30, 30, 10]
    assert gathered(messages([50, 10, 10]), 30, 60) == [50, 20]


def test_no_message_waits_longer_than_the_latency() -> None:
    assert gathered(messages([10] * 4), 1000, 0.0) == [10, 10, 10, 10]

    class Slow(ListSource):
        waits: list[float] = []  # noqa: RUF012

        def poll(self, timeout: float) -> Sequence[Message] | None:
            self.waits.append(timeout)
            if self.taken == 1 and len(self.waits) < 4:
                time.sleep(timeout)
                return []
            return super().poll(timeout)

    given = messages([10, 10])
    source = Slow([given[0], given[1]])
    first = next(gather(source, 1000, 0.02, lambda batch: ""))
    assert [batch.num_rows for batch in first.batches] == [10]
    assert max(source.waits[1:]) <= 0.02


def test_a_new_schema_begins_a_new_micro_batch() -> None:
    other = Message(batch_of(10, 20, run=pa.array([1] * 10)), time.perf_counter(), "other")
    first, second, third = messages([10, 10, 10])
    assert gathered([first, second, other, third], 1000, 60, at_once=4) == [20, 10, 10]


def test_what_cannot_be_scored_comes_alone_and_in_its_place() -> None:
    bad = Message(None, time.perf_counter(), "bad", error="why", raw=b"x")
    first, second, third = messages([10, 10, 10])
    micros = list(gather(ListSource([first, second, bad, third]), 1000, 60, lambda batch: ""))
    assert [[m.where for m in micro.messages] for micro in micros] == [
        ["message 0", "message 1"], ["bad"], ["message 2"],
    ]  # fmt: skip
    assert [micro.refused for micro in micros] == [None, bad, None]


def test_an_arrow_message_survives_its_bytes_and_damage_is_an_error() -> None:
    batch = batch_of(10, 3, text=pa.array(["a", None] * 5))
    raw = encode(batch).to_pybytes()
    assert decode(raw).equals(batch)
    for shift in range(8):
        askew = np.zeros(len(raw) + 8, np.uint8)[shift : shift + len(raw)]
        askew[:] = np.frombuffer(raw, np.uint8)
        values = decode(memoryview(askew)).column("features").flatten().to_numpy()
        assert values.flags.aligned
    assert decode(stream_of(batch.slice(0, 4), batch.slice(4))).equals(batch)
    for damaged in (b"", b"hello", raw[: len(raw) // 2], raw[:100], bytes(200), b"\xff" * 200):
        message = Message.read(damaged, 0.0, "here", 5)
        assert message.batch is None
        assert message.error.startswith("no Arrow IPC stream: ")
        assert (message.raw, message.position, message.where) == (damaged, 5, "here")


def test_a_source_that_knows_the_schema_decodes_the_same() -> None:
    """Messages of one schema, of another, of several batches, of dictionaries, without an end."""
    first, second = batch_of(10), batch_of(7, 10)
    named = pa.record_batch({f"f{j}": np.arange(5, dtype=np.float32) for j in range(9)})
    text = pa.array(["a", "b", None, "a"]).dictionary_encode()
    coded = [pa.record_batch({"text": text}), pa.record_batch({"text": text.take([3, 2])})]
    given = [
        (stream_of(first), [first]),
        (stream_of(second), [second]),
        (stream_of(second, end=False), [second]),
        (stream_of(first, second), [first, second]),
        (stream_of(named), [named]),
        (stream_of(named), [named]),
        (stream_of(coded[0]), coded[:1]),
        (stream_of(coded[1]), coded[1:]),
        (stream_of(first), [first]),
    ]
    decoder = Decoder()
    for raw, batches in given:
        for start in (0, 3):  # where it begins in memory
            memory = np.zeros(len(raw) + 8, np.uint8)[start : start + len(raw)]
            memory[:] = np.frombuffer(raw, np.uint8)
            found = decoder(memoryview(memory))
            assert found.to_pylist() == [row for one in batches for row in one.to_pylist()]
            assert found.equals(decode(raw))


def test_damage_is_found_where_the_schema_is_known_too() -> None:
    raw = stream_of(batch_of(50, text=pa.array(["abc"] * 50)))
    decoder, errors = Decoder(), 0
    whole = decoder(raw)
    rng = np.random.default_rng(0)
    for cut in range(0, len(raw), 40):
        known, fresh = (Message.read(raw[:cut], 0.0, "", decoder=d) for d in (decoder, None))
        assert (known.batch is None, known.error) == (fresh.batch is None, fresh.error)
        errors += known.batch is None
    assert errors > 20
    for _ in range(300):
        damaged = np.frombuffer(raw, np.uint8).copy()
        damaged[rng.integers(0, len(raw), 4)] ^= rng.integers(1, 256, 4).astype(np.uint8)
        known, fresh = (Message.read(damaged, 0.0, "", decoder=d) for d in (decoder, None))
        assert (known.batch is None) == (fresh.batch is None)
        if known.batch is not None and fresh.batch is not None:
            assert str(known.batch.schema) == str(fresh.batch.schema)
        decoder(raw)
    assert decoder(raw).equals(whole)
