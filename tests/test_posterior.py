"""What the posterior of a VAE tells: units, nats, the bound, a collapse; warm-up and free bits."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

from vaelocity.models import VAE, Autoencoder
from vaelocity.models.posterior import (
    PosteriorCollapse,
    active_units,
    importance_weighted_bound,
    kl_per_dimension,
    norm_correlation,
)
from vaelocity.models.random_codes import random_codes

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def plane(n: int, seed: int = 0) -> np.ndarray:
    """n rows of eight features that two normal numbers determine, but for noise of 0.5."""
    mixing = np.random.default_rng(99).normal(size=(2, 8))
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 2)) @ mixing + 0.5 * rng.normal(size=(n, 8))
    return rows.astype(np.float32)


X, TEST = plane(2000), plane(500, seed=1)


@pytest.fixture(scope="module")
def vae() -> VAE:
    return VAE(8, latent=4, hidden=(32,)).fit(X, epochs=25, batch_size=64, lr=3e-3, patience=None)


def test_units_in_use_carry_the_nats(vae: VAE) -> None:
    kl, active = kl_per_dimension(vae, TEST), active_units(vae, TEST)
    assert kl.shape == active.shape == (4,)
    np.testing.assert_allclose(kl.sum(), vae.score(TEST, "kl").mean(), rtol=1e-4)
    assert 2 <= active.sum() < 4  # the rows have two dimensions
    assert kl[active].min() > 5 * kl[~active].max()


def test_the_bound_rises_with_the_samples_to_the_likelihood_of_a_linear_model() -> None:
    """A linear VAE with beta = 1 is probabilistic PCA with noise of variance 1 (Lucas et al.,
    arXiv:1911.02469), of which the likelihood is a normal density."""
    model = VAE(8, latent=2, hidden=(), beta=1.0).fit(
        X, epochs=40, batch_size=64, lr=1e-2, patience=None, schedule="cosine"
    )
    bounds = [float(importance_weighted_bound(model, TEST, k).mean()) for k in (1, 16, 256)]
    assert bounds[0] < bounds[1] < bounds[2]
    layer = model.decoder.dense()[0].linear
    weight, bias = (p.detach().double().numpy() for p in (layer.weight, layer.bias))
    covariance = weight @ weight.T + np.eye(8)
    x = (TEST - model.scaler.mean.numpy()) / model.scaler.scale.numpy() - bias
    mahalanobis = np.einsum("ni,ij,nj->n", x, np.linalg.inv(covariance), x)
    exact = -0.5 * (mahalanobis + np.linalg.slogdet(covariance)[1] + 8 * np.log(2 * np.pi))
    assert bounds[2] == pytest.approx(exact.mean(), abs=0.02)
    elbo = -model.score(TEST, "elbo").mean() - 4 * np.log(2 * np.pi)
    assert elbo > bounds[0]  # the score is taken at z = mu, where the error is least


def test_the_bound_says_what_it_was_asked_wrongly(vae: VAE) -> None:
    with pytest.raises(ValueError, match="k: expected at least 1, got 0"):
        importance_weighted_bound(vae, TEST, k=0)
    broken = TEST[:2].copy()
    broken[1, 3] = np.nan
    assert np.array_equal(np.isnan(importance_weighted_bound(vae, broken)), [False, True])


@pytest.fixture(scope="module")
def collapsed() -> VAE:
    model = VAE(8, latent=4, hidden=(32,), beta=30.0)
    with pytest.warns(PosteriorCollapse, match="the rows move none of the 4 latent units"):
        model.fit(X, epochs=10, batch_size=64, lr=3e-3, patience=None)
    return model


def test_a_collapse_is_seen(collapsed: VAE) -> None:
    assert not active_units(collapsed, TEST).any()
    assert norm_correlation(collapsed, TEST) > 0.99


def test_a_report_says_what_a_vae_keeps(vae: VAE, collapsed: VAE) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra vaelocity[report]")
    from vaelocity.report.posterior_section import section

    found = section("VAE", vae, TEST)
    used = int(active_units(vae, TEST).sum())
    assert found.text[0].startswith(f"{used} of 4 latent units are in use")
    alike = norm_correlation(vae, TEST)
    assert f"correlation of its reconstruction score with that norm is {alike:.2f}" in found.text[1]
    values = {row[0]: float(row[1]) for row in found.grids[0].rows}
    one, many, lacks, nats = values.values()
    assert one == pytest.approx(importance_weighted_bound(vae, TEST, 1).mean(), abs=0.01)
    assert one < many
    assert lacks == pytest.approx(many - one, abs=0.02)
    assert nats == pytest.approx(kl_per_dimension(vae, TEST).sum(), abs=0.01)
    assert found.pictures[0].png.startswith(b"\x89PNG")

    said = section("VAE", collapsed, TEST).text
    assert said[0].startswith("0 of 4 latent units are in use")
    assert "This one has collapsed like that" in said[1]
    assert "takes 100 normal events, not 99" in section("VAE", vae, TEST[:99]).text[0]


def test_a_vae_that_learned_is_not_the_squared_norm(vae: VAE) -> None:
    assert norm_correlation(vae, TEST) < 0.85
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae.after_fit(vae.examples)


def test_warm_up_and_free_bits_leave_more_in_the_units() -> None:
    training = {"epochs": 8, "batch_size": 100, "lr": 3e-3, "patience": None}
    nats = {}
    for name, arguments in {
        "plain": {},
        "warm": {"warmup": 400},
        "free": {"free_bits": 0.5},
    }.items():
        model = VAE(8, latent=4, hidden=(32,), beta=2.0, **arguments).fit(X, **training)
        nats[name] = float(kl_per_dimension(model, TEST).sum())
    assert nats["warm"] > 1.2 * nats["plain"]
    assert nats["free"] > 1.2 * nats["plain"]
    assert nats["free"] > 4 * 0.5 * 0.8


def test_warm_up_ends_and_goes_on_where_it_was() -> None:
    arguments = {"latent": 2, "hidden": (8,), "warmup": 30}
    whole = VAE(8, **arguments).fit(X, epochs=4, batch_size=200)
    parts = VAE(8, **arguments).fit(X, epochs=1, batch_size=200).fit(X, epochs=3, batch_size=200)
    assert float(whole.steps) == 40
    assert np.array_equal(whole.score(TEST), parts.score(TEST))


def test_random_codes_of_a_vae_are_like_the_data_and_those_of_an_autoencoder_are_not(
    vae: VAE,
) -> None:
    t = np.random.default_rng(0).uniform(0, 2 * np.pi, size=1500)
    waves = [wave(k * t) for k in (1, 2, 3) for wave in (np.cos, np.sin)]
    rows = np.column_stack(waves).astype(np.float32)  # a closed line in six dimensions
    training = {"epochs": 30, "batch_size": 64, "lr": 3e-3, "patience": None}
    found = {
        model: random_codes(
            model(6, latent=4, hidden=(32,), **arguments).fit(rows[:1000], **training), rows[1000:]
        )
        for model, arguments in ((VAE, {"beta": 0.1}), (Autoencoder, {}))
    }
    assert found[VAE].density > 2 * found[Autoencoder].density
    assert found[VAE].coverage > found[Autoencoder].coverage
    with pytest.raises(ValueError, match=r"X, n: expected more than 5 rows and codes"):
        random_codes(vae, TEST[:5])
