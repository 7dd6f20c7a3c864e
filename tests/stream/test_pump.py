"""The pump, with ends that the tests hold in their hands."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")
import pyarrow as pa
from stream_ends import D, ListSink, ListSource, batch_of, messages, rows_of

import vaelocity
from vaelocity.stream import Pump, Rejects, StreamError, StreamScorer
from vaelocity.stream.message import Message, decode
from vaelocity.stream.scoring import Scored


def test_every_event_comes_out_once_in_order_with_its_score(
    model: StreamScorer, scorer: vaelocity.Scorer, cut: float
) -> None:
    sink = ListSink()
    given = messages([100, 1, 399, 250, 250] * 4)
    stats = Pump(ListSource(given), sink, model, rows=400, latency=60, threads=3).run()
    assert sink.events == list(range(4000))
    expected = vaelocity.score_batch(scorer, batch_of(4000), threshold=cut, columns=["event"])
    assert pa.Table.from_batches(sink.batches).equals(pa.Table.from_batches([expected]))
    assert (stats.events, stats.messages) == (4000, 20)
    assert stats.accepted == expected.column("anomalous").true_count > 0
    assert stats.latency.n == 4000


def test_order_is_kept_though_the_first_batch_is_scored_last(model: StreamScorer) -> None:
    second_done = threading.Event()

    class Late(StreamScorer):
        def __call__(self, batches: Sequence[pa.RecordBatch]) -> Scored:
            if batches[0].column("event")[0].as_py() == 0:
                assert second_done.wait(10)
            else:
                second_done.set()
            return model(batches)

    late = Late(model.scorer, threshold=model.threshold, columns=["event"])
    sink = ListSink()
    Pump(ListSource(messages([10] * 6)), sink, late, rows=10, threads=2).run()
    assert sink.events == list(range(60))


def test_a_slow_sink_stops_the_source_and_memory_stays_bounded(model: StreamScorer) -> None:
    go = threading.Event()

    class Stuck(ListSink):
        def write(self, batch: pa.RecordBatch) -> None:
            assert go.wait(10)
            super().write(batch)

    source, sink = ListSource(messages([10] * 200)), Stuck()
    pump = Pump(source, sink, model, rows=10, threads=2)
    running = threading.Thread(target=pump.run)
    running.start()
    before = -1
    while source.taken != before:  # until the reader has come to a halt
        before = source.taken
        time.sleep(0.3)
    # one in the sink, three in the queue, one to be put there, one held by gather
    assert source.taken <= 6
    go.set()
    running.join(10)
    assert sink.events == list(range(2000))


def test_stop_ends_the_source_and_drains_what_was_taken(model: StreamScorer) -> None:
    source = ListSource(messages([10] * 1000))

    class Stopping(ListSink):
        def write(self, batch: pa.RecordBatch) -> None:
            super().write(batch)
            if len(self.batches) == 5:
                pump.stop()

    sink = Stopping(source.log)
    pump = Pump(source, sink, model, rows=10, threads=2)
    pump.run()
    assert 5 <= source.taken < 1000
    assert sink.events == list(range(10 * source.taken))
    committed = [p for what, *args in source.log if what == "commit" for p in args[0]]
    assert committed == list(range(source.taken))
    assert source.log[-2:] == [("sink closed", True), ("source closed",)]


def test_offsets_are_committed_after_the_flush_that_made_their_scores_safe(
    model: StreamScorer,
) -> None:
    log: list[Any] = []
    source = ListSource(messages([10] * 5), log=log)
    Pump(source, ListSink(log), model, rows=10, commit_seconds=1e-9).run()
    safe: list[int] = []
    written = 0
    for what, *args in log:
        if what == "write":
            written += 1
        elif what == "flush":
            safe = args[0]
            assert written >= (max(safe) + 1 if safe else 0)
        elif what == "commit":
            assert args[0] == safe
    assert sorted(p for what, *args in log if what == "commit" for p in args[0]) == list(range(5))


def test_a_full_disk_commits_nothing_that_is_not_out(model: StreamScorer) -> None:
    log: list[Any] = []
    source = ListSource(messages([10] * 50), log=log)
    sink = ListSink(log, fail_at=75)
    pump = Pump(source, sink, model, rows=10, commit_seconds=1e-9)
    with pytest.raises(StreamError) as caught:
        pump.run()
    assert str(caught.value) == (
        "a sink: No space left on device; it took the scores of 70 events before message 7; "
        "start again, and what was not committed is scored again"
    )
    committed = [p for what, *args in log if what == "commit" for p in args[0]]
    assert committed == list(range(7))
    assert log[-2:] == [("sink closed", False), ("source closed",)]


def test_scores_of_events_that_cannot_come_again_are_kept_when_the_sink_breaks(
    model: StreamScorer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = ListSource(messages([10] * 50), replays=False)
    sink = ListSink(fail_at=75)
    rejects = Rejects(tmp_path / "rejects")
    pump = Pump(source, sink, model, rows=10, threads=2, rejects=rejects, commit_seconds=1000)
    with pytest.raises(StreamError, match="it took the scores of 70 events"):
        pump.run()
    (path,) = (tmp_path / "rejects").glob("unsent-*.arrows")
    kept = pa.ipc.open_stream(path).read_all()
    # Nothing had been flushed, so all that was taken is there, and in order.
    assert kept.column("event").to_pylist() == list(range(10 * source.taken))
    assert f"scores of {10 * source.taken} events are kept in {path}" in caplog.text


def test_a_source_that_cannot_be_read_again_needs_a_place_for_rejects(model: StreamScorer) -> None:
    with pytest.raises(ValueError, match="rejects: a list cannot be read again"):
        Pump(ListSource([], replays=False), ListSink(), model)


def bad_message() -> Message:
    return Message.read(b"not arrow", time.perf_counter(), "topic/0 offset 2", 2)


def test_without_rejects_a_malformed_message_stops_the_stream_uncommitted(
    model: StreamScorer,
) -> None:
    first, second, third = messages([10, 10, 10])
    source = ListSource([first, second, bad_message(), third])
    sink = ListSink(source.log)
    with pytest.raises(StreamError, match=r"^topic/0 offset 2: cannot be scored: no Arrow IPC"):
        Pump(source, sink, model, rows=100, latency=60).run()
    assert sink.events == list(range(20))
    assert [args[0] for what, *args in source.log if what == "commit"] == [[0, 1]]


def test_with_rejects_it_is_kept_byte_for_byte_and_the_stream_goes_on(
    model: StreamScorer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third = messages([10, 10, 10])
    source, sink = ListSource([first, second, bad_message(), third]), ListSink()
    stats = Pump(source, sink, model, rejects=Rejects(tmp_path / "r")).run()
    assert sink.events == list(range(30))
    assert stats.refused == 1
    (line,) = (tmp_path / "r" / "rejects.jsonl").read_text().splitlines()
    entry = json.loads(line)
    assert (tmp_path / "r" / entry["file"]).read_bytes() == b"not arrow"
    assert entry["where"] == "topic/0 offset 2"
    assert "topic/0 offset 2: cannot be scored" in caplog.text


@pytest.mark.parametrize("replays", [True, False])
def test_what_can_neither_be_scored_nor_kept_ends_the_stream(
    model: StreamScorer, tmp_path: Path, caplog: pytest.LogCaptureFixture, replays: bool
) -> None:
    """There is a file in the place of the folder. What was taken cannot be kept there, either."""
    (tmp_path / "r").write_bytes(b"")
    first, second, third = messages([10, 10, 10])
    source = ListSource([first, second, bad_message(), third], replays=replays)
    sink = ListSink(source.log)
    pump = Pump(source, sink, model, rejects=Rejects(tmp_path / "r"), commit_seconds=1000)
    said = r"^topic/0 offset 2: cannot be scored: .*; nor kept in .*/r: "
    with pytest.raises(StreamError, match=said):
        pump.run()
    assert sink.events == list(range(20))
    assert [what for what, *_ in source.log if what == "commit"] == [], "it comes again"
    assert ("events that had arrived are lost" in caplog.text) == (not replays)


def test_a_watcher_that_fails_does_not_stop_the_stream(
    model: StreamScorer, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    def observe(micro: Any, scored: Scored, shadow: Scored | None) -> None:
        seen.append(scored.rows)
        if len(seen) == 2:
            raise ZeroDivisionError("oh")

    sink = ListSink()
    Pump(ListSource(messages([10] * 5)), sink, model, rows=10, observe=observe).run()
    assert sink.events == list(range(50))
    assert seen == [10, 10]
    assert "nobody watches the stream any more: ZeroDivisionError: oh" in caplog.text


def test_a_schema_change_is_taken_where_it_can_be_and_kept_where_not(
    model: StreamScorer, tmp_path: Path
) -> None:
    def message(batch: pa.RecordBatch, where: str) -> Message:
        return Message(batch, time.perf_counter(), where)

    columns = {f"f{j}": pa.array(rows_of(10)[:, j]) for j in range(D)}
    columns["event"] = pa.array(np.arange(10, 20))
    text = batch_of(10, 20).set_column(0, "event", pa.array(["x"] * 10))
    double = pa.record_batch({**columns, "f3": pa.array(np.zeros(10))})
    given = [
        message(batch_of(10), "lists"),
        message(pa.record_batch(columns), "columns"),
        message(text, "event is text"),
        message(batch_of(10, 20).drop_columns(["event"]), "event is missing"),
        message(double, "f3 is double"),
        message(batch_of(10, 20, more=pa.array(["y"] * 10)), "one more"),
    ]
    sink = ListSink()
    stats = Pump(ListSource(given), sink, model, rejects=Rejects(tmp_path)).run()
    assert sink.events == list(range(30))
    assert stats.refused == 3
    lines = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert [line["error"] for line in lines] == [
        "columns: 'event' is string, it was int64 before",
        "columns: 'event' is not one column of the batch; it has features",
        "rows: column 'f3': expected Arrow float32, got double; convert it yourself",
    ]
    assert decode((tmp_path / lines[0]["file"]).read_bytes()).equals(text)


def test_a_source_that_fails_is_told_after_what_it_gave_is_out(model: StreamScorer) -> None:
    class Broken(ListSource):
        def poll(self, timeout: float) -> Sequence[Message] | None:
            found = super().poll(timeout)
            if found is None:
                raise StreamError("the other side is gone")
            return found

    source = Broken(messages([10] * 3))
    sink = ListSink(source.log)
    with pytest.raises(StreamError, match="the other side is gone"):
        Pump(source, sink, model, rows=1000, latency=60).run()
    assert sink.events == list(range(30))
    assert [args[0] for what, *args in source.log if what == "commit"] == [[0, 1, 2]]


def test_accepted_only_emits_what_is_above_the_threshold_and_counts_all(
    scorer: vaelocity.Scorer, cut: float
) -> None:
    some = StreamScorer(scorer, threshold=cut, columns=["event"], accepted_only=True)
    sink = ListSink()
    stats = Pump(ListSource(messages([500, 500])), sink, some).run()
    expected = vaelocity.score_batch(scorer, batch_of(1000), threshold=cut, columns=["event"])
    wanted = expected.filter(expected.column("anomalous"))
    assert sink.events == wanted.column("event").to_pylist()
    assert 0 < stats.accepted == len(sink.events) < stats.events == 1000
