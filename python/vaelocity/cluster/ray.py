"""Scoring a Ray Dataset: the class that `map_batches` runs in a pool of actors.

    dataset = ray.data.read_parquet(files)
    scores = dataset.map_batches(vaelocity.cluster.ray.Scorer, **options("jets.vael", actors=4))

Every actor loads the model once. Scores have the same bits on every actor.

A block has one actor, and Ray reads small files together as one block: where a few files are to
keep several actors busy, `dataset.repartition(blocks)` comes first.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

import vaelocity
from vaelocity.histogram import ScoreHistogram
from vaelocity.record_batch import join

__all__ = ["Scorer", "merge_histograms", "options"]


class Scorer:
    """vaelocity.score_batch on the pyarrow Tables that Ray hands out."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        kind: str | None = None,
        threshold: float | str | None = None,
        columns: Sequence[str] = (),
        accepted_only: bool = False,
        threads: int = 1,
    ) -> None:
        """path, kind: as vaelocity.load takes them; the rest as score_batch does."""
        self._scorer = vaelocity.load(path, kind=kind)
        self._arguments: dict[str, Any] = {
            "threshold": threshold,
            "columns": list(columns),
            "accepted_only": accepted_only,
            "threads": threads,
        }

    def __call__(self, table: pa.Table) -> pa.Table:
        """The scores of a block, and the metadata of score_batch in its schema."""
        batch = join(table.to_batches(), table.schema)
        return pa.Table.from_batches(
            [vaelocity.score_batch(self._scorer, batch, **self._arguments)]
        )


def options(
    path: str | os.PathLike[str], *, actors: int, batch_size: int = 65536, **arguments: Any
) -> dict[str, Any]:
    """The keyword arguments of `map_batches`: a pool of `actors`, Arrow batches of batch_size rows.

    Ray needs one CPU more than there are actors, for the tasks that read: with none left it waits
    for ever. `arguments` are Scorer's.
    """
    import ray.data

    return {
        "fn_constructor_kwargs": {"path": os.path.abspath(path), **arguments},
        "batch_format": "pyarrow",
        "batch_size": batch_size,
        "zero_copy_batch": True,
        "compute": ray.data.ActorPoolStrategy(size=actors),
        "num_cpus": 1,
    }


def merge_histograms(scores: Any, scorer: vaelocity.Scorer) -> ScoreHistogram:
    """The histogram of a Dataset of scores: counted where the blocks lie, added here.

    Adding counts is exact, so a threshold found in it is that of one process.
    """

    kind, identity = scorer.kind, scorer.identity

    def count(table: pa.Table) -> pa.Table:
        histogram = ScoreHistogram(kind, identity)
        histogram.update(np.ascontiguousarray(table.column("score").to_numpy()))
        return pa.table({"histogram": [json.dumps(histogram.to_dict())]})

    merged = ScoreHistogram(kind, identity)
    counted = scores.map_batches(count, batch_format="pyarrow", batch_size=None)
    for row in counted.take_all():
        merged = merged.merge(ScoreHistogram.from_dict(json.loads(row["histogram"])))
    return merged
