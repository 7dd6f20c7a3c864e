"""ZeroMQ: order, back-pressure, and what becomes of messages that cannot be scored."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")
import pyarrow as pa
import pyarrow.parquet as pq
from stream_ends import NAMES, D, rows_of, table_of

import vaelocity
from vaelocity.stream import Pump, Rejects, StreamError, StreamScorer, open_sink, open_source
from vaelocity.stream.message import decode


@pytest.fixture
def zmq() -> Any:
    return pytest.importorskip("zmq", reason="needs the extra vaelocity[stream]")


def test_zeromq_there_and_back(zmq: Any, scorer: vaelocity.Scorer, tmp_path: Path) -> None:
    """PUSH -> stream -> PULL over loopback, with a small high-water mark and a slow consumer."""
    batches = table_of(rows_of(4000)).to_batches(max_chunksize=100)
    inlet = open_source(f"zmq+ipc://{tmp_path}/in?bind=1&hwm=2", NAMES)
    outlet = open_source(f"zmq+ipc://{tmp_path}/out?bind=1&hwm=2", NAMES)
    feed = open_sink(f"zmq+ipc://{tmp_path}/in?hwm=2&end=1", inlet)
    sink = open_sink(f"zmq+ipc://{tmp_path}/out?hwm=2&end=1", inlet)
    model = StreamScorer(scorer, columns=["event"])
    pump = Pump(inlet, sink, model, rows=300, threads=2, rejects=Rejects(tmp_path / "rejects"))

    def feeding() -> None:
        for batch in batches:
            feed.write(batch)
        feed.close(complete=True)

    threads = [threading.Thread(target=feeding), threading.Thread(target=pump.run)]
    for thread in threads:
        thread.start()
    received: list[Any] = []
    while (some := outlet.poll(0.1)) is not None:
        received += [message.batch for message in some]
        time.sleep(0.01)
    for thread in threads:
        thread.join(10)
    outlet.close()
    table = pa.Table.from_batches(received)
    assert table.column("event").to_pylist() == list(range(2**53, 2**53 + 4000))
    np.testing.assert_array_equal(table.column("score").to_numpy(), scorer.score(rows_of(4000)))
    assert not (tmp_path / "rejects").exists()


def test_a_schema_change_on_the_wire_loses_no_event(
    zmq: Any, scorer: vaelocity.Scorer, tmp_path: Path
) -> None:
    """Columns move, rows come in one column, a feature turns double or is missing, and all is well
    again: what can be scored is, in order, and the rest is kept as it came."""
    rows, event = rows_of(60), pa.array(np.arange(60))
    whole = table_of(rows).set_column(0, "event", event)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), D)
    double = whole.set_column(4, "f3", whole.column("f3").cast(pa.float64()))
    forms = [
        whole, whole.select([*NAMES[::-1], "event"]), pa.table({"event": event, "rows": lists}),
        double, whole.drop_columns(["f2"]), whole,
    ]  # fmt: skip
    batches = [
        form.slice(10 * i, 10).combine_chunks().to_batches()[0] for i, form in enumerate(forms)
    ]
    inlet = open_source(f"zmq+ipc://{tmp_path}/in?bind=1", NAMES)
    feed = open_sink(f"zmq+ipc://{tmp_path}/in?end=1", inlet)
    sink = open_sink(f"{tmp_path}/out/", inlet)
    model = StreamScorer(scorer, columns=["event"])
    pump = Pump(inlet, sink, model, rejects=Rejects(tmp_path / "rejects"))

    def feeding() -> None:
        for batch in batches:
            feed.write(batch)
        feed.close(complete=True)

    thread = threading.Thread(target=feeding)
    thread.start()
    stats = pump.run()
    thread.join(10)
    table = pq.read_table(tmp_path / "out")
    kept = [*range(30), *range(50, 60)]
    assert table.column("event").to_pylist() == kept
    np.testing.assert_array_equal(table.column("score").to_numpy(), scorer.score(rows)[kept])
    assert stats.refused == 2
    lines = (tmp_path / "rejects" / "rejects.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["where"].rpartition("#")[2] for entry in entries] == ["3", "4"]
    assert "column 'f3': expected Arrow float32, got double" in entries[0]["error"]
    assert "1 of the model's 7 features are missing: f2" in entries[1]["error"]
    for entry, batch in zip(entries, batches[3:5], strict=True):
        assert decode((tmp_path / "rejects" / entry["file"]).read_bytes()).equals(batch)


def test_zeromq_over_tcp_and_what_is_no_arrow(zmq: Any, tmp_path: Path) -> None:
    from vaelocity.stream.zeromq import ZmqSource

    source = ZmqSource(urlsplit("zmq://127.0.0.1:0?bind=1"))
    push = zmq.Context.instance().socket(zmq.PUSH)
    push.connect(source.endpoint)
    push.send(b"hello")
    found: list[Any] = []
    while not found:
        found += source.poll(1) or []
    (message,) = found
    assert message.batch is None
    assert message.raw == b"hello"
    source.stop()
    assert source.poll(1) is None
    source.close()
    push.close(linger=0)
    with pytest.raises(ValueError, match="unknown option 'hmw'"):
        open_source("zmq://127.0.0.1:0?hmw=3", NAMES)
    with pytest.raises(StreamError, match=r"zmq://nowhere\.invalid\.\.:x"):
        open_source("zmq://nowhere.invalid..:x", NAMES)
