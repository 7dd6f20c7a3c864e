"""How far the code of a row is from those of training rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from vaelocity.models.base import Floats, nan_unless
from vaelocity.models.latent import LatentModel
from vaelocity.models.neighbour_score import NeighbourScore, Placed
from vaelocity.models.neighbourhood import Nearest
from vaelocity.models.rows import Rows, as_rows

DEAD = 1e-6
"""Deviation of a latent unit that says nothing."""

_LARGEST = float(np.finfo(np.float32).max)


class CodeNeighbours(NeighbourScore):
    """The mean distance of a row's code to the nearest codes of training rows, all standardised.

    Beside the reconstruction error this is the other part of a row: how unusual is what the decoder
    can show, as T^2 stands beside Q where processes are watched by principal components (Jackson
    and Mudholkar, Technometrics 21 (1979) 341). The distance itself is what DTE-NP takes of rows
    (Livernoche et al., arXiv:2305.18593, section 4.1).

    Args:
        model: fitted, with a latent space.
        X: the rows it was trained on, [N, n_features], finite; or other normal rows.
        neighbours: of each row, fewer than N.
        relative: divide by the root of the mean distance of the neighbours themselves, see
            `RelativeScore`: better beside an error (`error_and_codes`), not by itself
            (bench/results/quality/mixtures.md).

    Raises: as `RelativeScore`, and TypeError for a model without a latent space.
    """

    arrays: ClassVar[tuple[str, ...]] = (*NeighbourScore.arrays, "centre", "spread")
    model: LatentModel

    def __init__(
        self, model: LatentModel, X: Rows, neighbours: int = 5, relative: bool = True
    ) -> None:
        if not isinstance(model, LatentModel):
            raise TypeError(f"model: expected one with a latent space, got {type(model).__name__}")
        super().__init__(model, X, neighbours, bool(relative))

    def _points(self, rows: Rows) -> Floats:
        return self._standardised(self._codes(rows))

    def _training_points(self, rows: Rows) -> Floats:
        codes = self._codes(rows)
        self._centre, spread = codes.mean(axis=0), codes.std(axis=0)
        self._spread = np.where(spread > DEAD, spread, np.float32(1))
        return self._standardised(codes)

    def _standardised(self, codes: Floats) -> Floats:
        with np.errstate(over="ignore"):
            found: Floats = np.clip((codes - self._centre) / self._spread, -_LARGEST, _LARGEST)
        return found

    def _codes(self, rows: Rows) -> Floats:
        """`encode`, but that a code beyond float32 is float32's largest."""
        model = self.model

        def codes(x: Tensor) -> Tensor:
            z = model.point(model.scaler(x)).nan_to_num(_LARGEST, _LARGEST, -_LARGEST)
            return nan_unless(model._scorable(x), z)

        return model._batched(codes, as_rows(rows, model.n_features, "X"))

    def _plain(self, rows: Rows, placed: Placed, near: Nearest) -> Floats:
        return near.distance

    def _arrays(self) -> dict[str, Floats]:
        return {**super()._arrays(), "centre": self._centre, "spread": self._spread}

    def _take(self, settings: dict[str, Any], arrays: dict[str, Floats]) -> None:
        super()._take(settings, arrays)
        self._centre, self._spread = arrays["centre"], arrays["spread"]
