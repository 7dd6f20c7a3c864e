"""Sources and sinks: files and pipes, and `vaelocity stream` between them."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")
pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
import pyarrow as pa
import pyarrow.parquet as pq
from stream_ends import NAMES, D, rows_of, table_of

import vaelocity
from vaelocity.cli import main
from vaelocity.data import DataError
from vaelocity.stream import StreamError, open_sink, open_source
from vaelocity.stream.pipe import PipeSink, PipeSource

COMMAND = [sys.executable, "-m", "vaelocity.cli"]


def polled(source: Any) -> list[Any]:
    found = []
    while (some := source.poll(0.1)) is not None:
        found += [message.batch for message in some]
    source.close()
    return found


# files


def test_every_kind_of_file_gives_the_same_scores(scorer: vaelocity.Scorer, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="needs the extra vaelocity[io]")
    uproot = pytest.importorskip("uproot", reason="needs the extra vaelocity[io]")
    rows = rows_of(1000)
    event = np.arange(2**53, 2**53 + 1000)
    pq.write_table(table_of(rows), tmp_path / "a.parquet", row_group_size=300)
    pq.write_table(table_of(rows, np.float64), tmp_path / "double.parquet")
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table_of(rows).schema) as writer:
        writer.write_table(table_of(rows), 300)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), D)
    pq.write_table(pa.table({"event": event, "features": lists}), tmp_path / "lists.parquet")
    np.save(tmp_path / "a.npy", rows)
    kinds = [("event", "i8"), *((name, "f4") for name in NAMES)]
    records = np.empty(1000, kinds)
    records["event"] = event
    for j, name in enumerate(NAMES):
        records[name] = rows[:, j]
    np.save(tmp_path / "records.npy", records)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["X"], file["event"] = rows, event
    with uproot.recreate(tmp_path / "a.root") as file:
        file["t"] = {name: records[name] for name in records.dtype.names}
    expected = scorer.score(rows)
    for name in ("a.parquet", "double.parquet", "a.arrow", "lists.parquet", "a.npy", "records.npy",
                 "a.h5", "a.root"):  # fmt: skip
        columns = [] if name == "a.npy" else ["event"]
        source = open_source(str(tmp_path / name), NAMES, columns)
        scored = [vaelocity.score_batch(scorer, b, columns=columns) for b in polled(source)]
        table = pa.Table.from_batches(scored)
        np.testing.assert_array_equal(table.column("score").to_numpy(), expected, err_msg=name)
        if columns:
            assert table.column("event").to_pylist() == event.tolist(), name


def test_files_say_what_is_wrong(tmp_path: Path) -> None:
    pq.write_table(table_of(rows_of(10)), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"columns: .*a.parquet has no column 'evnt'; did you mean"):
        polled(open_source(str(tmp_path / "a.parquet"), NAMES, ["evnt"]))
    with pytest.raises(DataError, match="has no column 'x9'"):
        polled(open_source(str(tmp_path / "a.parquet"), [*NAMES, "x9"]))
    with pytest.raises(FileNotFoundError):
        open_source(str(tmp_path / "no*.parquet"), NAMES)
    with pytest.raises(ValueError, match=r"http://x: expected kafka://, zmq://"):
        open_source("http://x", NAMES)


def test_a_folder_gets_a_complete_file_for_every_flush(
    scorer: vaelocity.Scorer, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", rows_of(100))
    source = open_source(str(tmp_path / "a.npy"), NAMES)
    sink = open_sink(f"{tmp_path}/out/", source)
    (batch,) = polled(source)
    scored = vaelocity.score_batch(scorer, batch)
    parts = []
    for i in range(3):
        sink.write(scored.slice(10 * i, 10))
        assert len(list((tmp_path / "out").glob("*.parquet"))) == i
        sink.flush([])
        parts = sorted((tmp_path / "out").glob("*.parquet"))
        assert len(parts) == i + 1
    sink.write(scored)
    sink.close(complete=False)
    assert sorted((tmp_path / "out").iterdir()) == parts
    read = pa.concat_tables([pq.read_table(part) for part in parts])
    assert read.column("score").to_pylist() == scored.column("score").to_pylist()[:30]
    model = pq.read_metadata(parts[0]).metadata[b"vaelocity.models"].decode()
    assert model == f"0:{scorer.fingerprint}"


def test_a_stream_without_end_is_not_written_to_one_file(tmp_path: Path) -> None:
    with piped() as (reader, writer):
        os.close(writer)
        source = PipeSource(reader)
        with pytest.raises(ValueError, match=r"out.parquet: .*give FOLDER/"):
            open_sink(f"{tmp_path}/out.parquet", source)


# pipes


@contextmanager
def piped() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)


def send(descriptor: int, batches: list[Any], end: bool = True, cut: int | None = None) -> None:
    out = pa.BufferOutputStream()
    writer = pa.ipc.new_stream(out, batches[0].schema)
    for batch in batches:
        writer.write_batch(batch)
    raw = out.getvalue().to_pybytes() if not end else None
    if end:
        writer.close()
        raw = out.getvalue().to_pybytes()
    assert raw is not None
    with open(descriptor, "wb") as file:
        file.write(raw if cut is None else raw[:cut])


def test_a_pipe_gives_the_batches_that_were_put_in() -> None:
    batches = table_of(rows_of(1000)).to_batches(max_chunksize=300)
    with piped() as (reader, writer):
        thread = threading.Thread(target=send, args=(writer, batches))
        thread.start()
        assert polled(PipeSource(reader)) == batches
        thread.join()


def test_a_pipe_that_breaks_off_says_after_which_batch() -> None:
    batches = table_of(rows_of(100)).to_batches(max_chunksize=50)
    with piped() as (reader, writer):
        send(writer, batches, end=False, cut=-100)
        source = PipeSource(reader, "stdin")
        assert source.poll(1)[0].batch == batches[0]
        with pytest.raises(StreamError, match=r"^stdin: the Arrow IPC stream breaks off after 1 "):
            source.poll(1)


def test_a_pipe_that_is_told_to_stop_ends_between_two_batches() -> None:
    batches = table_of(rows_of(100)).to_batches(max_chunksize=50)
    out = pa.BufferOutputStream()
    writer = pa.ipc.new_stream(out, batches[0].schema)
    writer.write_batch(batches[0])
    raw = out.getvalue().to_pybytes()
    with piped() as (reader, descriptor):
        source = PipeSource(reader)
        os.write(descriptor, raw[:-1000])  # the producer pauses within a batch
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.extend(source.poll(5)))
        thread.start()
        time.sleep(0.3)
        source.stop()
        os.write(descriptor, raw[-1000:])
        thread.join(5)
        assert [message.batch for message in found] == [batches[0]]
        assert source.poll(1) is None
        os.close(descriptor)


def test_a_pipe_carries_the_model_with_every_batch(scorer: vaelocity.Scorer) -> None:
    scored = vaelocity.score_batch(scorer, table_of(rows_of(10)).to_batches()[0])
    other = scored.replace_schema_metadata({"vaelocity.fingerprint": "another"})
    with piped() as (reader, writer):
        sink = PipeSink(writer)
        sink.write(scored)
        sink.write(other)
        sink.close(complete=True)
        os.close(writer)
        with os.fdopen(os.dup(reader), "rb") as file:
            stream = pa.ipc.open_stream(file)
            models = []
            for _ in range(2):
                _, metadata = stream.read_next_batch_with_custom_metadata()
                models.append(metadata[b"vaelocity.fingerprint"].decode())
    assert models == [scorer.fingerprint, "another"]


# the command


def test_stream_writes_what_score_writes(bundle: Path, tmp_path: Path) -> None:
    rows = rows_of(5000)
    for i in range(3):
        part = table_of(rows).slice(2000 * i, 2000)
        pq.write_table(part, tmp_path / f"part-{i}.parquet", row_group_size=500)
    data = f"{tmp_path}/part-*.parquet"
    args = ["--threshold", "5", "--threads", "2"]
    assert main(["score", str(bundle), data, "-o", f"{tmp_path}/score.parquet", *args]) == 0
    out = f"{tmp_path}/out.parquet"
    ran = ["stream", str(bundle), "-s", data, "-t", out, "--pass", "event", "--batch-size", "700"]
    assert main([*ran, *args]) == 0
    found, expected = pq.read_table(out), pq.read_table(tmp_path / "score.parquet")
    assert found.select(["score", "flags", "anomalous"]).equals(
        expected.select(["score", "flags", "anomalous"])
    )
    assert found.column("event").equals(table_of(rows).column("event"))


def test_stream_tells_its_counts(
    bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(1000)
    rows[3, 2] = np.nan
    np.save(tmp_path / "a.npy", rows)
    args = ["stream", str(bundle), "-s", f"{tmp_path}/a.npy", "-t", "null:", "--threshold", "5"]
    assert main([*args, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    scorer = vaelocity.load(bundle)
    assert found["accepted"] == int(scorer.predict(rows, 5.0).sum())
    assert (found["events"], found["nan"], found["refused_messages"]) == (1000, 1, 0)
    assert found["fingerprint"] == scorer.fingerprint
    assert 0 < found["latency"]["p50"] <= found["latency"]["p99.9"]
    assert main([*args, "--log-json", "1", "--metrics", "0"]) == 0
    assert "1,000 in 1 messages" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["-s", "a.npy", "-t", "out.csv"], "out.csv: expected kafka://"),
        (["-s", "a.npy", "-t", "nowhere/out.parquet"], "there is no folder nowhere"),
        (["-s", "a.npy", "-t", "null:", "--pass", "event"], "has no column 'event'"),
        (["-s", "b.npy", "-t", "null:"], "b.npy: no such file"),
        (["-s", "a.npy", "-t", "null:", "--accepted-only"], "--accepted-only needs --threshold"),
        (["-s", "a.npy", "-t", "null:", "--transactional"], "from kafka:// to kafka://"),
        (["-s", "a.npy", "-t", "null:", "--metrics", "x"], "--metrics x"),
        (["-s", "ftp://x", "-t", "null:"], "ftp://x: expected kafka://"),
    ],
)
def test_stream_says_in_one_line_what_is_wrong(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    args: list[str],
    said: str,
) -> None:
    np.save(tmp_path / "a.npy", rows_of(10))
    monkeypatch.chdir(tmp_path)
    assert main(["stream", str(bundle), *args]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert {path.name for path in tmp_path.iterdir()} == {"a.npy", bundle.name}


def started(args: list[str], cwd: Path, **more: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *args], cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **more,
    )  # fmt: skip


def test_sigterm_drains_a_pipe(bundle: Path, tmp_path: Path) -> None:
    """The producer keeps the pipe open; what it sent comes out whole, and the exit code is 0."""
    batches = table_of(rows_of(1000)).to_batches(max_chunksize=100)
    args = ["stream", str(bundle), "-s", "-", "-t", "-", "--pass", "event", "--threshold", "5"]
    out = pa.BufferOutputStream()
    writer = pa.ipc.new_stream(out, batches[0].schema)
    for batch in batches:
        writer.write_batch(batch)
    raw = out.getvalue().to_pybytes()  # no end: the producer would go on
    with started(args, tmp_path, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        left = memoryview(raw)
        while left:
            left = left[os.write(process.stdin.fileno(), left) :]
        reader = pa.ipc.open_stream(process.stdout)
        first = reader.read_next_batch()  # it is running
        process.send_signal(signal.SIGTERM)
        table = pa.Table.from_batches([first, *reader])
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert "1,000 in 10 messages" in process.stderr.read().decode()
    assert table.column("event").to_pylist() == list(range(2**53, 2**53 + 1000))


def test_a_full_disk_at_stdout_keeps_what_had_arrived(bundle: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    batches = table_of(rows_of(1000)).to_batches(max_chunksize=100)
    with open("/dev/full", "wb") as full, piped() as (reader, writer):
        thread = threading.Thread(target=send, args=(writer, batches))
        thread.start()
        args = ["stream", str(bundle), "-s", "-", "-t", "-", "--pass", "event"]
        ran = subprocess.run(
            [*COMMAND, *args], cwd=tmp_path, stdin=reader, stdout=full, stderr=subprocess.PIPE,
            timeout=60, check=False,
        )  # fmt: skip
        thread.join()
    assert ran.returncode == 2
    lines = ran.stderr.decode().splitlines()
    assert lines[-1] == (
        "vaelocity: error: stdout: No space left on device; it took the scores of 0 events before "
        "stdin batch 0"
    )
    (path,) = (tmp_path / "rejects").glob("unsent-*.arrows")
    kept = pa.ipc.open_stream(path).read_all()
    n = len(kept)
    assert f"scores of {n:,} events are kept in rejects/{path.name}" in lines[-2]
    assert kept.column("event").to_pylist() == list(range(2**53, 2**53 + n))
    assert n > 0


def test_a_full_disk_leaves_no_half_file(bundle: Path, tmp_path: Path) -> None:
    pq.write_table(table_of(rows_of(50_000)), tmp_path / "a.parquet")
    out = tmp_path / "out.parquet"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    args = ["stream", str(bundle), "-s", "a.parquet", "-t", "out.parquet", "--batch-size", "5000"]
    with started(args, tmp_path, preexec_fn=limit) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    last = err.decode().splitlines()[-1]
    assert "vaelocity: error: out.parquet: " in last
    assert "File too large" in last
    assert not out.exists()
    assert list(tmp_path.glob(".*")) == []
