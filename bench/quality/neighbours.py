"""Nearest neighbours: of rows, the best of the published methods, what there is to reach; of the
codes of an autoencoder; and scores relative to those of the neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from task import Floats, Scored, Task

from vaelocity import models
from vaelocity.models.base import Model
from vaelocity.models.latent import LatentModel
from vaelocity.models.neighbour_score import NeighbourScore
from vaelocity.models.neighbourhood import Nearest, Neighbourhood
from vaelocity.models.relative import floor_of, relative

if TYPE_CHECKING:
    from families import Family

K = 5

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
        neighbourhood = Neighbourhood(task.train, K)
        own, others = neighbourhood.nearest_to_own(), neighbourhood.nearest(task.test)
        plain = own.distance
        if not self.relative:
            return Scored(plain, others.distance)
        floor = floor_of(plain)

        def divided(near: Nearest) -> Floats:
            return relative(near.distance, plain, near.who, floor)

        return Scored(divided(own), divided(others))

    def text(self) -> str:
        """The configuration, to be told from another."""
        return f"mean distance to the {K} nearest training rows" + _relative(self.relative, "rows")

    def training_text(self) -> str:
        """As of the families that learn."""
        return self.text()


@dataclass(frozen=True)
class CodeNeighbours:
    """`models.CodeNeighbours` of an autoencoder of the family `coder`."""

    coder: Family
    relative: bool = False
    looked_at: None = None

    def train(self, task: Task, seed: int) -> Model:
        """The autoencoder."""
        return self.coder.train(task, seed)

    def score(self, model: Model, task: Task) -> Scored:
        """Of all rows; a training row is not its own neighbour."""
        assert isinstance(model, LatentModel)
        return _scored(models.CodeNeighbours(model, task.train, K, self.relative), task)

    def text(self) -> str:
        """The configuration, to be told from another."""
        text = f"mean distance to the {K} nearest codes, standardised, of {self.training_text()}"
        return text + _relative(self.relative, "codes")

    def training_text(self) -> str:
        """That of the autoencoder: both are scores of the same model."""
        return self.coder.training_text()


@dataclass(frozen=True)
class Relative:
    """`models.RelativeScore` of a family's model."""

    family: Family
    looked_at: None = None

    def train(self, task: Task, seed: int) -> Model:
        """The family's model."""
        return self.family.train(task, seed)

    def score(self, model: Model, task: Task) -> Scored:
        """Of all rows; a training row is not its own neighbour."""
        return _scored(models.RelativeScore(model, task.train, K, self.family.kind), task)

    def text(self) -> str:
        """The configuration, to be told from another."""
        return self.family.text() + _relative(True, "rows")

    def training_text(self) -> str:
        """That of the family: both are scores of the same model."""
        return self.family.training_text()


def _scored(score: NeighbourScore, task: Task) -> Scored:
    return Scored(score.score_training(), score.score(task.test))


def _relative(relative: bool, points: str) -> str:
    return ", " + RELATIVE.format(points=points) if relative else ""
