"""The training steps without autograd's graph, and what a loop may be asked for beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vaelocity import models
from vaelocity.steps import ACTIVATIONS

_RANDOM = np.random.default_rng(5)
ROWS = (_RANDOM.normal(size=(600, 3)) @ _RANDOM.normal(size=(3, 11))).astype(np.float32)


class AutoencoderByAutograd(models.Autoencoder):
    """A subclass may have terms of its own, so that it is differentiated by autograd."""


class VAEByAutograd(models.VAE):
    """The same for the VAE."""


BY_AUTOGRAD = {models.Autoencoder: AutoencoderByAutograd, models.VAE: VAEByAutograd}


@pytest.mark.parametrize("kind", BY_AUTOGRAD, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_step_without_a_graph_gives_the_bits_of_autograd(
    kind: type[models.Autoencoder | models.VAE], activation: str
) -> None:
    weight = np.random.default_rng(6).uniform(size=len(ROWS))
    found = []
    gentle = {"beta": 0.01} if kind is models.VAE else {}  # few steps must not collapse
    for each in (kind, BY_AUTOGRAD[kind]):
        model = each(11, latent=3, hidden=(9, 7), activation=activation, **gentle)
        model.fit(ROWS, epochs=6, batch_size=70, lr=1e-2, seed=2, weight=weight, progress=False)
        found.append(model)
    short, long = found
    assert short.step_without_graph(None) is not None
    assert long.step_without_graph(None) is None
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


def test_the_learning_rate_falls_along_a_cosine() -> None:
    """With lr falling to 0 the last step moves the weights less than the first by far."""
    moved = []
    for schedule in ("constant", "cosine"):
        model = models.Autoencoder(11, latent=3, hidden=(9,))
        model.fit(ROWS, epochs=1, batch_size=len(ROWS), progress=False, schedule=schedule)
        first = torch.cat([p.detach().flatten() for p in model.parameters()])
        model = models.Autoencoder(11, latent=3, hidden=(9,))
        model.fit(ROWS, epochs=20, batch_size=len(ROWS), progress=False, schedule=schedule)
        last = torch.cat([p.detach().flatten() for p in model.parameters()])
        moved.append(float((last - first).norm()))
    # The mean of the cosine is one half.
    assert 0.3 < moved[1] / moved[0] < 0.75


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
