"""One configuration for every family of models, the same for all sets. A family is one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity import models
from vaelocity.models.base import Model

LOOKED_AT = ("annthyroid", "cardio", "pima", "vowels")
"""The sets on whose labels the configurations were chosen; the other ten were not looked at."""

STEPS = 1000

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Family:
    """A model and how it is trained.

    model: its class; arguments: of the constructor, but for n_features; kind: of the score, None
    for the model's own; fit: arguments of `fit`.
    """

    model: Callable[..., Model]
    arguments: dict[str, Any]
    kind: str | None = None
    batch_size: int = 64
    fit: dict[str, Any] = field(default_factory=lambda: {"lr": 3e-3, "schedule": "cosine"})

    def train(self, rows: Floats, seed: int, steps: int = STEPS) -> Model:
        """The model trained on rows. So many steps and not epochs: a small set is seen more often
        than a large one."""
        epochs = max(1, round(steps / -(-len(rows) // self.batch_size)))
        return self.model(rows.shape[1], **self.arguments).fit(
            rows,
            epochs=epochs,
            batch_size=self.batch_size,
            seed=seed,
            patience=None,
            progress=False,
            **self.fit,
        )

    def score(self, train: Floats, test: Floats, seed: int, steps: int = STEPS) -> Floats:
        """The scores of `test` by a model trained on `train`."""
        return self.train(train, seed, steps).score(test, self.kind)

    def text(self) -> str:
        """The configuration, to be told from another."""
        name = getattr(self.model, "__name__", str(self.model))
        return f"{name} {self.arguments} {self.kind} {self.batch_size} {self.fit} {STEPS}"


@dataclass(frozen=True)
class Together:
    """The ensemble of several families, each trained with a seed of its own."""

    members: tuple[Family, ...]

    def score(self, train: Floats, test: Floats, seed: int, steps: int = STEPS) -> Floats:
        """The mean of the members' scores, standardised over `train`."""
        n = len(self.members)
        trained = [
            _Scored(family.train(train, n * seed + i, steps), family.kind)
            for i, family in enumerate(self.members)
        ]
        return models.Ensemble(trained, train).score(test)

    def text(self) -> str:
        """The configuration, to be told from another."""
        return " + ".join(family.text() for family in self.members)


@dataclass(frozen=True)
class _Scored:
    model: Model
    kind: str | None

    def score(self, X: Floats) -> Floats:
        return self.model.score(X, self.kind)


TANH: dict[str, Any] = {"hidden": (128,), "activation": "tanh"}

DENOISING = Family(models.DenoisingAutoencoder, {"latent": 64, "level": 1.0, **TANH})
MASKED = Family(
    models.MaskedAutoencoder, {"hidden": (128, 128), "activation": "tanh"}, "masked_error"
)

FAMILIES: dict[str, Family | Together] = {
    "denoising": DENOISING,
    "masked": MASKED,
    "VAE": Family(models.VAE, {"latent": 16, "beta": 0.3, **TANH}, "elbo"),
    "AE": Family(models.Autoencoder, {"latent": 4, **TANH}),
    "sparse": Family(models.SparseAutoencoder, {"latent": 128, "penalty": 0.3, **TANH}),
    "ensemble": Together((DENOISING, DENOISING, MASKED)),
}
