"""Scoring events batch by batch: output columns, counts and the top events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import vaelocity
from vaelocity.cli.top import Top
from vaelocity.data import Table
from vaelocity.record_batch import FLAGS

NAN_FLAG, SATURATED_FLAG, MISSING_FLAG = FLAGS["nan"], FLAGS["saturated"], FLAGS["missing"]


@dataclass(frozen=True)
class Cut:
    """The threshold that is applied: scores above it are anomalous. name: None if given by hand."""

    value: float
    name: str | None = None


@dataclass
class Counts:
    """What a stream of events contained. seconds: in all; scoring_seconds: in the scorer alone.

    flagged: rows that have no score or saturated; missing: rows with missing values that the model
    deals with, which is no fault.
    """

    rows: int = 0
    anomalous: int = 0
    flagged: int = 0
    nan: int = 0
    saturated: int = 0
    missing: int = 0
    seconds: float = 0.0
    scoring_seconds: float = 0.0


@dataclass
class ScoreLoop:
    """Scores batches, counts what it sees, and keeps the top events."""

    scorer: vaelocity.Scorer
    cut: Cut | None
    threads: int
    top: Top
    counts: Counts = field(default_factory=Counts)

    def columns(self, table: Table) -> dict[str, npt.NDArray[Any]]:
        """The output columns of one batch: row, score, flags; anomalous and label where known."""
        start = time.perf_counter()
        score, flags = self.scorer.score_flags(table.rows, threads=self.threads)
        self.counts.scoring_seconds += time.perf_counter() - start
        first = self.counts.rows
        columns: dict[str, npt.NDArray[Any]] = {
            "row": np.arange(first, first + len(score), dtype=np.int64),
            "score": score,
            "flags": flags,
        }
        if self.cut is not None:
            # `not <=`, so that a NaN is kept for a human to look at
            columns["anomalous"] = ~(score <= np.float32(self.cut.value))
        labels = label_values(table)
        if labels is not None:
            columns["label"] = labels
        self.top.add(first, score, table.rows, labels)
        self._count(columns)
        return columns

    def _count(self, columns: dict[str, npt.NDArray[Any]]) -> None:
        counts, flags = self.counts, columns["flags"]
        counts.rows += len(flags)
        if "anomalous" in columns:
            counts.anomalous += int(np.count_nonzero(columns["anomalous"]))
        counts.flagged += int(np.count_nonzero(flags & (NAN_FLAG | SATURATED_FLAG)))
        counts.missing += int(np.count_nonzero(flags & MISSING_FLAG))
        counts.nan += int(np.count_nonzero(flags & NAN_FLAG))
        counts.saturated += int(np.count_nonzero(flags & SATURATED_FLAG))


def label_values(table: Table) -> npt.NDArray[Any] | None:
    """The labels [n] as class names where these are known, else as numbers; None without labels."""
    if table.labels is None or table.class_names is None:
        return table.labels
    return np.asarray(table.class_names)[table.labels]


def repeated(table: Table, rows: int, batch: int) -> Iterator[Table]:
    """`rows` rows in tables of `batch` rows, by going through `table` again and again.

    The tables are views of one array of len(table) + batch rows: memory does not grow with `rows`.
    """
    n = len(table)
    index = np.arange(n + batch) % n
    longer = table.select(index)
    for start in range(0, rows, batch):
        at = start % n
        yield longer.select(slice(at, at + min(batch, rows - start)))
