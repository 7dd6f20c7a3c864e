"""Nearest neighbours, the best of the published methods, on our scaling: what there is to reach."""

from __future__ import annotations

from dataclasses import dataclass

import adbench
import numpy as np
from sklearn.neighbors import NearestNeighbors
from task import NORMAL, Scored, Task

from vaelocity.report.metrics import auc

REPEATED = "pima"
"""The set of which half of the normal test rows are training rows: see `adbench.task`."""


@dataclass(frozen=True)
class Neighbours:
    """The mean distance to the k nearest training rows, which DTE-NP is (Livernoche et al., section
    4.1). Nothing is learned: seeds differ by the rows that are drawn."""

    k: int = 5
    looked_at: None = None

    def train(self, task: Task, seed: int) -> NearestNeighbors:
        """An index of the rows."""
        return NearestNeighbors(n_neighbors=self.k + 1).fit(task.train)

    def score(self, model: NearestNeighbors, task: Task) -> Scored:
        """Of all rows; a training row is not its own neighbour."""
        train, test = (model.kneighbors(rows)[0] for rows in (task.train, task.test))
        return Scored(
            train[:, 1:].mean(axis=1).astype(np.float32),
            test[:, : self.k].mean(axis=1).astype(np.float32),
        )

    def text(self) -> str:
        """The configuration, to be told from another."""
        return f"mean distance to the {self.k} nearest training rows"

    def training_text(self) -> str:
        """As of the families that learn."""
        return self.text()


def repeated_rows(seed: int) -> dict[str, float]:
    """Of the set REPEATED, semi-supervised: the share of normal test rows that were trained on, and
    the AUROC of neighbours with and without these."""
    task = adbench.task(REPEATED, "semi_supervised", seed)
    known = {row.tobytes() for row in task.train}
    repeated = np.array([row.tobytes() in known for row in task.test])
    normal = task.names == NORMAL
    score = Neighbours().score(Neighbours().train(task, seed), task).test
    other = score[~normal]
    return {
        "share": float(repeated[normal].mean()),
        "with": auc(score[normal], other).value,
        "without": auc(score[normal & ~repeated], other).value,
    }
