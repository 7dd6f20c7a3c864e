"""GAN: what it learns, its two scores, what it draws, with labels and without."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import torch
from ring import middle, off_the_ring, ring

from vaelocity.models import GAN
from vaelocity.models.adversary import adversarial_loss, discriminator_loss
from vaelocity.models.spectral import normalise
from vaelocity.report.metrics import auc

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def trained(lr: float = 1e-3, **arguments: object) -> GAN:
    model = GAN(2, latent=2, hidden=(64, 64), ema=0.99, **arguments)  # type: ignore[arg-type]
    label = None
    if model.n_classes:
        label = (ring(4096)[:, 1] < 0).astype(np.int64)  # 0 above, 1 below
    return model.fit(ring(4096), label=label, epochs=25, batch_size=128, lr=lr)


@pytest.fixture(scope="module")
def model() -> GAN:
    return trained()


@pytest.fixture(scope="module")
def halves() -> GAN:
    return trained(n_classes=2)


def test_samples_lie_on_the_ring_all_around(model: GAN) -> None:
    rows = model.sample(2000, seed=1)
    assert rows.dtype == np.float32
    # The ring itself is 0.04 off, a Gaussian of its covariance 0.39.
    assert off_the_ring(rows) < 0.12
    octants, _ = np.histogram(np.arctan2(rows[:, 1], rows[:, 0]), 8, (-np.pi, np.pi))
    assert octants.min() > 80


def test_both_scores_find_what_a_collapsed_model_calls_normal(model: GAN) -> None:
    normal, odd = ring(1000, 7), middle(1000)
    assert auc(model.score(normal), model.score(odd)).value > 0.8
    scores = (model.score(rows, "discriminator") for rows in (normal, odd))
    assert auc(*scores).value > 0.9


def test_the_hinge_loss_with_spectral_norm_learns_as_well() -> None:
    model = trained(lr=3e-4, loss="hinge", spectral_norm=True, gradient_penalty=0.0)
    assert off_the_ring(model.sample(2000)) < 0.25


def test_samples_are_named_by_their_seed(model: GAN) -> None:
    rows = model.sample(1500, seed=3)
    assert np.array_equal(model.sample(1500, seed=3), rows)
    np.testing.assert_allclose(model.sample(5, seed=3), rows[:5], rtol=1e-4, atol=1e-5)
    assert not np.array_equal(model.sample(1500, seed=4), rows)
    assert model.sample(0).shape == (0, 2)


def test_samples_show_the_label_that_was_asked_for(halves: GAN) -> None:
    for label, upper in ((0, True), (1, False)):
        assert ((halves.sample(500, label=label)[:, 1] > 0) == upper).mean() > 0.9
    each = np.arange(500) % 2
    assert ((halves.sample(500, label=each)[:, 1] > 0) == (each == 0)).mean() > 0.9
    assert np.array_equal(halves.sample(500), halves.sample(500, label=each))


def test_a_score_is_that_of_the_label_that_fits_best(halves: GAN) -> None:
    rows = torch.from_numpy(ring(50))
    x = halves.scaler(rows)
    with torch.inference_mode():
        logits = [halves.discriminator(x, torch.full((50,), k))[:, 0] for k in range(2)]
    expected = -torch.maximum(*logits)
    np.testing.assert_allclose(halves.score(rows, "discriminator"), expected, rtol=1e-5)
    assert auc(halves.score(ring(500, 7)), halves.score(middle(500))).value > 0.6


def test_losses_are_their_formulas() -> None:
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, 0.0, 1.0])
    assert discriminator_loss(real, fake, "hinge").tolist() == [0.0, 1.5, 4.0]
    assert adversarial_loss(fake, "hinge").tolist() == [2.0, 0.0, -1.0]
    sigmoid = torch.sigmoid
    exact = -torch.log(sigmoid(real)) - torch.log(1 - sigmoid(fake))
    torch.testing.assert_close(discriminator_loss(real, fake, "non_saturating"), exact)
    exact = -torch.log(sigmoid(fake))
    torch.testing.assert_close(adversarial_loss(fake, "non_saturating"), exact)


@pytest.mark.parametrize("layer", [torch.nn.Linear(7, 5), torch.nn.Conv2d(3, 6, 3)])
def test_spectral_norm_divides_by_the_largest_singular_value(layer: torch.nn.Module) -> None:
    weight = layer.weight.detach().clone()
    generator = torch.Generator().manual_seed(0)
    state = torch.random.get_rng_state()
    normalise(layer)
    for module in layer.modules():
        if hasattr(module, "initialise"):
            module.initialise(generator)
    assert torch.equal(torch.random.get_rng_state(), state)
    for _ in range(200):
        normed = layer.weight
    exact = weight / torch.linalg.matrix_norm(weight.flatten(1), 2)
    torch.testing.assert_close(normed, exact, rtol=1e-4, atol=1e-6)
    layer.eval()
    assert torch.equal(layer.weight, layer.weight)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"latent": 0}, "latent: expected a positive integer, got 0"),
        ({"loss": "wasserstein"}, "loss: expected one of hinge, non_saturating, got 'wasserstein'"),
        ({"n_classes": 1.0}, r"n_classes: expected an integer of at least 0, got 1\.0"),
        ({"ema": 2}, "ema: expected a number from 0 to 1, got 2"),
    ],
)
def test_the_constructor_names_the_argument_that_is_wrong(
    arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        GAN(2, **arguments)  # type: ignore[arg-type]


def test_what_is_asked_of_a_fitted_model(model: GAN, halves: GAN) -> None:
    with pytest.raises(ValueError, match="n: expected an integer of at least 0, got -1"):
        model.sample(-1)
    with pytest.raises(ValueError, match="label: this model has no classes"):
        model.sample(1, label=0)
    with pytest.raises(ValueError, match="label: expected integers from 0 to 1, got -1 at 0"):
        halves.sample(2, label=[-1, 2])
    with pytest.raises(RuntimeError, match="this GAN was not fitted"):
        GAN(2, hidden=(4,)).sample(1)


def test_an_overflow_is_the_most_anomalous_score_not_the_most_normal(model: GAN) -> None:
    rows = np.full((4, 2), 3e38, np.float32) * np.array([[1, 1], [-1, 1], [1, -1], [-1, -1]])
    found = model.score(rows.astype(np.float32), "discriminator")
    assert np.isfinite(found).all()


def test_validation_has_no_penalty_in_its_history() -> None:
    model = GAN(2, latent=2, hidden=(8,)).fit(ring(200), ring(50), epochs=1)
    assert "discriminator_gradient" in model.history
    assert "val_discriminator_loss" in model.history
    assert "val_discriminator_gradient" not in model.history
