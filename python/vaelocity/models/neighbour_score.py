"""What the scores that look at neighbours have in common: training rows, files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from vaelocity.bundle import BundleError
from vaelocity.models import neighbour_files
from vaelocity.models.base import Floats, Model, positive
from vaelocity.models.columns import ColumnScaler
from vaelocity.models.load import load
from vaelocity.models.neighbourhood import Nearest, Neighbourhood
from vaelocity.models.relative import floor_of, relative
from vaelocity.models.rows import Rows, as_rows, as_training_rows

Placed = npt.NDArray[np.bool_]


class NeighbourScore(ABC):
    """A score of a model's that knows the training rows around a row.

    All training rows are kept, as points: scoring takes time that grows with their number. Once the
    model has been trained further these are another model's: score and save raise RuntimeError.

    model       that was given
    neighbours  how many of each row are looked at
    relative    whether the score is relative to that of the neighbours
    """

    arrays: ClassVar[tuple[str, ...]] = ("points", "plain", "training")
    """What the file of the training rows holds: their points [N, p], their scores before they are
    made relative and after, [N]; all float32."""

    def __init__(self, model: Model, X: Rows, neighbours: int, relative: bool) -> None:
        model._check_fitted()
        self.model, self.relative, self._epochs = model, relative, _epochs(model)
        self.neighbours = positive(neighbours, "neighbours")
        scorable = model.scaler.scorable if isinstance(model.scaler, ColumnScaler) else None
        rows = as_training_rows(X, model.n_features, "X", scorable=scorable)
        near = self._settle(self._training_points(rows))
        self._plain_training = self._plain(rows, np.ones(len(rows), np.bool_), near)
        self._training = self._made_relative(self._plain_training, near)

    # ---- What a score defines

    @abstractmethod
    def _points(self, rows: Rows) -> Floats:
        """Where rows [n, n_features] lie: float32 [n, p], NaN for one that has no place."""

    @abstractmethod
    def _plain(self, rows: Rows, placed: Placed, near: Nearest) -> Floats:
        """The score of the rows that are `placed`, before it is made relative; near: of these."""

    def _training_points(self, rows: Rows) -> Floats:
        """Those of the training rows."""
        return self._points(rows)

    # ---- Scores

    @property
    def n_features(self) -> int:
        """Of the model."""
        return self.model.n_features

    def score(self, X: Rows) -> Floats:
        """Anomaly scores: float32 [n], higher is more anomalous.

        A row of which the model has no score, or that has a value missing, scores NaN; a score
        beyond float32 is float32's largest number. A row that was trained on is its own neighbour
        here: see `score_training`.

        Args:
            X: [n, n_features], as for the model.

        Raises:
            TypeError, ValueError: as of the model's `score`.
        """
        self._check_model()
        rows = as_rows(X, self.n_features, "X")
        points = self._points(rows)
        placed: Placed = np.all(np.isfinite(points), axis=1)
        found = np.full(len(points), np.nan, np.float32)
        if placed.any():
            near = self._neighbourhood.nearest(points[placed])
            found[placed] = self._made_relative(self._plain(rows, placed, near), near)
        return found

    def score_training(self) -> Floats:
        """The scores of the training rows, float32 [N] in their order, none of which is its own
        neighbour: what scores of other rows are compared with, and standardised by."""
        return self._training.copy()

    def _check_model(self) -> None:
        if _epochs(self.model) != self._epochs:
            raise RuntimeError(
                f"model: it was trained further since this {type(self).__name__} was made of it: "
                "make another one"
            )

    def _settle(self, points: Floats) -> Nearest:
        """Keep the points of the training rows; who is nearest to each."""
        self._neighbourhood = Neighbourhood(points, self.neighbours)
        return self._neighbourhood.nearest_to_own()

    def _made_relative(self, plain: Floats, near: Nearest) -> Floats:
        if not self.relative:
            return plain
        training = self._plain_training
        return relative(plain, training, near.who, floor_of(training))

    # ---- Files

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder: model.vael, training.safetensors with the training rows' points and
        scores, and neighbours.json, which is written last and says which these have to be. Files of
        the same names are replaced."""
        self._check_model()
        neighbour_files.write(folder, self.model, self._settings(), self._arrays())

    @classmethod
    def load(cls, folder: str | os.PathLike[str], classes: Sequence[type[Model]] = ()) -> Self:
        """The score that `save` wrote: the same, bit for bit on one machine.

        classes: of models of your own, see `models.load`.

        Raises:
            OSError: a file cannot be read.
            BundleError: a file is damaged, or is not the one that was saved.
            ImportError: without scikit-learn.
        """
        settings, arrays = neighbour_files.read(folder, cls.__name__, cls.arrays)
        found = cls.__new__(cls)
        found.model = load(Path(folder) / neighbour_files.MODEL, classes)
        found._epochs = _epochs(found.model)
        try:
            found._take(settings, arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"{os.fspath(folder)}: no score can be made of it: {error}"
            ) from error
        return found

    def _settings(self) -> dict[str, Any]:
        """Of the index, as JSON."""
        return {
            "score": type(self).__name__,
            "neighbours": self.neighbours,
            "relative": self.relative,
        }

    def _arrays(self) -> dict[str, Floats]:
        """Of the file of the training rows."""
        return {
            "points": self._neighbourhood.points,
            "plain": self._plain_training,
            "training": self._training,
        }

    def _take(self, settings: dict[str, Any], arrays: dict[str, Floats]) -> None:
        """The inverse of both."""
        self.neighbours, self.relative = settings["neighbours"], settings["relative"]
        self._neighbourhood = Neighbourhood(arrays["points"], self.neighbours)
        self._plain_training, self._training = arrays["plain"], arrays["training"]
        if not len(self._training) == len(self._plain_training) == len(arrays["points"]):
            raise ValueError("the training rows have not one score each")


def _epochs(model: Model) -> int:
    """That the model has been trained for."""
    return len(model.history.get("epoch", ()))
