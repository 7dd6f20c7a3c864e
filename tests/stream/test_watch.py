"""What is told of a running stream: counts, latencies, drift; to people, Prometheus and logs."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")
import pyarrow as pa
from prometheus_page import values_of
from stream_ends import D, ListSink, ListSource, batch_of, messages

import vaelocity
from vaelocity import ScoreHistogram
from vaelocity.drift import DriftMonitor, Reference, score_drift
from vaelocity.stream import Pump, StreamScorer
from vaelocity.stream.latency import LatencyHistogram
from vaelocity.stream.logs import JsonLines, Progress
from vaelocity.stream.message import Message
from vaelocity.stream.recent import Recent
from vaelocity.stream.scoring import Expected
from vaelocity.stream.shadow import ShadowWatch
from vaelocity.stream.stats import StreamStats, wilson


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
    values = values_of(stats, lambda: model.scorer.fingerprint)
    assert values["vaelocity_events_total"] == 1000
    assert values["vaelocity_accepted_total"] == stats.accepted
    assert values["vaelocity_latency_seconds_count"] == 1000
    assert values['vaelocity_latency_seconds_bucket{le="+Inf"}'] == 1000
    assert values[f'vaelocity_model{{model="{model.scorer.fingerprint}"}}'] == 1
    buckets = [v for k, v in values.items() if "_bucket" in k]
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


# ---- Drift


@pytest.fixture
def watched(scorer: vaelocity.Scorer, cut: float) -> StreamScorer:
    """A model whose file knows its training rows and held-out scores: those of batch_of."""
    rows = features(batch_of(4000))
    expected = Expected(Reference.of(rows), scorer.histogram(rows))
    return StreamScorer(scorer, threshold=cut, columns=["event"], expected=expected)


def features(batch: pa.RecordBatch) -> np.ndarray:
    return batch.column("features").flatten().to_numpy().reshape(-1, D)


def broken(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Input f2 is dead and f4 is far too high."""
    rows = features(batch).copy()
    rows[:, 2], rows[:, 4] = 0, rows[:, 4] + 10
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), D)
    return batch.set_column(batch.schema.get_field_index("features"), "features", lists)


def as_columns(batch: pa.RecordBatch) -> pa.RecordBatch:
    rows = features(batch)
    columns = {f"f{j}": rows[:, j].copy() for j in range(D)}
    return pa.record_batch({"event": batch.column("event"), **columns})


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_drift_of_a_stream_is_that_of_its_rows(watched: StreamScorer, layout: str) -> None:
    """Whatever the micro-batches; of the inputs every third row."""
    sizes = [1, 100, 7, 2, 390, 1500, 2000]
    given = messages(sizes)
    if layout == "columns":
        given = [Message(as_columns(one.batch), one.arrived, one.where) for one in given]
    recent = Recent(every=3, whole=0)
    assert recent.drift() is None
    pump = Pump(
        ListSource(given), ListSink(), watched, rows=400, latency=60, threads=2,
        observe=lambda micro, scored, shadow: recent.update(micro.batches, scored),
    )  # fmt: skip
    pump.run()
    found = recent.drift()
    assert found is not None
    rows = features(batch_of(4000))
    monitor = DriftMonitor(watched.expected.rows).update(rows[::3])
    assert sorted(found.channels, key=lambda one: one.name) == monitor.channels(
        watched.scorer.feature_names
    )
    assert found.rows == monitor.n
    assert found.scores == watched.scorer.histogram(rows)
    assert (found.psi, found.ks) == score_drift(watched.expected.scores, found.scores)
    assert found.bad == []
    json.dumps(found.summary(), allow_nan=False)


