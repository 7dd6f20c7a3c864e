"""Preprocessing by column, the loss and bounds as the GPU kernels read them. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.preprocess import COLUMNS, columns_of, leaves_out
from vaelocity.structure import LOSSES

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Columns:
    """What is done to each column of a row.

    rows      float32 [2 + k, n_features]: mean, inverse scale, and the arrays of
              vaelocity.preprocess.COLUMNS that the file needs
    places    COLUMNS of kernels/score_columns.py without the last one, `pinned`
    """

    rows: Floats
    places: tuple[int, ...]

    @property
    def n_features(self) -> int:
        """Columns of a row."""
        count: int = self.rows.shape[1]
        return count

    @property
    def only_standardized(self) -> bool:
        """Is there no step before standardising?"""
        return not any(self.places)

    def constants(self, pinned: bool) -> tuple[int, ...]:
        """COLUMNS of kernels/score_columns.py: all 0 where nothing is done but standardising."""
        return (*self.places, int(pinned and not self.only_standardized))

    def padded(self, width: int) -> Floats:
        """The rows, each with 0 up to `width`: float32 [2 + k, width].

        A padding of 0 stays 0: no missing value, no absent object, clipped to [0, 0].
        """
        return np.pad(self.rows, ((0, 0), (0, width - self.n_features)))


def columns(metadata: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Columns:
    """The columns of a bundle that `read_bundle` has verified."""
    step = metadata["preprocess"][-1]
    arrays = columns_of(metadata)
    rows = [tensors[step["mean"]], np.reciprocal(tensors[step["scale"]]), *arrays.values()]
    at = {name: 2 + i for i, name in enumerate(arrays)}
    places = tuple(at.get(name, 0) for name in COLUMNS)
    return Columns(np.stack(rows), (*places, int(leaves_out(metadata))))


@dataclass(frozen=True)
class Loss:
    """One of vaelocity.structure.LOSSES, with huber's delta."""

    kind: str = "squared_error"
    delta: float = 1.0

    @property
    def constants(self) -> tuple[int, float]:
        """LOSS of kernels/score_loss.py. The delta of other losses is none of the kernel's."""
        delta = self.delta if self.kind == "huber" else 1.0
        return LOSSES.index(self.kind), delta


def loss(metadata: Mapping[str, Any]) -> Loss:
    """The loss of a verified bundle, its delta rounded to float32."""
    score = metadata["score"]
    delta = float(np.float32(score.get("delta", 1.0)))
    return Loss(score.get("loss", "squared_error"), delta)
