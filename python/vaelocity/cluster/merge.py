"""The score files of all shards as one: rows in order, histograms added."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vaelocity.cluster.shards import SHARD, Shard
from vaelocity.histogram import ScoreHistogram

__all__ = ["HISTOGRAM", "SAME", "Merged", "histogram_of", "merge_scores"]

HISTOGRAM = "vaelocity.histogram"
"""Where a score file keeps the histogram of its scores, as JSON of ScoreHistogram.to_dict."""

SAME = ("vaelocity.fingerprint", "vaelocity.kind", "vaelocity.threshold")
"""What the files of one scoring agree on."""


@dataclass(frozen=True)
class Merged:
    """rows of all shards, and the counts of all their scores."""

    rows: int
    histogram: ScoreHistogram


def merge_scores(paths: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> Merged:
    """Write the score files that `vaelocity score --shard i/n` made into one Parquet file.

    Their order is that of the shards, whatever the order of `paths`; `row` is numbered through.
    Row groups are copied one by one, so memory does not grow with the files.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: a file is no shard, one is missing or there twice, or they are not of the same
            model, kind and threshold; the message names the file. Nothing is written.
    """
    files = _ordered(paths)
    target = Path(output)
    draft = target.with_name(f".{target.name}.{os.getpid()}.partial")
    histogram = ScoreHistogram()
    for path in files:
        histogram = histogram.merge(histogram_of(path))
    rows = 0
    schema = pq.read_schema(files[0])
    try:
        with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
            for path in files:
                with pq.ParquetFile(path) as file:
                    first = rows
                    for group in range(file.num_row_groups):
                        table = file.read_row_group(group)
                        writer.write_table(_renumbered(table, first))
                        rows += table.num_rows
            said = _metadata(files[0])
            kept = {name: said[name] for name in SAME if name in said}
            writer.add_key_value_metadata({**kept, **histogram_metadata(histogram)})
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return Merged(rows, histogram)


def histogram_of(path: str | os.PathLike[str]) -> ScoreHistogram:
    """The histogram that a score file holds. Raises ValueError where it holds none."""
    said = _metadata(path)
    if HISTOGRAM not in said:
        raise ValueError(f"{os.fspath(path)}: no histogram in it: not from score --shard, or merge")
    return ScoreHistogram.from_dict(json.loads(said[HISTOGRAM]))


def histogram_metadata(histogram: ScoreHistogram) -> dict[str, str]:
    """The entry of a score file's metadata that histogram_of reads."""
    return {HISTOGRAM: json.dumps(histogram.to_dict())}


def _metadata(path: str | os.PathLike[str]) -> Mapping[str, str]:
    with pq.ParquetFile(path) as file:
        found: Mapping[bytes, bytes] = file.metadata.metadata or {}
    ours = b"vaelocity."
    return {k.decode(): v.decode() for k, v in found.items() if k.startswith(ours)}


def _ordered(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """The files in the order of their shards, after they have been found to belong together."""
    found: dict[int, str] = {}
    first: Mapping[str, str] = {}
    count = 0
    for path in [os.fspath(given) for given in paths]:
        said = _metadata(path)
        if SHARD not in said:
            raise ValueError(f"{path}: not the score file of a shard (score --shard i/n)")
        shard = Shard.parse(said[SHARD])
        first, count = first or said, count or shard.count
        for name in SAME:
            if said.get(name) != first.get(name):
                raise ValueError(f"{path}: {name} is {said.get(name)}, elsewhere {first.get(name)}")
        if shard.count != count:
            raise ValueError(f"{path}: is shard {shard}, others are of {count}")
        if shard.index in found:
            raise ValueError(f"{path}: is shard {shard}, and so is {found[shard.index]}")
        found[shard.index] = path
    missing = sorted(set(range(count)) - set(found))
    if missing or not found:
        raise ValueError(f"shards {', '.join(map(str, missing)) or '?'} of {count} are missing")
    return [found[index] for index in range(count)]


def _renumbered(table: Any, first: int) -> Any:
    """`row` counted through all shards instead of from 0 in each."""
    at = table.schema.get_field_index("row")
    rows = table.column("row").to_numpy() + np.int64(first)
    return table.set_column(at, "row", pa.array(rows))
