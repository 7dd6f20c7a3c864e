"""Adversarial autoencoder and VAE-GAN: what the adversary changes, and that it does not cost the
reconstruction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

from ring import off_the_ring, ring
from scipy.stats import kstest

from vaelocity.models import VAEGAN, AdversarialAutoencoder
from vaelocity.report.metrics import auc

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    # Some are trained for an epoch or two.
    pytest.mark.filterwarnings("ignore::vaelocity.models.posterior.PosteriorCollapse"),
]

ARC = ring(2048, 0, (0, np.pi))


def aae(weight: float) -> AdversarialAutoencoder:
    model = AdversarialAutoencoder(2, latent=1, hidden=(64, 64), adversarial_weight=weight)
    return model.fit(ARC, epochs=20, batch_size=128, lr=2e-3)


def vaegan(weight: float) -> VAEGAN:
    model = VAEGAN(2, latent=2, hidden=(64, 64), beta=0.1, adversarial_weight=weight)
    return model.fit(ring(2048), epochs=25, batch_size=128, lr=2e-3)


def test_the_latent_space_becomes_that_of_the_prior() -> None:
    """Angles are uniform on the arc; the latent coordinate is nevertheless N(0, 1)."""
    plain, model = aae(0.0), aae(1.0)
    distances = [kstest(each.encode(ARC)[:, 0], "norm").statistic for each in (plain, model)]
    assert distances[1] < 0.15 < distances[0]
    # So random codes decode to the whole arc, not to a part of it.
    rows = model.sample(2000, seed=1)
    octants, _ = np.histogram(np.arctan2(rows[:, 1], rows[:, 0]), 8, (0, np.pi))
    assert octants.min() > 50
    assert off_the_ring(rows) < 0.15
    # What is minimised beside it has been: 1 is the mean of the standardised row's 1/2 ||x||^2.
    assert model.score(ARC).mean() < 0.1
    assert model.history["lambda"] == [1.0] * 20


def test_decoded_rows_become_more_like_real_ones() -> None:
    plain, model = vaegan(0.0), vaegan(1.0)
    off = [off_the_ring(each.sample(2000, seed=1)) for each in (plain, model)]
    assert off[1] < 0.8 * off[0]
    assert auc(model.score(ring(1000, 7)), model.score(4 * ring(1000, 7))).value > 0.99
    assert model.score(ring(1000, 7)).mean() < 0.05
    assert model.history["lambda"] == [1.0] * 25
    terms = {name: values[-1] for name, values in model.history.items()}
    whole = terms["reconstruction"] + 0.1 * terms["kl"] + terms["adversarial"]
    assert terms["loss"] == pytest.approx(whole, rel=1e-5)
    # Neither of the two has won.
    assert 0.5 < terms["adversarial"] < 1.0
    assert 1.0 < terms["discriminator_loss"] < 1.6


@pytest.mark.parametrize("make", [AdversarialAutoencoder, VAEGAN])
def test_the_weight_must_weigh(make: Any) -> None:
    for weight in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="adversarial_weight: expected a finite number of at"):
            make(2, adversarial_weight=weight)
    with pytest.raises(ValueError, match="latent: expected a positive integer, got 0"):
        make(2, latent=0)
    with pytest.raises(ValueError, match="n: expected an integer of at least 0, got -1"):
        make(2, latent=1).sample(-1)
