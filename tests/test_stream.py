"""The pump and what surrounds it, with ends that the tests hold in their hands."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")
import pyarrow as pa

import vaelocity
from vaelocity.stream import Pump, Rejects, StreamError, StreamScorer
from vaelocity.stream.gather import gather
from vaelocity.stream.latency import LatencyHistogram
from vaelocity.stream.logs import JsonLines, Progress
from vaelocity.stream.message import Message, decode, encode
from vaelocity.stream.metrics import serve_metrics
from vaelocity.stream.reload import Reloader, live_model
from vaelocity.stream.scoring import Scored
from vaelocity.stream.stats import StreamStats, wilson

D = 7


def rows_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)


def batch_of(n: int, first: int = 0, **more: object) -> pa.RecordBatch:
    """n events with numbers from `first` on; their features follow from the numbers."""
    number = np.arange(first, first + n)
    rows = np.sin(number[:, None] * 0.7 + np.arange(D)).astype(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), D)
    return pa.record_batch({"event": pa.array(number), **more, "features": lists})


def messages(sizes: Sequence[int]) -> list[Message]:
    edges = np.cumsum([0, *sizes]).tolist()
    return [
        Message(batch_of(n, first), time.perf_counter(), f"message {i}", i)
        for i, (n, first) in enumerate(zip(sizes, edges, strict=False))
    ]


class ListSource:
    """Gives `at_once` messages a poll; `taken` counts them. Ends after the last, or at stop()."""

    name = "a list"
    commits = True

    def __init__(
        self,
        given: Sequence[Message],
        *,
        at_once: int = 1,
        replays: bool = True,
        log: list[Any] | None = None,
    ) -> None:
        self.replays, self.log = replays, log if log is not None else []
        self.taken = 0
        self._given, self._at_once, self._stopped = given, at_once, False

    def poll(self, timeout: float) -> Sequence[Message] | None:
        if self._stopped or self.taken == len(self._given):
            return None
        found = self._given[self.taken : self.taken + self._at_once]
        self.taken += len(found)
        return found

    def stop(self) -> None:
        self._stopped = True

    def commit(self, positions: Sequence[Any]) -> None:
        self.log.append(("commit", list(positions)))

    def close(self) -> None:
        self.log.append(("source closed",))


class ListSink:
    """Keeps what it is given. fail_at: the row at which writing raises."""

    name = "a sink"

    def __init__(self, log: list[Any] | None = None, fail_at: int | None = None) -> None:
        self.log = log if log is not None else []
        self.batches: list[pa.RecordBatch] = []
        self._fail_at = fail_at

    @property
    def events(self) -> list[int]:
        return [event for batch in self.batches for event in batch.column("event").to_pylist()]

    def write(self, batch: pa.RecordBatch) -> None:
        if self._fail_at is not None and len(self.events) + batch.num_rows > self._fail_at:
            raise OSError(28, "No space left on device")
        self.batches.append(batch)
        self.log.append(("write", batch.num_rows))

    def flush(self, positions: Sequence[Any]) -> None:
        self.log.append(("flush", list(positions)))

    def close(self, *, complete: bool) -> None:
        self.log.append(("sink closed", complete))


@pytest.fixture
def scorer(make_bundle: Callable[..., Path]) -> vaelocity.Scorer:
    return vaelocity.load(make_bundle([D, 5, 2]))


@pytest.fixture
def cut(scorer: vaelocity.Scorer) -> float:
    """About half of the events are above it."""
    return float(np.median(vaelocity.score_batch(scorer, batch_of(1000)).column("score")))


@pytest.fixture
def model(scorer: vaelocity.Scorer, cut: float) -> StreamScorer:
    return StreamScorer(scorer, threshold=cut, columns=["event"])


# micro-batches


def gathered(given: Sequence[Message], rows: int, latency: float, at_once: int = 1) -> list[int]:
    source = ListSource(given, at_once=at_once)
    return [micro.rows for micro in gather(source, rows, latency, lambda batch: "")]


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
    assert first.rows == 10
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
    two = pa.BufferOutputStream()
    with pa.ipc.new_stream(two, batch.schema) as writer:
        writer.write_batch(batch.slice(0, 4))
        writer.write_batch(batch.slice(4))
    assert decode(two.getvalue()).equals(batch)
    for damaged in (b"", b"hello", raw[: len(raw) // 2], raw[:100], bytes(200), b"\xff" * 200):
        message = Message.read(damaged, 0.0, "here", 5)
        assert message.batch is None
        assert message.error.startswith("no Arrow IPC stream: ")
        assert (message.raw, message.position, message.where) == (damaged, 5, "here")


# the pump


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


# counts


def test_latencies_are_counted_within_three_percent() -> None:
    histogram = LatencyHistogram()
    assert np.isnan(histogram.quantile(0.5))
    values = np.random.default_rng(0).lognormal(-7, 2, 5000)
    for value in values:
        histogram.add(float(value))
    for q in (0.01, 0.5, 0.99, 0.999, 1.0):
        exact = np.quantile(values, q, method="inverted_cdf")
        assert exact <= histogram.quantile(q) * (1 + 1e-6) <= 1.04 * exact
    assert histogram.n == 5000
    assert histogram.seconds == pytest.approx(values.sum())
    for edge in (1e-5, 1e-3, 1.0):
        assert histogram.below(edge) <= np.count_nonzero(values <= edge)
        assert histogram.below(edge * 1.04) >= np.count_nonzero(values <= edge)
    histogram.add(0.0)
    histogram.add(1e9)
    assert histogram.n == 5002


def test_wilson_interval() -> None:
    stats = pytest.importorskip("scipy.stats", reason="the oracle")
    for count, n in ((0, 100), (10, 1000), (100, 100), (1, 10**9)):
        expected = stats.binomtest(count, n).proportion_ci(method="wilson")
        assert wilson(count, n) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert wilson(0, 0) == (0.0, 1.0)


def test_prometheus_is_told_the_same_counts(model: StreamScorer) -> None:
    pytest.importorskip("prometheus_client", reason="needs the extra vaelocity[stream]")
    pump = Pump(ListSource(messages([300, 700])), ListSink(), model)
    stats = pump.run()
    port, stop = serve_metrics(stats, lambda: model.scorer.fingerprint, "127.0.0.1", 0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    finally:
        stop()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values["vaelocity_events_total"]) == 1000
    assert float(values["vaelocity_accepted_total"]) == stats.accepted
    assert float(values["vaelocity_latency_seconds_count"]) == 1000
    assert float(values['vaelocity_latency_seconds_bucket{le="+Inf"}']) == 1000
    assert values[f'vaelocity_model{{model="{model.scorer.fingerprint}"}}'] == "1.0"
    buckets = [float(v) for k, v in values.items() if "_bucket" in k]
    assert buckets == sorted(buckets)


def test_the_log_is_json_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    import logging
    import sys

    logger = logging.getLogger("vaelocity")
    handler = JsonLines(sys.stderr)
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        with Progress(StreamStats(events=5), 0.01):
            deadline = time.monotonic() + 5
            err = ""
            while not err and time.monotonic() < deadline:
                time.sleep(0.02)
                err = capfd.readouterr().err
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    entry = json.loads(err.splitlines()[0])
    assert (entry["level"], entry["message"], entry["events"]) == ("info", "progress", 5)
    assert entry["latency"] == {"p50": None, "p99": None, "p99.9": None}


# another model in mid-stream


def test_a_new_model_takes_over_between_two_micro_batches(
    model: StreamScorer, make_bundle: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = make_bundle([D, 5, 2], seed=1)
    new = StreamScorer(vaelocity.load(path), threshold=1.0, columns=["event"])
    source = ListSource(messages([10] * 400))

    class Asking(ListSink):
        def write(self, batch: pa.RecordBatch) -> None:
            super().write(batch)
            if len(self.batches) == 3:
                reloader.request()
            if len(self.batches) == 4:  # the pump goes on only when the new model is there
                deadline = time.monotonic() + 20
                while pump.scorer is model and time.monotonic() < deadline:
                    time.sleep(0.01)

    sink = Asking()
    pump = Pump(source, sink, model, rows=10)
    with Reloader(path, live_model(pump, lambda: new)) as reloader:
        pump.run()
    assert sink.events == list(range(4000))
    models = [b.schema.metadata[b"vaelocity.fingerprint"].decode() for b in sink.batches]
    change = models.index(new.scorer.fingerprint)
    assert 3 <= change <= 12
    assert models[:change] == [model.scorer.fingerprint] * change
    assert set(models[change:]) == {new.scorer.fingerprint}
    for batch in sink.batches[change:]:
        again = vaelocity.score_batch(
            new.scorer, batch_of(10, batch.column("event")[0].as_py()), threshold=1.0,
            columns=["event"],
        )  # fmt: skip
        assert batch.equals(again)
    assert f"model {new.scorer.fingerprint[:12]} in use" in caplog.text


def test_a_changed_file_is_seen_and_a_bad_one_changes_nothing(
    model: StreamScorer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "m.vael"
    path.write_bytes(b"one")
    loaded = threading.Event()

    def load() -> StreamScorer:
        loaded.set()
        return StreamScorer(vaelocity.load(path))  # not a bundle

    pump = Pump(ListSource([]), ListSink(), model)
    with Reloader(path, live_model(pump, load), watch_seconds=0.01):
        assert not loaded.wait(0.2)
        path.write_bytes(b"another")
        assert loaded.wait(10)
    assert pump.scorer is model
    assert "m.vael: not loaded, the stream keeps its model: " in caplog.text


def test_a_model_that_would_change_the_columns_is_refused(model: StreamScorer) -> None:
    with pytest.raises(ValueError, match="a column `anomalous` would come or go"):
        StreamScorer(model.scorer).continues(model)