def test_what_is_older_than_the_window_is_forgotten(
    watched: StreamScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr("vaelocity.stream.recent.time", clock)
    recent = Recent(seconds=60, every=1)
    for batch in (broken(batch_of(1500)), batch_of(1500)):
        recent.update([batch], watched([batch]))
        now += 5
    found = recent.drift()
    assert found is not None
    assert found.scores.n == found.rows == 3000
    assert {one.name for one in found.bad} == {"f2", "f4"}
    now = 1000.0 + 60 + 11
    batch = batch_of(2000)
    recent.update([batch], watched([batch]))
    found = recent.drift()
    assert found is not None
    assert found.scores.n == found.rows == 2000
    assert len(found.channels) == D
    assert found.bad == []
    for _ in range(100):
        now += 7
        recent.update([batch], watched([batch]))
        assert len(recent._parts) <= 8


def test_inputs_of_few_rows_are_counted_in_the_part_that_saw_them(
    watched: StreamScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are counted some hundred at a time: none may wait beyond its part of the window."""
    now = 1000.0
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr("vaelocity.stream.recent.time", clock)
    recent, monitor = Recent(seconds=60, every=1), DriftMonitor(watched.expected.rows)
    for first in range(0, 1200, 300):
        batch = batch_of(300, first)
        recent.update([batch], watched([batch]))
        monitor.update(features(batch))
        now += 10
    found = recent.drift()
    assert found is not None
    assert found.rows == 1200
    by_name = sorted(found.channels, key=lambda one: one.name)
    assert by_name == monitor.channels(watched.scorer.feature_names)


def test_of_a_fast_stream_few_inputs_and_of_few_events_nothing_is_said(
    watched: StreamScorer,
) -> None:
    recent = Recent(every=10, whole=1500)
    for first in range(0, 5000, 500):
        batch = batch_of(500, first)
        recent.update([batch], watched([batch]))
        found = recent.drift()
        assert found is not None
        assert found.rows == min(first + 500, 1500) + max(0, first - 1000) // 10
        assert (found.psi is None) == (found.channels == []) == (first + 500 < 1000)


def test_a_new_model_begins_a_new_window(watched: StreamScorer) -> None:
    recent = Recent(every=1)
    batch = batch_of(100)
    recent.update([batch], watched([batch]))
    plain = StreamScorer(watched.scorer)
    recent.update([batch], plain([batch]))
    found = recent.drift()
    assert found is not None
    assert found.scores.n == 100
    assert (found.psi, found.ks, found.channels, found.rows) == (None, None, [], 0)
    for seconds, every in ((0, 1), (1, 0), (1, True)):
        with pytest.raises(ValueError, match="expected a positive"):
            Recent(seconds, every)


def test_prometheus_is_told_of_drift(watched: StreamScorer) -> None:
    pytest.importorskip("prometheus_client", reason="needs the extra vaelocity[stream]")
    recent = Recent(every=1)
    batch = broken(batch_of(2000))
    recent.update([batch], watched([batch]))
    values = values_of(StreamStats(), lambda: "x", recent)
    found = recent.drift()
    assert found is not None
    assert values['vaelocity_drift_psi{of="score"}'] == found.psi
    assert values['vaelocity_drift_ks{of="score"}'] == found.ks
    for one in found.channels:
        assert values[f'vaelocity_drift_psi{{of="input:{one.name}"}}'] == one.psi
        assert values[f'vaelocity_drift_ks{{of="input:{one.name}"}}'] == one.ks
    assert values["vaelocity_inputs_not_ok"] == 2


def shown(view: Any) -> str:
    rich = pytest.importorskip("rich.console", reason="needs the extra vaelocity[cli]")
    console = rich.Console(width=200, file=io.StringIO())
    console.print(view.__rich__())
    return console.file.getvalue()


def test_the_live_view_shows_scores_and_what_has_drifted(
    watched: StreamScorer, make_bundle: Callable[..., Path]
) -> None:
    pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
    from vaelocity.cli.live import LiveView

    recent, watch = Recent(every=1), ShadowWatch()
    other = vaelocity.load(make_bundle([D, 5, 2], seed=1))

    def observe(micro: Any, scored: Any, shadow: Any) -> None:
        recent.update(micro.batches, scored)
        watch.update(micro, scored, shadow)

    given = [Message(broken(one.batch), one.arrived, one.where) for one in messages([500, 500])]
    pump = Pump(
        ListSource(given), ListSink(), watched, shadow=StreamScorer(other, threshold=1e30),
        observe=observe,
    )  # fmt: skip
    view = LiveView(pump, "title", None, recent, watch)
    assert "score drift" not in shown(view)
    stats = pump.run()
    recent.drift()
    text = shown(view)
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert "1,000 in" in lines["events"]
    assert "events/s now, " in lines["rate"]
    low, high = (100 * end for end in wilson(stats.accepted, 1000))
    part = f"{stats.accepted:,} ({stats.accepted / 10:.3g} %, 95 % interval {low:.3g} % to "
    assert f"{part}{high:.3g} %" in lines["accepted"]
    for name in ("p50", "p99", "p99.9"):
        assert f"{name} " in lines["latency"]
    assert "0 with NaN or infinity" in lines["flagged"]
    assert "score drift  PSI" in text
    assert "2 of 7 not ok; worst: " in text
    assert "f2 (dead, PSI" in text
    assert "f4 (hot, PSI" in text
    agreed = 100 * (1000 - stats.accepted) / 1000
    assert f"decides the same for {agreed:.4g} %: {stats.accepted:,} only live, 0 only" in text
    (bars,) = [line for line in text.splitlines() if line.startswith("scores")]
    assert "█" in bars


def test_bars_stand_where_the_scores_are() -> None:
    pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
    from vaelocity.cli.live import bars

    scores = np.float32([1] * 500 + [12] * 20 + [100])
    first, last = bars(ScoreHistogram().update(scores), 30.0, width=20).split(" ", 1)
    assert (first, last[-3:]) == ("1", "100")
    picture = last[: last.rindex(" ")]
    assert len(picture) == 21
    assert [i for i, c in enumerate(picture) if c not in " |"] == [0, 10, 20]
    assert picture[0] == "█"
    assert picture.index("|") == int(20 * np.log(30) / np.log(100))
    assert picture[10] > picture[20]
    assert bars(ScoreHistogram().update(np.float32([2, 2])), None) == "all about 2"
    assert bars(ScoreHistogram().update(np.float32([-1, np.nan])), None) == "none above 0"
