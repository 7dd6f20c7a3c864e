"""Rows to learn from and rows to tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaelocity.report.metrics import auc

NORMAL = "normal"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scored:
    """The scores of a task's rows by a model that was trained on `train`."""

    train: Floats
    test: Floats


@dataclass(frozen=True)
class Task:
    """train: rows to learn from; test: rows to score; names: the class of each of these, of which
    `normal` is one; steps: of training."""

    train: Floats
    test: Floats
    names: npt.NDArray[np.str_]
    steps: int

    def areas(self, scores: Floats) -> dict[str, float]:
        """AUC of the normal rows against those of every other class."""
        normal = scores[self.names == NORMAL]
        others = sorted(set(self.names.tolist()) - {NORMAL})
        return {name: auc(normal, scores[self.names == name]).value for name in others}
