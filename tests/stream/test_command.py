"""`vaelocity stream` as people start it, and what becomes of its events when something breaks."""

from __future__ import annotations

import json
import os
import pty
import resource
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")
pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
import pyarrow as pa
import pyarrow.parquet as pq
from prometheus_page import page_at
from stream_ends import D, rows_of, stream_of, table_of
from stream_process import started, wait_for

import vaelocity
from vaelocity.cli import main


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


def test_sigterm_drains_a_pipe(bundle: Path, tmp_path: Path) -> None:
    """The producer keeps the pipe open; what it sent comes out whole, and the exit code is 0."""
    batches = table_of(rows_of(1000)).to_batches(max_chunksize=100)
    args = ["stream", str(bundle), "-s", "-", "-t", "-", "--pass", "event", "--threshold", "5"]
    raw = stream_of(*batches, end=False)  # the producer would go on
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
    args = ["stream", str(bundle), "-s", "-", "-t", "-", "--pass", "event"]
    with open("/dev/full", "wb") as full, started(args, tmp_path, stdout=full) as process:
        _, err = process.communicate(stream_of(*batches), timeout=60)
    assert process.returncode == 2
    lines = err.decode().splitlines()
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


def test_a_running_stream_is_watched_and_takes_up_a_new_model(
    bundle: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """Batches come one by one; between two of them the file is replaced: once with SIGHUP, once
    seen by --watch. Prometheus and the JSON log tell what goes on."""
    pytest.importorskip("prometheus_client", reason="needs the extra vaelocity[stream]")
    others = [make_bundle([D, 5, 2], seed=seed) for seed in (1, 2)]
    fingerprints = [vaelocity.load(path).fingerprint for path in (bundle, *others)]
    args = [
        "stream", str(bundle), "-s", "-", "-t", "-", "--metrics", "0", "--log-json", "0.1",
        "--watch", "0.1", "--threshold", "5",
    ]  # fmt: skip
    batches = table_of(rows_of(300)).to_batches(max_chunksize=100)
    with started(args, tmp_path, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        told = Lines(process.stderr)
        url = told.find("metrics at ").split()[-1]
        feed = pa.ipc.new_stream(process.stdin, batches[0].schema)
        feed.write_batch(batches[0])
        scores = pa.ipc.open_stream(process.stdout)
        models = [model_of(scores)]
        os.replace(others[0], bundle)
        process.send_signal(signal.SIGHUP)
        told.find(f"model {fingerprints[1]:.12} in use")
        feed.write_batch(batches[1])
        models.append(model_of(scores))
        os.replace(others[1], bundle)
        told.find(f"model {fingerprints[2]:.12} in use")
        feed.write_batch(batches[2])
        models.append(model_of(scores))
        assert models == fingerprints
        wait_for(lambda: "\nvaelocity_events_total 300.0\n" in page_at(url))
        assert f'vaelocity_model{{model="{fingerprints[2]}"}} 1.0' in page_at(url)
        entry = json.loads(told.find('"events": 300'))
        assert (entry["level"], entry["message"], entry["nan"]) == ("info", "progress", 0)
        feed.close()
        process.stdin.close()
        assert process.wait(20) == 0
        told.join()


def test_a_terminal_shows_the_live_view_and_stdout_stays_clean(
    bundle: Path, tmp_path: Path
) -> None:
    """stderr is a terminal; scores go to stdout, and nothing else does."""
    batches = table_of(rows_of(1000)).to_batches(max_chunksize=100)
    raw = stream_of(*batches, end=False)
    leader, follower = pty.openpty()
    shown = bytearray()

    def reading() -> None:
        with suppress(OSError):  # how a terminal says that the other side is gone
            while data := os.read(leader, 65536):
                shown.extend(data)

    terminal = threading.Thread(target=reading, daemon=True)
    terminal.start()
    args = ["stream", str(bundle), "-s", "-", "-t", "-", "--pass", "event", "--threshold", "5"]
    wide = os.environ | {"COLUMNS": "160", "LINES": "40", "TERM": "xterm"}
    with started(args, tmp_path, bufsize=0, stderr=follower, env=wide) as process:
        os.close(follower)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(raw)
        reader = pa.ipc.open_stream(process.stdout)
        table = pa.Table.from_batches([reader.read_next_batch()])
        while table.num_rows < 1000:
            more = pa.Table.from_batches([reader.read_next_batch()])
            table = pa.concat_tables([table, more])
        wait_for(lambda: b"1,000 in" in shown and b"events/s now" in shown, 30)
        process.send_signal(signal.SIGTERM)
        with pytest.raises(StopIteration):
            reader.read_next_batch()
        assert process.wait(20) == 0
    terminal.join(10)
    os.close(leader)
    assert b"from arrival to result" in shown
    assert table.column("event").to_pylist() == list(range(2**53, 2**53 + 1000))


class Lines:
    """The lines that a process writes, read by a thread so that it never has to wait."""

    def __init__(self, file: IO[bytes]) -> None:
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(file,), daemon=True)
        self._thread.start()

    def _read(self, file: IO[bytes]) -> None:
        for line in file:
            self._lines.append(line.decode().rstrip())

    def join(self) -> None:
        """Return when the process has hung up."""
        self._thread.join(10)

    def find(self, text: str) -> str:
        """The first line with this text, when it is there."""
        wait_for(lambda: any(text in line for line in self._lines))
        return next(line for line in self._lines if text in line)


def model_of(scores: pa.RecordBatchReader) -> str:
    """The fingerprint that the next batch carries."""
    _, metadata = scores.read_next_batch_with_custom_metadata()
    return metadata[b"vaelocity.fingerprint"].decode()
