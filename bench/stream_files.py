"""Arrow IPC files for bench_stream.py: streamed on one processor, beside the scorer alone on the
same rows in memory, and beside the scorer alone on the mapped file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from stream_pumped import pumped
from stream_report import line

import vaelocity
from vaelocity.benchmark.networks import jet_rows
from vaelocity.benchmark.timing import Contender, interleave, median, speedup
from vaelocity.stream import open_source

__all__ = ["file_cases"]

BLOCK = 65536
WANTED = 0.8


def file_cases(network: Any, folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Features in columns, and in one column of whole rows."""
    n, rounds = (8 * BLOCK, 3) if quick else (16 * BLOCK, 15)
    rows, scorer = jet_rows(n, network.n_features), vaelocity.load(network.path)
    columns = rows.T.copy()
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), network.n_features)
    named = dict(zip(scorer.feature_names, columns, strict=True))
    found = []
    for layout, table, blocks in (
        ("features in columns", pa.table(named),
         [list(columns[:, at : at + BLOCK]) for at in range(0, n, BLOCK)]),
        ("features in one column of rows", pa.table({"features": lists}),
         [rows[at : at + BLOCK] for at in range(0, n, BLOCK)]),
    ):  # fmt: skip
        path = folder / f"{layout}.arrow"
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table, BLOCK)
        found.append(_case(scorer, layout, path, blocks, rounds))
    return found


def _case(scorer: Any, layout: str, path: Path, blocks: list[Any], rounds: int) -> dict[str, Any]:
    n, out = BLOCK * len(blocks), np.empty(BLOCK, np.float32)

    def bare() -> None:
        for block in blocks:
            scorer.score(block, out)

    def mapped() -> None:
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            for k in range(reader.num_record_batches):
                scorer.score(reader.get_batch(k), out)

    def stream() -> None:
        assert pumped(scorer, open_source(str(path), scorer.feature_names)).events == n

    seconds = interleave(
        {"bare": Contender(bare), "mapped": Contender(mapped), "stream": Contender(stream)},
        rounds=rounds, sample_seconds=0.0,
    )  # fmt: skip
    ratio = speedup(seconds["stream"], seconds["bare"])
    reading = speedup(seconds["mapped"], seconds["bare"])
    return line(
        f"Arrow IPC file to null:, {layout}",
        n,
        n / median(seconds["stream"]).value,
        ratio=ratio,
        of="the scorer alone",
        wanted=f">= {WANTED:g}",
        met=ratio.low >= WANTED,
        note="one processor, one scoring thread; beside Scorer.score on the same blocks in "
        f"memory; Scorer.score on the mapped file: {reading.value:.2f} "
        f"[{reading.low:.2f}, {reading.high:.2f}]",
        alone_per_second=n / median(seconds["bare"]).value,
    )
