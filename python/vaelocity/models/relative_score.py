"""The score of a model, relative to that of the training rows around."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaelocity.models.base import Floats, Model
from vaelocity.models.latent import LatentModel
from vaelocity.models.neighbour_score import NeighbourScore, Placed
from vaelocity.models.neighbourhood import Nearest
from vaelocity.models.rows import Rows, as_rows


class RelativeScore(NeighbourScore):
    """s / sqrt(m): the score s of a row, with the mean score m of the nearest training rows, to
    which a tenth of the median score of all of them is added.

    A model errs more in some places than in others, and a row is as unusual as it is worse than
    those beside it. The exponent is 1/2: of 0, 1/4, 1/2, 3/4 and 1 it is the best on 14 sets of
    ADBench (bench/results/quality/mixtures.md). There it is worth 0.3 points of mean AUROC to a
    `DenoisingAutoencoder` and 0.8 to a `MaskedAutoencoder` by kind="masked_error". Scores that may
    be negative, as that model's "masked", cannot be relative.

    Near is what is near in the features as the model sees them, preprocessed and standardised.

    Args:
        model: fitted.
        X: the rows it was trained on, [N, n_features], finite; or other normal rows.
        neighbours: of each row, fewer than N.
        kind: of the model's scores; None is its own.

    Raises:
        ValueError: rows that are not finite or too few, an unknown kind, scores of X that are
            negative, or 0 for half of the rows.
        TypeError: no model, rows of another dtype.
        RuntimeError: a model that was not fitted.
        ImportError: without scikit-learn (vaelocity[neighbours]).
    """

    def __init__(self, model: Model, X: Rows, neighbours: int = 5, kind: str | None = None) -> None:
        if not isinstance(model, Model):
            raise TypeError(f"model: expected a model, got {type(model).__name__}")
        self.kind = model._checked_kind(kind)
        super().__init__(model, X, neighbours, relative=True)

    def _points(self, rows: Rows) -> Floats:
        """A value that is missing stays NaN, one beyond float32 is float32's largest."""
        model, largest = self.model, torch.finfo(torch.float32).max

        def points(x: Tensor) -> Tensor:
            x = model.scaler(x)
            return (model.seen(x) if isinstance(model, LatentModel) else x).clamp(-largest, largest)

        return model._batched(points, as_rows(rows, model.n_features, "X"))

    def _plain(self, rows: Rows, placed: Placed, near: Nearest) -> Floats:
        scores: Floats = self.model.score(rows, self.kind)[placed]
        return scores

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "kind": self.kind}

    def _take(self, settings: dict[str, Any], arrays: dict[str, Floats]) -> None:
        super()._take(settings, arrays)
        self.kind = self.model._checked_kind(settings["kind"])
