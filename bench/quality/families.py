"""One configuration for every family of models, the same for all sets. A family is one entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from neighbours import CodeNeighbours, Neighbours, Relative
from task import Floats, Scored, Task

from vaelocity import models
from vaelocity.models.base import Model
from vaelocity.models.ensemble import centre_and_spread

LOOKED_AT = (
    "annthyroid",
    "cardio",
    "cardiotocography",
    "magic.gamma",
    "mnist",
    "optdigits",
    "pima",
    "satellite",
    "thyroid",
    "vowels",
)
"""Sets whose labels had a part in the choice of the autoencoders. Widths, noise, beta and kinds of
score were chosen on annthyroid, cardio, pima and vowels; prototypes were tried on cardiotocography,
magic.gamma and thyroid, too; that tanh does better than relu was first seen with a diffusion model
on mnist, optdigits and satellite among others."""


@dataclass(frozen=True)
class Family:
    """A model and how it is trained.

    model: its class; arguments: of the constructor, but for n_features; kind: of the score, None
    for the model's own; fit: arguments of `fit`; looked_at: the sets on whose labels it was chosen,
    None for all; longer: how many times the steps of a task; left_out: the share of the rows that
    have the highest scores after a first, short training, and that the training itself does not
    see: anomalies are to be among them.
    """

    model: Callable[..., Model]
    arguments: dict[str, Any]
    kind: str | None = None
    batch_size: int = 64
    fit: dict[str, Any] = field(default_factory=lambda: {"lr": 3e-3, "schedule": "cosine"})
    looked_at: Sequence[str] | None = LOOKED_AT
    longer: int = 1
    left_out: float = 0.0

    def train(self, task: Task, seed: int) -> Model:
        """The model after so many steps as the task has, times `longer`."""
        if self.left_out:
            scores = self.score(self._fitted(task, seed, FIRST * task.steps), task).train
            kept = scores <= np.quantile(scores, 1 - self.left_out)
            task = replace(task, train=task.train[kept])
        return self._fitted(task, seed, task.steps * self.longer)

    def _fitted(self, task: Task, seed: int, steps: float) -> Model:
        epochs = max(1, round(steps / -(-len(task.train) // self.batch_size)))
        return self.model(task.train.shape[1], **self.arguments).fit(
            task.train,
            epochs=epochs,
            batch_size=self.batch_size,
            seed=seed,
            patience=None,
            progress=False,
            **self.fit,
        )

    def score(self, model: Model, task: Task) -> Scored:
        """All rows, by what `train` gave."""
        return Scored(model.score(task.train, self.kind), model.score(task.test, self.kind))

    def text(self) -> str:
        """The configuration, to be told from another."""
        name = getattr(self.model, "__name__", str(self.model))
        text = f"{name} {self.arguments}, {self.kind}, batches of {self.batch_size}, {self.fit}"
        if self.longer != 1:
            text += f", {self.longer} times the steps"
        if self.left_out:
            text += (
                f", without the {self.left_out:.0%} of the rows that have the highest scores after "
                f"{FIRST} of the steps"
            )
        return text

    def training_text(self) -> str:
        """The configuration without the kind of score."""
        return replace(self, kind=None).text()


FIRST = 0.3
"""Of the steps, in the short training that says which rows are left out."""

TANH: dict[str, Any] = {"hidden": (128,), "activation": "tanh"}


def _generative(
    model: Callable[..., Model],
    arguments: dict[str, Any],
    kind: str | None,
    batch_size: int,
) -> Family:
    """The times and the weighting of diffusion's score, the sizes and the loss of the GAN were
    chosen with the labels of all sets in sight."""
    fit = {"lr": 1e-3, "schedule": "cosine"}
    return Family(model, arguments, kind, batch_size, fit, looked_at=None)


def _wide(model: Callable[..., Model], arguments: dict[str, Any], kind: str) -> Family:
    """Four times the weights and three times the steps of the other autoencoders, which large sets
    can use."""
    fit = {"lr": 1e-3, "schedule": "cosine", "weight_decay": 0.01}
    wide = {**arguments, "hidden": (256, 128)}
    return Family(model, wide, kind, 128, fit, looked_at=None, longer=3)


DENOISING = Family(models.DenoisingAutoencoder, {"latent": 64, "level": 1.0, **TANH})
MASKED = Family(
    models.MaskedAutoencoder, {"hidden": (128, 128), "activation": "tanh"}, "masked_error"
)

FAMILIES: dict[str, Family | CodeNeighbours | Neighbours | Relative] = {
    "denoising": DENOISING,
    "masked": MASKED,
    "VAE": Family(models.VAE, {"latent": 16, "beta": 0.3, **TANH}, "elbo"),
    "AE": Family(models.Autoencoder, {"latent": 4, **TANH}),
    "VAE, wide": _wide(models.VAE, {"latent": 16, "beta": 0.1}, "elbo"),
    "masked, wide": _wide(models.MaskedAutoencoder, {}, "masked"),
    "sparse": Family(models.SparseAutoencoder, {"latent": 128, "penalty": 0.3, **TANH}),
    "diffusion": _generative(models.Diffusion, {}, "denoising", 256),
    "diffusion time": _generative(models.Diffusion, {}, "diffusion_time", 256),
    "GAN": _generative(models.GAN, {"hidden": (128, 128)}, "reconstruction", 128),
    "adversarial": _generative(models.AdversarialAutoencoder, {"latent": 4}, None, 128),
    "VAE-GAN": _generative(models.VAEGAN, {"latent": 4}, None, 128),
    "masked, trimmed": replace(MASKED, left_out=0.25, looked_at=None),
    "codes of denoising": CodeNeighbours(DENOISING),
    "5 neighbours": Neighbours(),
    "denoising, relative": Relative(DENOISING),
    "masked, relative": Relative(MASKED),
    "codes of denoising, relative": CodeNeighbours(DENOISING, relative=True),
    "5 neighbours, relative": Neighbours(relative=True),
}


@dataclass(frozen=True)
class Ensemble:
    """Members: families, of whose scores the mean is taken; by: how the scores are standardised
    before that, `quartiles` or `deviation`; see `together`."""

    members: tuple[str, ...]
    by: str = "quartiles"


BY = {"quartiles": "by median and quartiles", "deviation": "by mean and standard deviation"}

ENSEMBLES = {
    "error and codes, relative": Ensemble(
        ("denoising, relative", "codes of denoising, relative"), "deviation"
    ),
    "error and rows, relative": Ensemble(
        ("denoising, relative", "5 neighbours, relative"), "deviation"
    ),
    "ensemble": Ensemble(("denoising", "masked", "VAE", "AE")),
    "ensemble of six": Ensemble(("denoising", "masked", "VAE", "AE", "VAE, wide", "masked, wide")),
    "error and codes": Ensemble(("denoising", "codes of denoising")),
}
"""How far a row is from its reconstruction, and its code, or itself, from others; one of each kind
of autoencoder; and two in another size beside them."""

_DENSE = ("denoising", "masked", "VAE", "AE")

MEASURED: dict[str, tuple[str, ...]] = {
    "semi_supervised": tuple(name for name in FAMILIES if name != "masked, trimmed"),
    "unsupervised": (*_DENSE, "masked, trimmed"),
    "jets": _DENSE,
}
"""The families of every protocol's table. Trimming is for anomalies among the training rows."""


def together(members: Sequence[Scored], by: str) -> Scored:
    """The mean of scores of the same rows, standardised over the rows that were trained on, as
    `models.Ensemble` does it; by: see there."""
    places = [centre_and_spread(each.train, by) for each in members]

    def mean(parts: Sequence[Floats]) -> Floats:
        each = [(x - centre) / spread for x, (centre, spread) in zip(parts, places, strict=True)]
        return np.mean(each, axis=0)

    return Scored(mean([each.train for each in members]), mean([each.test for each in members]))


def trained_alike(name: str) -> list[str]:
    """The families that are scores of the same model, this one first."""
    text = FAMILIES[name].training_text()
    others = (each for each, family in FAMILIES.items() if family.training_text() == text)
    return [name, *(each for each in others if each != name)]


def texts() -> dict[str, str]:
    """Every configuration, to be told from another."""
    found = {name: family.text() for name, family in FAMILIES.items()}
    together = {
        name: f"{BY[ensemble.by]}: " + "; ".join(found[each] for each in ensemble.members)
        for name, ensemble in ENSEMBLES.items()
    }
    return {**found, **together}
