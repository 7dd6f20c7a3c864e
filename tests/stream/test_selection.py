"""Prescales and the pass-through in a stream: in order whatever the threads, and counted."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")
import pyarrow as pa
import pyarrow.parquet as pq
from stream_ends import ListSink, ListSource, batch_of, messages, rows_of, table_of

import vaelocity
from vaelocity.prescale import pass_through
from vaelocity.stream import Pump, Rejects, StreamScorer
from vaelocity.stream.message import Message
from vaelocity.stream.selection import Selection

N = 4000


@pytest.mark.parametrize("accepted_only", [True, False])
@pytest.mark.parametrize("prescale", [None, 7])
@pytest.mark.parametrize("sample", [None, ("event", 20)])
def test_what_goes_out_is_that_of_all_events_at_once(
    scorer: vaelocity.Scorer,
    cut: float,
    accepted_only: bool,
    prescale: int | None,
    sample: tuple[str, int] | None,
) -> None:
    model = StreamScorer(scorer, threshold=cut, columns=["event"])
    select = Selection(
        accepted_only=accepted_only, columns=["event"], prescale=prescale, sample=sample
    )
    sink = ListSink()
    sizes = [100, 1, 399, 250, 250] * 4
    stats = Pump(
        ListSource(messages(sizes)), sink, model, rows=400, latency=60, threads=3, select=select
    ).run()
    scores = scorer.score(batch_of(N))
    anomalous, events = scores > np.float32(cut), np.arange(N)
    selected = anomalous.copy()
    if prescale is not None:
        selected[:] = False
        selected[np.flatnonzero(anomalous)[::prescale]] = True
    passed = pass_through(events, 20) if sample else np.zeros(N, bool)
    out = selected | passed if accepted_only else np.ones(N, bool)
    table = pa.Table.from_batches(sink.batches)
    expected = {"event": events, "score": scores, "anomalous": anomalous}
    expected |= {} if prescale is None else {"selected": selected}
    expected |= {} if sample is None else {"pass_through": passed}
    assert table.column_names == ["event", "score", "flags", *[*expected][2:]]
    for name, values in expected.items():
        np.testing.assert_array_equal(table.column(name).to_numpy(), values[out], err_msg=name)
    assert table.schema.metadata[b"vaelocity.fingerprint"].decode() == scorer.fingerprint
    assert (stats.events, stats.accepted, stats.emitted) == (N, anomalous.sum(), out.sum())
    assert out.sum() > 0


def test_scores_that_are_kept_when_the_sink_breaks_are_selected_too(
    scorer: vaelocity.Scorer, cut: float, tmp_path: Path
) -> None:
    model = StreamScorer(scorer, threshold=cut, columns=["event"])
    select = Selection(accepted_only=True, columns=["event"], prescale=3)
    source = ListSource(messages([10] * 50), replays=False)
    pump = Pump(
        source, ListSink(fail_at=20), model, rows=10, threads=2, commit_seconds=1000,
        select=select, rejects=Rejects(tmp_path / "r"),
    )  # fmt: skip
    with pytest.raises(OSError, match="No space left"):
        pump.run()
    (path,) = (tmp_path / "r").glob("unsent-*.arrows")
    kept = pa.ipc.open_stream(path).read_all()
    anomalous = np.flatnonzero(scorer.score(batch_of(10 * source.taken)) > np.float32(cut))
    assert kept.column("event").to_pylist() == anomalous[::3].tolist()


def test_events_without_a_number_are_refused(
    scorer: vaelocity.Scorer, cut: float, tmp_path: Path
) -> None:
    model = StreamScorer(scorer, threshold=cut, columns=["event"])
    select = Selection(accepted_only=True, columns=["event"], sample=("event", 1))
    holes = pa.array([1, None] * 5, pa.int64())
    given = [batch_of(10), batch_of(10).set_column(0, "event", holes), batch_of(10, 20)]
    source = ListSource([Message(batch, time.perf_counter(), "here") for batch in given])
    sink = ListSink()
    stats = Pump(source, sink, model, select=select, rejects=Rejects(tmp_path)).run()
    assert sink.events == [*range(10), *range(20, 30)]
    assert stats.refused == 1
    entry = json.loads((tmp_path / "rejects.jsonl").read_text())
    assert (
        entry["error"] == "pass-through: column 'event': expected integers, got int64 with 5 nulls"
    )
    for arguments, said in (
        ({"columns": [], "sample": ("event", 3)}, "'event' is not among the columns passed on"),
        ({"columns": ["event"], "sample": ("event", 0)}, "factor: expected a whole number"),
        ({"columns": ["event"], "prescale": 0}, "factor: expected a whole number"),
        ({"columns": ["selected"], "prescale": 2}, "'selected' is the name of a column"),
    ):
        with pytest.raises(ValueError, match=said):
            Selection(accepted_only=True, **arguments)  # type: ignore[arg-type]


def test_the_command_prescales_and_passes_through(
    bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
    from vaelocity.cli import main

    rows = rows_of(N)
    table = table_of(rows)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=700)
    scores, events = vaelocity.load(bundle).score(rows), table.column("event").to_numpy()
    cut = float(np.quantile(scores, 0.9))
    args = [
        "stream", str(bundle), "-s", f"{tmp_path}/a.parquet", "-t", f"{tmp_path}/o.parquet",
        "--accepted-only", "--prescale", "10", "--pass-through", "event=50",
    ]  # fmt: skip
    assert main([*args, "--threshold", repr(cut), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    out = pq.read_table(tmp_path / "o.parquet")
    selected = np.flatnonzero(scores > np.float32(cut))[::10]
    passed = np.flatnonzero(pass_through(events, 50))
    both = np.union1d(selected, passed)
    assert out.column("event").to_pylist() == events[both].tolist()
    assert out.filter(out["selected"])["event"].to_pylist() == events[selected].tolist()
    assert out.filter(out["pass_through"])["event"].to_pylist() == events[passed].tolist()
    assert found["emitted"] == len(both)
    assert found["accepted"] == np.count_nonzero(scores > np.float32(cut))
    for more, said in (
        ([], "--accepted-only needs --threshold"),
        (["--threshold", "1", "--pass-through", "event"], "expected COLUMN=N, such as event=1000"),
        (["--threshold", "1", "--pass-through", "evt=9"], "has no column 'evt'; did you mean"),
    ):
        assert main([*args, *more]) == 2
        assert said in capfd.readouterr().err
