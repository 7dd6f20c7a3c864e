"""Other models in a running stream: exchanged between two micro-batches, or beside as a shadow."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")
import pyarrow as pa
from stream_ends import D, ListSink, ListSource, batch_of, messages, rows_of

import vaelocity
from vaelocity.bundle import read_bundle, write_bundle
from vaelocity.stream import Pump, Rejects, StreamError, StreamScorer
from vaelocity.stream.reload import Reloader, live_model, shadow_model
from vaelocity.stream.scoring import Scored
from vaelocity.stream.shadow import ShadowWatch
from vaelocity.working_points import store_thresholds


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


def test_features_in_another_order_are_other_features(
    model: StreamScorer, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """Rows in one column have no names: their order is all there is."""
    metadata, tensors = read_bundle(make_bundle([D, 5, 2]))
    names = metadata["features"]
    metadata["features"] = [names[1], names[0], *names[2:]]
    write_bundle(tmp_path / "turned.vael", metadata, tensors)
    turned = StreamScorer(vaelocity.load(tmp_path / "turned.vael"), threshold=1.0)
    with pytest.raises(ValueError, match=r"not those of the live model in another order$"):
        turned.continues(model)


# ---- A shadow


def recorded(scorer: vaelocity.Scorer, n: int) -> np.ndarray:
    return scorer.score(batch_of(n))


@pytest.fixture
def other(make_bundle: Callable[..., Path]) -> vaelocity.Scorer:
    return vaelocity.load(make_bundle([D, 5, 2], seed=1))


@pytest.mark.parametrize("accepted_only", [False, True])
def test_a_shadow_scores_every_event_and_decides_nothing(
    scorer: vaelocity.Scorer, other: vaelocity.Scorer, cut: float, accepted_only: bool
) -> None:
    theirs = recorded(other, 3000)
    shadow = StreamScorer(other, threshold=float(np.quantile(theirs, 0.9)))
    live = StreamScorer(scorer, threshold=cut, columns=["event"], accepted_only=accepted_only)
    alone, beside, watch = ListSink(), ListSink(), ShadowWatch()
    sizes = [100, 1, 399, 250, 250] * 3
    Pump(ListSource(messages(sizes)), alone, live, rows=400, latency=60).run()
    pump = Pump(
        ListSource(messages(sizes)), beside, live, rows=400, latency=60, threads=3,
        shadow=shadow, observe=watch.update,
    )  # fmt: skip
    pump.run()
    assert pa.Table.from_batches(beside.batches).equals(pa.Table.from_batches(alone.batches))
    a = recorded(scorer, 3000) > np.float32(cut)
    b = theirs > np.float32(shadow.threshold)
    found = watch.summary()
    assert found is not None
    assert (found["events"], found["missed"], found["earlier"]) == (3000, 0, [])
    assert found["decisions"]["both"]["events"] == (a & b).sum() > 0
    assert found["decisions"]["only_live"]["events"] == (a & ~b).sum() > 0
    assert found["decisions"]["only_shadow"]["events"] == (~a & b).sum()
    assert found["live"]["fingerprint"] == scorer.fingerprint
    assert found["shadow"] == {
        "fingerprint": other.fingerprint, "kind": other.kind, "threshold": shadow.threshold,
    }  # fmt: skip
    for one in found["disagreements"]:
        event = one["event"]["event"]
        assert one["scores"] == [recorded(scorer, 3000)[event], theirs[event]]
        number = int(one["event"]["where"].removeprefix("message "))
        assert event == np.cumsum([0, *sizes])[number] + one["event"]["row"]
    assert len(found["disagreements"]) == 20
    json.dumps(found, allow_nan=False)


def test_a_shadow_that_fails_is_told_of_and_changes_nothing(
    model: StreamScorer, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(StreamScorer):
        def __call__(self, batches: Sequence[pa.RecordBatch]) -> Scored:
            if batches[0].column("event")[0].as_py() in (10, 30):
                raise RuntimeError("out of luck")
            return super().__call__(batches)

    sink, watch = ListSink(), ShadowWatch()
    pump = Pump(
        ListSource(messages([10] * 5)), sink, model, rows=10,
        shadow=Failing(model.scorer, threshold=1.0), observe=watch.update,
    )  # fmt: skip
    stats = pump.run()
    assert sink.events == list(range(50))
    assert stats.events == 50
    assert watch.missed == 20
    assert watch.comparison is not None
    assert watch.comparison.n == 30
    (record,) = caplog.records
    assert record.message == "message 1: the shadow cannot score it: out of luck; said once"


def test_a_full_disk_beside_a_shadow_keeps_the_live_scores(
    model: StreamScorer, other: vaelocity.Scorer, tmp_path: Path
) -> None:
    source = ListSource(messages([10] * 50), replays=False)
    pump = Pump(
        source, ListSink(fail_at=75), model, rows=10, threads=2, commit_seconds=1000,
        rejects=Rejects(tmp_path / "r"), shadow=StreamScorer(other, threshold=1.0),
        observe=ShadowWatch().update,
    )  # fmt: skip
    with pytest.raises(StreamError, match="it took the scores of 70 events"):
        pump.run()
    (path,) = (tmp_path / "r").glob("unsent-*.arrows")
    kept = pa.ipc.open_stream(path).read_all()
    assert kept.column("event").to_pylist() == list(range(10 * source.taken))


def test_when_a_model_is_exchanged_another_comparison_begins(
    model: StreamScorer, other: vaelocity.Scorer, make_bundle: Callable[..., Path]
) -> None:
    path = make_bundle([D, 5, 2], seed=2)
    third = StreamScorer(vaelocity.load(path), threshold=1.0)
    watch, sink = ShadowWatch(), ListSink()

    class Asking(ListSink):
        def write(self, batch: pa.RecordBatch) -> None:
            super().write(batch)
            if len(self.batches) == 20:
                reloader.request()
                deadline = time.monotonic() + 20
                while pump.shadow is not third and time.monotonic() < deadline:
                    time.sleep(0.01)

    sink = Asking()
    pump = Pump(
        ListSource(messages([10] * 100)), sink, model, rows=10,
        shadow=StreamScorer(other, threshold=1.0), observe=watch.update,
    )  # fmt: skip
    with Reloader(path, shadow_model(pump, lambda: third)) as reloader:
        pump.run()
    found = watch.summary()
    assert found is not None
    (before,) = found["earlier"]
    assert before["shadow"]["fingerprint"] == other.fingerprint
    assert found["shadow"]["fingerprint"] == third.scorer.fingerprint
    assert before["live"] == found["live"]
    assert before["events"] + found["events"] == 1000
    assert before["events"] >= 200
    assert found["events"] > 0


def test_a_shadow_of_other_features_is_not_taken(
    model: StreamScorer, make_bundle: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = make_bundle([D + 1, 5, 2])
    pump = Pump(ListSource([]), ListSink(), model)
    with Reloader(path, shadow_model(pump, lambda: StreamScorer(vaelocity.load(path)))) as one:
        one.request()
        deadline = time.monotonic() + 20
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "its features are not those of the live model" in caplog.text
    assert pump.shadow is None


# ---- The command


def with_threshold(path: Path, name: str, fpr: float) -> Path:
    scorer = vaelocity.load(path)
    threshold = scorer.threshold_for(rows_of(5000, 3), fpr=fpr, name=name)
    store_thresholds(path, [threshold], histogram=scorer.histogram(rows_of(5000, 3)))
    return path


def test_the_command_compares_with_a_shadow(
    make_bundle: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
    from vaelocity.cli import main

    live = with_threshold(make_bundle([D, 5, 2]), "tight", 0.01)
    shadow = with_threshold(make_bundle([D, 5, 2], seed=1), "tight", 0.02)
    rows = rows_of(20_000, 4)
    np.save(tmp_path / "a.npy", rows)
    args = [
        "stream", str(live), "-s", f"{tmp_path}/a.npy", "-t", "null:", "--shadow", str(shadow),
        "--batch-size", "1000",
    ]  # fmt: skip
    assert main([*args, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    a, b = (vaelocity.load(path).predict(rows, "tight") for path in (live, shadow))
    decisions = found["shadow"]["decisions"]
    assert found["accepted"] == decisions["live"]["events"] == a.sum() > 0
    assert decisions["shadow"]["events"] == b.sum() > 0
    assert decisions["both"]["events"] == (a & b).sum()
    assert decisions["only_shadow"]["events"] == (~a & b).sum()
    assert found["shadow"]["events"] == 20_000
    assert found["drift"]["score"]["psi"] < 0.05, "the stream is of the held-out distribution"
    assert main(args) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert "The shadow beside the live model" in out
    assert f"only shadow {(~a & b).sum():,} (" in out
    assert "Where they disagree most" in out
    assert "score drift PSI" in out
    assert main([*args, "--json", "--shadow-threshold", "1e30"]) == 0
    assert json.loads(capfd.readouterr().out)["shadow"]["decisions"]["shadow"]["events"] == 0
    for more, said in (
        (["--shadow-threshold", "loose"], "--threshold loose: expected a number or a threshold"),
        (["--shadow", str(make_bundle([D + 1, 5, 2]))], "its features are not those of the live"),
    ):
        assert main([*args, *more]) == 2
        assert said in capfd.readouterr().err
    assert main(["stream", str(live), "-s", "x", "-t", "null:", "--shadow-threshold", "1"]) == 2
    assert "--shadow-threshold needs --shadow" in capfd.readouterr().err
