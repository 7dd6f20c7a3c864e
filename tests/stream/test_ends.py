"""Sources and sinks: files and pipes, and `vaelocity stream` between them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")
pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
import pyarrow as pa
import pyarrow.parquet as pq
from stream_ends import NAMES, D, rows_of, stream_of, table_of

import vaelocity
from vaelocity.data import DataError
from vaelocity.stream import StreamError, open_sink, open_source
from vaelocity.stream.pipe import PipeSink, PipeSource


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


def test_row_groups_are_of_many_rows_whatever_the_micro_batches(
    scorer: vaelocity.Scorer, tmp_path: Path
) -> None:
    """Accepted events come by ones and twos, and often there are none."""
    np.save(tmp_path / "a.npy", rows_of(10))
    source = open_source(str(tmp_path / "a.npy"), NAMES)
    sink = open_sink(f"{tmp_path}/out.parquet", source)
    events = np.arange(100_000)
    table = pa.record_batch({"event": events, "score": events.astype(np.float32)})
    edges = [0, *range(0, 3000, 2), 3000, 70_000, 70_001, 100_000]
    for start, stop in pairwise(edges):
        sink.write(table.slice(start, stop - start))
    sink.close(complete=True)
    source.close()
    assert pq.read_table(tmp_path / "out.parquet").equals(pa.Table.from_batches([table]))
    found = pq.read_metadata(tmp_path / "out.parquet")
    assert [found.row_group(i).num_rows for i in range(found.num_row_groups)] == [70_000, 30_000]


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


def send(descriptor: int, raw: bytes) -> None:
    with open(descriptor, "wb") as file:
        file.write(raw)


def test_a_pipe_gives_the_batches_that_were_put_in() -> None:
    batches = table_of(rows_of(1000)).to_batches(max_chunksize=300)
    with piped() as (reader, writer):
        thread = threading.Thread(target=send, args=(writer, stream_of(*batches)))
        thread.start()
        assert polled(PipeSource(reader)) == batches
        thread.join()


def test_a_pipe_that_breaks_off_says_after_which_batch() -> None:
    batches = table_of(rows_of(100)).to_batches(max_chunksize=50)
    with piped() as (reader, writer):
        send(writer, stream_of(*batches, end=False)[:-100])
        source = PipeSource(reader, "stdin")
        assert source.poll(1)[0].batch == batches[0]
        with pytest.raises(StreamError, match=r"^stdin: the Arrow IPC stream breaks off after 1 "):
            source.poll(1)


def test_a_pipe_that_is_told_to_stop_ends_between_two_batches() -> None:
    batches = table_of(rows_of(100)).to_batches(max_chunksize=50)
    raw = stream_of(batches[0], end=False)
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
