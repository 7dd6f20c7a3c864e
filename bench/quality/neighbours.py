"""Nearest neighbours: of rows, the best of the published methods, what there is to reach; and of
the codes of an autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.neighbors import NearestNeighbors
from task import Floats, Scored, Task

from vaelocity.models.base import Model
from vaelocity.models.latent import LatentModel

if TYPE_CHECKING:
    from families import Family

DEAD = 1e-6
"""Deviation of a latent unit that says nothing."""


K = 5


@dataclass(frozen=True)
class Neighbours:
    """The mean distance to the nearest training rows, which DTE-NP is (Livernoche et al., section
    4.1). Nothing is learned: seeds differ by the rows that are drawn."""

    looked_at: None = None

    def train(self, task: Task, seed: int) -> NearestNeighbors:
        """An index of the rows."""
        return NearestNeighbors(n_neighbors=K + 1).fit(task.train)

    def score(self, model: NearestNeighbors, task: Task) -> Scored:
        """Of all rows; a training row is not its own neighbour."""
        return distances(model, task.train, task.test)

    def text(self) -> str:
        """The configuration, to be told from another."""
        return f"mean distance to the {K} nearest training rows"

    def training_text(self) -> str:
        """As of the families that learn."""
        return self.text()


@dataclass(frozen=True)
class CodeNeighbours:
    """The mean distance of a row's code, standardised, to the nearest codes of training rows; the
    codes are those of an autoencoder of the family `coder`.

    Beside the reconstruction error this is the other part of a row: how unusual is what the decoder
    can show, as T^2 stands beside Q where processes are watched by principal components (Jackson
    and Mudholkar, Technometrics 21 (1979) 341).
    """

    coder: Family
    looked_at: None = None

    def train(self, task: Task, seed: int) -> Model:
        """The autoencoder."""
        return self.coder.train(task, seed)

    def score(self, model: Model, task: Task) -> Scored:
        """Of all rows; a training row is not its own neighbour."""
        assert isinstance(model, LatentModel)
        train, test = model.encode(task.train), model.encode(task.test)
        centre, spread = train.mean(axis=0), train.std(axis=0)
        spread = np.where(spread > DEAD, spread, 1)
        train, test = ((codes - centre) / spread for codes in (train, test))
        return distances(NearestNeighbors(n_neighbors=K + 1).fit(train), train, test)

    def text(self) -> str:
        """The configuration, to be told from another."""
        return f"mean distance to the {K} nearest codes, standardised, of {self.training_text()}"

    def training_text(self) -> str:
        """That of the autoencoder: both are scores of the same model."""
        return self.coder.training_text()


def distances(index: NearestNeighbors, train: Floats, test: Floats) -> Scored:
    """Means to the K nearest of `train`, of which each is not its own."""
    near, far = (index.kneighbors(rows)[0] for rows in (train, test))
    return Scored(
        near[:, 1:].mean(axis=1).astype(np.float32), far[:, :K].mean(axis=1).astype(np.float32)
    )
