"""The rows of a training: checked, in memory on one device, with their weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelocity.models.rows import Rows, as_training_rows, as_weight


@dataclass(frozen=True)
class TrainingData:
    """x: float32 [n, n_features], finite; weight: float32 [n] of mean 1, or None; x_val and
    weight_val the same for validation, x_val None without."""

    x: Tensor
    weight: Tensor | None
    x_val: Tensor | None
    weight_val: Tensor | None

    def to(self, device: torch.device) -> Self:
        """The same on another device."""

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device)

        return replace(
            self,
            x=self.x.to(device),
            weight=moved(self.weight),
            x_val=moved(self.x_val),
            weight_val=moved(self.weight_val),
        )

    def held_out(self, fraction: float, seed: int) -> TrainingData:
        """A random part of the rows becomes the validation rows.

        Raises ValueError unless 0 < fraction < 1 leaves rows on both sides.
        """
        n = len(self.x)
        n_val = round(fraction * n)
        if not 0 < fraction < 1 or not 0 < n_val < n:
            raise ValueError(
                f"validation_fraction: {fraction!r} of {n} rows leaves none on one side"
            )
        order = np.random.default_rng([seed, n]).permutation(n)
        held, kept = (torch.from_numpy(np.sort(part)) for part in (order[:n_val], order[n_val:]))
        weights = [None if self.weight is None else self.weight[part] for part in (kept, held)]
        return TrainingData(
            self.x[kept],
            as_weight(weights[0], len(kept), "weight"),
            self.x[held],
            as_weight(weights[1], len(held), "weight of the rows held out"),
        )

    def some_rows(self, most: int) -> npt.NDArray[np.float32]:
        """At most so many of the training rows, evenly spaced."""
        n = len(self.x)
        kept = torch.linspace(0, n - 1, min(n, most), dtype=torch.float64).round().long()
        return self.x[kept.to(self.x.device)].cpu().numpy()

    def digest(self) -> str:
        """SHA-256 of everything that training sees."""
        return _sha256([self.x, self.weight, self.x_val, self.weight_val])

    def rows_digest(self) -> str:
        """SHA-256 of the training rows: of little-endian float32 in C order."""
        return _sha256([self.x])


def training_data(
    n_features: int,
    X: Rows,
    weight: npt.ArrayLike | Tensor | None,
    X_val: Rows | None,
    weight_val: npt.ArrayLike | Tensor | None,
) -> TrainingData:
    """Check what `Model.fit` was given; the errors name its arguments."""
    x = as_training_rows(X, n_features, "X")
    if X_val is None:
        if weight_val is not None:
            raise ValueError("weight_val: given without X_val")
        return TrainingData(x, as_weight(weight, len(x), "weight"), None, None)
    x_val = as_training_rows(X_val, n_features, "X_val")
    return TrainingData(
        x,
        as_weight(weight, len(x), "weight"),
        x_val,
        as_weight(weight_val, len(x_val), "weight_val"),
    )


def _sha256(tensors: Iterable[Tensor | None]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        if tensor is not None:
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
