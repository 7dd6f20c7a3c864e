"""The rows of a training: checked, in memory on one device, with their weights and labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelocity.models.rows import Rows, Scorable, as_label, as_training_rows, as_weight


@dataclass(frozen=True)
class Part:
    """Rows to train on, or to validate on.

    x: float32 [n, n_features], finite, or with what the model takes for missing values; weight:
    float32 [n] of mean 1, or None; label: int64 [n], or None.
    """

    x: Tensor
    weight: Tensor | None = None
    label: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def tensors(self) -> list[Tensor]:
        """Those that there are."""
        return [tensor for tensor in (self.x, self.weight, self.label) if tensor is not None]

    def to(self, device: torch.device) -> Part:
        """The same on another device."""
        weight, label = self.weight, self.label
        return Part(
            self.x.to(device),
            None if weight is None else weight.to(device),
            None if label is None else label.to(device),
        )

    def pick(self, index: Tensor) -> Part:
        """The rows `index`, int64 [m], with their weights as they are."""
        weight, label = self.weight, self.label
        return Part(
            self.x.index_select(0, index),
            None if weight is None else weight.index_select(0, index),
            None if label is None else label.index_select(0, index),
        )

    def cut(self, rows: slice) -> Part:
        """Neighbouring rows, with their weights as they are; no copy."""
        weight, label = self.weight, self.label
        return Part(
            self.x[rows],
            None if weight is None else weight[rows],
            None if label is None else label[rows],
        )

    def take(self, index: Tensor, name: str) -> Part:
        """Some of the rows, their weights scaled to mean 1 anew."""
        return Part(
            self.x[index],
            as_weight(None if self.weight is None else self.weight[index], len(index), name),
            None if self.label is None else self.label[index],
        )


@dataclass(frozen=True)
class TrainingData:
    """The rows to train on and, where there are any, those to validate on."""

    train: Part
    validation: Part | None

    def to(self, device: torch.device) -> TrainingData:
        """The same on another device."""
        held = self.validation
        return TrainingData(self.train.to(device), None if held is None else held.to(device))

    def labelled(
        self,
        label: npt.ArrayLike | Tensor | None,
        label_val: npt.ArrayLike | Tensor | None,
        n_classes: int,
    ) -> TrainingData:
        """The same with labels, for a model of n_classes; 0 takes none.

        Raises ValueError for labels that the model does not know, or lacks.
        """
        train = replace(self.train, label=as_label(label, len(self.train), n_classes, "label"))
        held = self.validation
        if held is None:
            if label_val is not None:
                raise ValueError("label_val: given without X_val")
            return TrainingData(train, None)
        label_held = as_label(label_val, len(held), n_classes, "label_val")
        return TrainingData(train, replace(held, label=label_held))

    def held_out(self, fraction: float, seed: int) -> TrainingData:
        """A random part of the rows becomes the validation rows.

        Raises ValueError unless 0 < fraction < 1 leaves rows on both sides.
        """
        n = len(self.train)
        n_val = round(fraction * n)
        if not 0 < fraction < 1 or not 0 < n_val < n:
            raise ValueError(
                f"validation_fraction: {fraction!r} of {n} rows leaves none on one side"
            )
        order = np.random.default_rng([seed, n]).permutation(n)
        held, kept = (torch.from_numpy(np.sort(part)) for part in (order[:n_val], order[n_val:]))
        return TrainingData(
            self.train.take(kept, "weight"),
            self.train.take(held, "weight of the rows held out"),
        )

    def some_rows(self, most: int) -> npt.NDArray[np.float32]:
        """At most so many of the training rows, evenly spaced."""
        x = self.train.x
        kept = torch.linspace(0, len(x) - 1, min(len(x), most), dtype=torch.float64).round().long()
        return x[kept.to(x.device)].cpu().numpy()

    def digest(self) -> str:
        """SHA-256 of everything that training sees."""
        held = [] if self.validation is None else self.validation.tensors()
        return _sha256([*self.train.tensors(), *held])

    def rows_digest(self) -> str:
        """SHA-256 of the training rows: of little-endian float32 in C order."""
        return _sha256([self.train.x])


def training_data(
    n_features: int,
    X: Rows,
    weight: npt.ArrayLike | Tensor | None,
    X_val: Rows | None,
    weight_val: npt.ArrayLike | Tensor | None,
    missing: bool = False,
    scorable: Scorable | None = None,
) -> TrainingData:
    """Check what `Model.fit` was given; the errors name its arguments. missing: a NaN may stand
    for a value that is not there; scorable: of a model that deals with some missing values."""
    x = as_training_rows(X, n_features, "X", missing, scorable)
    train = Part(x, as_weight(weight, len(x), "weight"))
    if X_val is None:
        if weight_val is not None:
            raise ValueError("weight_val: given without X_val")
        return TrainingData(train, None)
    x_val = as_training_rows(X_val, n_features, "X_val", missing, scorable)
    return TrainingData(train, Part(x_val, as_weight(weight_val, len(x_val), "weight_val")))


def _sha256(tensors: list[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
