"""What a report needs of its data, kept while they pass by once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import vaelocity
from vaelocity.bundle import read_bundle
from vaelocity.bundle_parts import get_histogram, get_reference
from vaelocity.cli.top import Top, explain
from vaelocity.data import Table
from vaelocity.drift import Channel, DriftMonitor, score_drift
from vaelocity.report.metrics import Scores
from vaelocity.report.sections import FIGURE_ROWS

Rows = npt.NDArray[np.float32]

TOP = 10


@dataclass
class Kept:
    """Of one class: every score that is a number, and the first FIGURE_ROWS finite rows."""

    scores: list[Rows] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)
    missing: int = 0
    n_rows: int = 0

    def add(self, rows: Rows, scores: Rows) -> None:
        known = ~np.isnan(scores)
        self.missing += int(np.count_nonzero(~known))
        self.scores.append(scores[known])
        some = rows[known][: FIGURE_ROWS - self.n_rows]
        self.n_rows += len(some)
        self.rows.append(some)


@dataclass(frozen=True)
class Seen:
    """The data of a report as its model sees them.

    scores    of every class, the normal one first; one entry where there are no labels
    rows      at most FIGURE_ROWS of each
    missing   events without a score (a NaN or an infinity in the row)
    channels  every input compared with the training; None where the file has no reference
    drift     PSI and KS of the normal scores against the held-out ones in the file, or None
    top       the events with the highest scores, with reasons where the model has them
    """

    path: Path
    scorer: vaelocity.Scorer
    features: vaelocity.Scorer | None
    labelled: bool
    scores: dict[str, Scores]
    rows: dict[str, Rows]
    missing: int
    channels: list[Channel] | None
    drift: tuple[float, float] | None
    top: list[dict[str, Any]]

    @property
    def normal_name(self) -> str:
        """The class that the others are compared with."""
        return next(iter(self.scores))

    @property
    def normal(self) -> Scores:
        """Its scores."""
        return self.scores[self.normal_name]

    @property
    def anomalous(self) -> dict[str, Scores]:
        """The scores of the other classes."""
        return {name: self.scores[name] for name in list(self.scores)[1:]}

    @property
    def n(self) -> int:
        """Events with a score."""
        return sum(map(len, self.scores.values()))


def collect(
    path: Path, kind: str | None, tables: Iterable[Table], normal: Sequence[str], threads: int
) -> Seen:
    """Score the tables and keep what a report needs; one class, unless they have labels.

    normal: labels of the normal events, together one class; needed where the tables have labels.
    Raises ValueError where no normal event has a score.
    """
    scorer = vaelocity.load(path, kind=kind)
    metadata, tensors = read_bundle(path)
    reference = get_reference(metadata, tensors)
    monitor = None if reference is None else DriftMonitor(reference)
    histogram = vaelocity.ScoreHistogram(scorer.kind, scorer.identity)
    first = ", ".join(normal) or "events"
    kept: dict[str, Kept] = {first: Kept()}
    top, n, labelled = Top(TOP), 0, False
    for table in tables:
        scores = scorer.score(table.rows, threads=threads)
        labelled = table.labels is not None
        names = _classes(table, normal, first)
        top.add(n, scores, table.rows, names.astype(str) if labelled else None)
        n += len(scores)
        for name in dict.fromkeys(names.tolist()):
            kept.setdefault(name, Kept()).add(table.rows[names == name], scores[names == name])
        of_normal = names == first
        histogram.update(scores[of_normal])
        if monitor is not None and of_normal.any():
            monitor.update(table.rows[of_normal])
    found = {name: np.concatenate(part.scores) for name, part in kept.items() if part.scores}
    if not len(found.get(first, ())):
        raise ValueError(f"{first}: no event of these labels has a score")
    in_order = [first, *sorted(name for name in kept if name != first)]
    features = _feature_scorer(path, scorer)
    expected = get_histogram(metadata, tensors, scorer.kind)
    return Seen(
        path,
        scorer,
        features,
        labelled,
        {name: found[name] for name in in_order if len(found[name])},
        {name: np.concatenate(kept[name].rows) for name in in_order if kept[name].n_rows},
        sum(part.missing for part in kept.values()),
        None if monitor is None else monitor.channels(scorer.feature_names),
        None if expected is None or expected.n == 0 else score_drift(expected, histogram),
        [] if features is None else explain(top, features, scorer.feature_names),
    )


def _classes(table: Table, normal: Sequence[str], first: str) -> npt.NDArray[Any]:
    """The name of every event's class, object [n]; `first` where it is a normal one."""
    if table.labels is None:
        return np.full(len(table), first, object)
    if table.class_names is None:
        names = np.array([str(label) for label in table.labels.tolist()], object)
    else:
        names = np.array(table.class_names, object)[table.labels]
    names[np.isin(names.astype(str), list(normal))] = first
    return names


def _feature_scorer(path: Path, scorer: vaelocity.Scorer) -> vaelocity.Scorer | None:
    """Where scores per feature come from: this kind of score, or reconstruction, or nowhere."""
    if scorer.kind == "reconstruction":
        return scorer
    if "reconstruction" in scorer.kinds:
        return vaelocity.load(path, kind="reconstruction")
    return None
