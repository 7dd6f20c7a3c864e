"""Nearest neighbours: of rows, the best of the published methods, what there is to reach; of the
codes of an autoencoder; and scores relative to those of the neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors
from task import Floats, Scored, Task

from vaelocity.models.base import Model
from vaelocity.models.latent import LatentModel

if TYPE_CHECKING:
    from families import Family

DEAD = 1e-6
"""Deviation of a latent unit that says nothing."""

K = 5

FLOOR = 0.1
"""Of the median score of the training rows, below which no neighbourhood counts: rows that are
there several times have neighbours at distance 0."""

RELATIVE = f"relative: divided by the root of the mean score of the {K} nearest training {{points}}"


@dataclass(frozen=True)
class Neighbours:
    """The mean distance to the nearest training rows, which DTE-NP is (Livernoche et al., section
    4.1). Nothing is learned: seeds differ by the rows that are drawn."""

    relative: bool = False
    looked_at: None = None

    def train(self, task: Task, seed: int) -> None:
        """Nothing."""

    def score(self, model: None, task: Task) -> Scored:
        """Of all rows; a training row is not its own neighbour."""
        around = Around.of(task.train, task.test)
        return around.relative(around.distances) if self.relative else around.distances

    def text(self) -> str:
        """The configuration, to be told from another."""
        return f"mean distance to the {K} nearest training rows" + _relative(self.relative, "rows")

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
    relative: bool = False
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
        around = Around.of(*((codes - centre) / spread for codes in (train, test)))
        return around.relative(around.distances) if self.relative else around.distances

    def text(self) -> str:
        """The configuration, to be told from another."""
        text = f"mean distance to the {K} nearest codes, standardised, of {self.training_text()}"
        return text + _relative(self.relative, "codes")

    def training_text(self) -> str:
        """That of the autoencoder: both are scores of the same model."""
        return self.coder.training_text()


@dataclass(frozen=True)
class Relative:
    """The score of a family, relative to that of the rows around; see `Around.relative`."""

    family: Family
    looked_at: None = None

    def train(self, task: Task, seed: int) -> Model:
        """The family's model."""
        return self.family.train(task, seed)

    def score(self, model: Model, task: Task) -> Scored:
        """Of all rows; a training row is not its own neighbour."""
        return Around.of(task.train, task.test).relative(self.family.score(model, task))

    def text(self) -> str:
        """The configuration, to be told from another."""
        return self.family.text() + _relative(True, "rows")

    def training_text(self) -> str:
        """That of the family: both are scores of the same model."""
        return self.family.training_text()


@dataclass(frozen=True)
class Around:
    """Who the K nearest training points are, of training points (none is its own) and of others:
    indices [n, K]; and the mean distances to them."""

    train: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    distances: Scored

    @classmethod
    def of(cls, train: Floats, test: Floats) -> Around:
        """Points [n, d]."""
        index = NearestNeighbors(n_neighbors=K + 1).fit(train)
        (near, who), (far, whom) = index.kneighbors(train), index.kneighbors(test)
        means = (part.mean(axis=1).astype(np.float32) for part in (near[:, 1:], far[:, :K]))
        return cls(who[:, 1:], whom[:, :K], Scored(*means))

    def relative(self, scored: Scored) -> Scored:
        """s / sqrt(m), with the score s of a row, not negative, and the mean m of its neighbours':
        the geometric mean of s and of s / m, but for a factor.

        What a score means differs from place to place: a row is as unusual as it is worse than
        those beside it. s / m alone, as local outlier factors have it (Breunig et al., SIGMOD
        2000), forgets how unusual all of them are.
        """
        floor = FLOOR * np.median(scored.train)

        def divided(scores: Floats, near: npt.NDArray[np.int64]) -> Floats:
            around = scored.train[near].mean(axis=1) + floor
            return (scores / np.sqrt(around)).astype(np.float32)

        return Scored(divided(scored.train, self.train), divided(scored.test, self.test))


def _relative(relative: bool, points: str) -> str:
    return ", " + RELATIVE.format(points=points) if relative else ""
