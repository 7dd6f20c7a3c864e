"""The most anomalous events of a stream, and the features that make them so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from rich.table import Table
from rich.text import Text

Rows = npt.NDArray[np.float32]

_FEATURES_SHOWN = 3


class FeatureScorer(Protocol):
    """What `explain` needs of a Scorer."""

    def score_features(self, rows: Rows) -> npt.NDArray[np.float32]: ...


@dataclass
class Top:
    """Keeps the n events with the highest scores; equal scores keep the earlier row."""

    n: int
    number: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    score: Rows = field(default_factory=lambda: np.empty(0, np.float32))
    rows: Rows | None = None
    labels: npt.NDArray[Any] | None = None

    def add(
        self, first: int, score: Rows, rows: Rows, labels: npt.NDArray[Any] | None = None
    ) -> None:
        """Look at one batch: score [n], rows [n, d]; `first` is the number of its first row.

        Rows whose score is NaN are left out: they are reported as flagged, not ranked.
        """
        if self.n == 0:
            return
        score = np.where(np.isnan(score), -np.inf, score)
        if len(self.score) == self.n:
            which = np.flatnonzero(score > self.score[-1])
        else:
            which = np.flatnonzero(score > -np.inf)
        if len(which) == 0:
            return
        if len(which) > self.n:
            which = which[np.argsort(-score[which], kind="stable")[: self.n]]
        self._merge(first + which, score[which], rows[which], _take(labels, which))

    def _merge(
        self,
        number: npt.NDArray[np.int64],
        score: Rows,
        rows: Rows,
        labels: npt.NDArray[Any] | None,
    ) -> None:
        if self.rows is not None:
            number = np.concatenate([self.number, number])
            score = np.concatenate([self.score, score])
            rows = np.concatenate([self.rows, rows])
            if labels is not None and self.labels is not None:
                labels = np.concatenate([self.labels, labels])
        order = np.lexsort((number, -score))[: self.n]
        self.number, self.score, self.rows = number[order], score[order], rows[order]
        self.labels = _take(labels, order)


def _take(values: npt.NDArray[Any] | None, index: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    return None if values is None else values[index]


def explain(top: Top, scorer: FeatureScorer, names: Sequence[str]) -> list[dict[str, Any]]:
    """One entry per event: row, score, label, and its largest contributions.

    A contribution is a feature's share of the squared reconstruction error of the event.
    """
    if top.rows is None:
        return []
    parts = np.asarray(scorer.score_features(top.rows), dtype=np.float64)
    found = []
    for i in range(len(top.number)):
        total = parts[i].sum()
        largest = np.argsort(-parts[i], kind="stable")[:_FEATURES_SHOWN]
        entry: dict[str, Any] = {
            "row": int(top.number[i]),
            "score": _finite(top.score[i]),
            "features": [
                {
                    "name": names[j],
                    "value": _finite(top.rows[i, j]),
                    "share": _finite(parts[i, j] / total) if total > 0 else 0.0,
                }
                for j in largest.tolist()
            ],
        }
        if top.labels is not None:
            entry["label"] = top.labels[i].item()
        found.append(entry)
    return found


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def top_table(events: Sequence[Mapping[str, Any]], title: str) -> Table:
    """The entries of `explain` as a table for the terminal."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("row", justify="right")
    table.add_column("score", justify="right")
    if events and "label" in events[0]:
        table.add_column("label")
    table.add_column("largest contributions: feature = value (share of the reconstruction error)")
    for event in events:
        cells = [str(event["row"]), number(event["score"])]
        if "label" in event:
            cells.append(str(event["label"]))
        table.add_row(*map(Text, cells), Text(largest(event)))
    return table


def largest(event: Mapping[str, Any]) -> str:
    """The largest contributions of an entry of `explain`: pt = 812.1 (31 %), ..."""
    return ", ".join(
        f"{f['name']} = {number(f['value'])} ({share(f['share'])})" for f in event["features"]
    )


def number(value: float | None) -> str:
    """Four digits; what is not finite is shown as inf."""
    return "inf" if value is None else f"{value:.4g}"


def share(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:.0f} %"
