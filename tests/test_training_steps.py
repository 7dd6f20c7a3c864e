"""The training steps without autograd's graph, and what a loop may be asked for beside them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import torch

from vaelocity import models
from vaelocity.models.base import Model
from vaelocity.models.spectral import normalise
from vaelocity.steps import ACTIVATIONS
from vaelocity.training_optimizers import InLine
from vaelocity.training_steps import Steps

pytestmark = pytest.mark.usefixtures("one_torch_thread")

_RANDOM = np.random.default_rng(5)
ROWS = (_RANDOM.normal(size=(600, 3)) @ _RANDOM.normal(size=(3, 11))).astype(np.float32)


class AutoencoderByAutograd(models.Autoencoder):
    """A subclass may have terms of its own, so that it is differentiated by autograd."""


class VAEByAutograd(models.VAE):
    """The same for the VAE."""


def differentiated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The classes of the models whose steps go through autograd from here on, one entry a step."""
    found: list[str] = []
    real = Steps._backpropagated

    def noted(self: Any, *arguments: Any) -> Any:
        found.append(type(self.model).__name__)
        return real(self, *arguments)

    monkeypatch.setattr(Steps, "_backpropagated", noted)
    return found


BY_AUTOGRAD = {models.Autoencoder: AutoencoderByAutograd, models.VAE: VAEByAutograd}


@pytest.mark.parametrize("kind", BY_AUTOGRAD, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_step_without_a_graph_gives_the_bits_of_autograd(
    kind: type[models.Autoencoder | models.VAE],
    activation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    through_autograd = differentiated(monkeypatch)
    weight = np.random.default_rng(6).uniform(size=len(ROWS))
    found = []
    gentle = {"beta": 0.01} if kind is models.VAE else {}  # few steps must not collapse
    for each in (kind, BY_AUTOGRAD[kind]):
        model = each(11, latent=3, hidden=(9, 7), activation=activation, **gentle)
        model.fit(ROWS, epochs=6, batch_size=70, lr=1e-2, seed=2, weight=weight, progress=False)
        found.append(model)
    assert set(through_autograd) == {BY_AUTOGRAD[kind].__name__}
    short, long = found
    assert short.history == long.history
    for name, values in short.state_dict().items():
        assert torch.equal(values, long.state_dict()[name]), name


def test_layers_that_are_not_trained_stay_as_they_are() -> None:
    model = models.Autoencoder(11, latent=3, hidden=(9,))
    model.fit(ROWS, epochs=1, progress=False)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(False)
    model.fit(ROWS, epochs=1, progress=False)
    after = model.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder"}


def test_a_frozen_part_of_a_game_stays_as_it_is() -> None:
    model = models.AdversarialAutoencoder(11, latent=3, hidden=(9,))
    model.fit(ROWS, epochs=1, progress=False)
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(False)
    before = {name: values.clone() for name, values in model.encoder.state_dict().items()}
    model.fit(ROWS, epochs=1, progress=False)
    for name, values in model.encoder.state_dict().items():
        assert torch.equal(values, before[name])


def test_weights_that_are_made_of_others_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    through_autograd = differentiated(monkeypatch)
    model = models.Autoencoder(11, latent=3, hidden=(9,))
    normalise(model.encoder)
    model.fit(ROWS, epochs=1, progress=False)
    assert through_autograd
    original = model.encoder.dense()[0].linear.parametrizations["weight"].original
    before = original.detach().clone()
    model.fit(ROWS, epochs=1, progress=False)
    assert not torch.equal(original, before)


def learning_rates(fit: Callable[[], Model], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Of every step."""
    found = []
    real = InLine.step

    def step(self: InLine, *arguments: Any) -> Any:
        found.append(float(self.param_groups[0]["lr"]))
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(InLine, "step", step)
        fit()
    return found


def test_the_learning_rate_falls_along_a_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the epochs of the call, from lr towards 0; another call begins anew."""
    model = models.Autoencoder(11, latent=3, hidden=(9,))

    def fit() -> Model:
        return model.fit(ROWS, epochs=5, batch_size=200, progress=False, schedule="cosine", lr=0.01)

    steps = 5 * 3
    expected = [0.005 * (1 + math.cos(math.pi * i / steps)) for i in range(steps)]
    for _ in range(2):
        np.testing.assert_allclose(learning_rates(fit, monkeypatch), expected, rtol=1e-12)


def test_weight_decay_shrinks_the_weights() -> None:
    norms = []
    for weight_decay in (0.0, 5.0):
        model = models.Autoencoder(11, latent=3, hidden=(9,))
        model.fit(ROWS, epochs=30, progress=False, lr=1e-2, weight_decay=weight_decay)
        norms.append(float(sum(p.detach().square().sum() for p in model.parameters())))
    assert norms[1] < 0.5 * norms[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": "linear"}, "schedule: expected constant or cosine, got 'linear'"),
        ({"weight_decay": -1.0}, "weight_decay: expected a number of at least 0, got -1.0"),
        ({"label": np.zeros(600, int)}, r"label: this model has no classes \(n_classes\)"),
        ({"label_val": np.zeros(600, int)}, "label_val: given without X_val"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    model = models.Autoencoder(11, latent=3)
    with pytest.raises(ValueError, match=message):
        model.fit(ROWS, epochs=1, progress=False, **arguments)  # type: ignore[arg-type]
