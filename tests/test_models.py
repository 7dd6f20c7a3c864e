"""Models: what they refuse, their scores against float64, the latent space, saving and loading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import torch

import vaelocity
from vaelocity import models
from vaelocity.models import VAE, Autoencoder
from vaelocity.models.base import Model
from vaelocity.steps import ACTIVATIONS
from vaelocity.threshold import threshold_for

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    # Most models here have seen their rows for three epochs: whether they use their latent units is
    # not what is tested.
    pytest.mark.filterwarnings("ignore::vaelocity.models.posterior.PosteriorCollapse"),
]

ExactScore = Callable[[Path, np.ndarray, str], np.ndarray]
RNG = np.random.default_rng(4)
X = (RNG.normal(size=(300, 7)) * [1, 2, 0.1, 1, 30, 1, 1] + np.arange(7)).astype(np.float32)
X[:, 6] = X[:, 0] * X[:, 1]


def fitted(kind: str, **arguments: Any) -> Model:
    make = {"ae": Autoencoder, "vae": VAE}[kind]
    arguments = {"latent": 3, "hidden": (12, 8), **arguments}
    return make(7, **arguments).fit(X, X[:50], epochs=3, batch_size=64, lr=1e-2)


@pytest.fixture(scope="module")
def ae() -> Autoencoder:
    model = fitted("ae", feature_names=list("abcdefg"))
    assert isinstance(model, Autoencoder)
    return model


@pytest.fixture(scope="module")
def vae() -> VAE:
    model = fitted("vae", beta=0.3)
    assert isinstance(model, VAE)
    return model


# what they refuse


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n_features": 0}, "n_features: expected a positive integer, got 0"),
        ({"n_features": 2.0}, r"n_features: expected a positive integer, got 2\.0"),
        ({"n_features": True}, "n_features: expected a positive integer, got True"),
        ({"latent": 0}, "latent: expected a positive integer, got 0"),
        ({"hidden": (8, -1)}, "hidden: expected a positive integer, got -1"),
        ({"activation": "relux"}, "activation: expected one of identity, relu, .* got 'relux'"),
        ({"feature_names": ["a", "b"]}, "feature_names: expected 7 strings"),
        ({"feature_names": [1] * 7}, "feature_names: expected 7 strings"),
        ({"feature_names": list("abcdefa")}, "feature_names: a more than once"),
    ],
)
def test_the_constructor_names_the_argument_that_is_wrong(
    arguments: dict[str, Any], said: str
) -> None:
    for make in (Autoencoder, VAE):
        with pytest.raises(ValueError, match=said):
            make(**{"n_features": 7, **arguments})


@pytest.mark.parametrize("beta", [-0.1, float("nan"), float("inf")])
def test_beta_must_weigh(beta: float) -> None:
    with pytest.raises(ValueError, match="beta: expected a finite number of at least 0"):
        VAE(7, beta=beta)


def test_nothing_is_scored_before_fit(tmp_path: Path) -> None:
    model = VAE(7, latent=2)
    z = np.zeros((3, 2), np.float32)
    for use in (
        lambda: model.score(X),
        lambda: model.score_features(X),
        lambda: model.encode(X),
        lambda: model.decode(z),
        lambda: model.reconstruct(X),
        lambda: model.interpolate(X[0], X[1]),
        lambda: model.sample(3),
        lambda: model.save(tmp_path / "m.vael"),
    ):
        with pytest.raises(RuntimeError, match="this VAE was not fitted"):
            use()
    assert list(tmp_path.iterdir()) == []


def test_what_is_asked_of_a_fitted_model(ae: Autoencoder, vae: VAE, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind: expected one of reconstruction for Autoencoder"):
        ae.score(X, "kl")
    with pytest.raises(ValueError, match="kind: expected one of reconstruction, kl, mu2, rz, elbo"):
        vae.save(tmp_path / "m.vael", kind="loudness")
    with pytest.raises(ValueError, match=r"X: expected shape \(n, 7\), got \(300, 6\)"):
        ae.score(X[:, :6])
    with pytest.raises(TypeError, match="X: expected floats, got int64"):
        ae.encode(X.astype(int))
    with pytest.raises(ValueError, match=r"z: expected shape \(n, 3\), got \(2, 4\)"):
        ae.decode(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="steps: expected at least 2, got 1"):
        ae.interpolate(X[0], X[1], steps=1)
    with pytest.raises(ValueError, match="a, b: expected two of one shape"):
        ae.interpolate(X[0], X[:2])
    with pytest.raises(ValueError, match="n: expected an integer of at least 0, got -1"):
        vae.sample(-1)
    assert list(tmp_path.iterdir()) == []


# scores


def agrees(scores: np.ndarray, exact: np.ndarray) -> None:
    """1e-5 relative to the score, or to a typical one: a small one may cancel large terms."""
    assert scores.dtype == np.float32
    error = np.abs(scores - exact) / (np.abs(exact) + np.abs(exact).mean())
    assert error.max() < 1e-5, error.max()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("kind", ["ae", "vae"])
def test_torch_the_scorer_and_float64_agree_and_what_is_loaded_scores_the_same_bits(
    kind: str, batch_norm: bool, activation: str, tmp_path: Path, exact_score: ExactScore
) -> None:
    model = fitted(kind, batch_norm=batch_norm, activation=activation)
    path = tmp_path / "m.vael"
    model.save(path)
    again = models.load(path)
    assert type(again) is type(model)
    for each in model.kinds:
        scores = model.score(X, each)
        exact = exact_score(path, X, each)
        agrees(scores, exact)
        agrees(vaelocity.load(path, kind=each).score(X), exact)
        assert np.array_equal(again.score(X, each), scores)
    features = model.score_features(X)
    np.testing.assert_allclose(features.sum(1), model.score(X), rtol=1e-5)
    np.testing.assert_allclose(
        vaelocity.load(path).score_features(X), features, rtol=1e-3, atol=1e-5 * features.max()
    )
    # It can be trained on, and the file says from where.
    again.fit(X, epochs=1)
    assert again.history["epoch"] == [*model.history["epoch"], 4]


def test_batch_norm_acts(tmp_path: Path) -> None:
    plain, normed = fitted("ae"), fitted("ae", batch_norm=True)
    assert not np.array_equal(plain.score(X), normed.score(X))
    assert any("norm.running_mean" in name for name in normed.state_dict())
    normed.save(tmp_path / "m.vael")
    network = vaelocity.load(tmp_path / "m.vael").metadata["encoder"]
    assert {step["op"] for step in network} == {"dense"}


def test_score_kinds_are_their_formulas(vae: VAE) -> None:
    """In float64, from mu and the reconstruction alone."""
    mu = vae.encode(X).astype(np.float64)
    scale = vae.scaler.scale.numpy().astype(np.float64)
    reconstruction = 0.5 * (((vae.reconstruct(X) - X.astype(np.float64)) / scale) ** 2).sum(1)
    np.testing.assert_allclose(vae.score(X), reconstruction, rtol=1e-4)
    np.testing.assert_allclose(vae.score(X, "mu2"), (mu**2).sum(1), rtol=1e-5)
    kl, rz, elbo = (vae.score(X, kind).astype(np.float64) for kind in ("kl", "rz", "elbo"))
    np.testing.assert_allclose(elbo, reconstruction + vae.beta * kl, rtol=1e-4)
    assert (kl > 0).all()
    assert (rz > 0).all()
    assert len({tuple(vae.score(X, kind)[:5]) for kind in vae.kinds}) == 5


def test_a_row_that_is_not_finite_scores_nan_and_an_overflow_the_largest_number(
    ae: Autoencoder, tmp_path: Path
) -> None:
    rows = X[:5].copy()
    rows[1, 2], rows[2, 6], rows[3] = np.nan, -np.inf, 3e38
    scores = ae.score(rows)
    assert np.isnan(scores[[1, 2]]).all()
    assert scores[3] == np.finfo(np.float32).max
    assert np.array_equal(scores[[0, 4]], ae.score(rows[[0, 4]]))
    for method in (ae.encode, ae.reconstruct, ae.score_features):
        assert np.isnan(method(rows)[[1, 2]]).all()
        assert np.isfinite(method(rows)[[0, 4]]).all()
    ae.save(tmp_path / "m.vael")
    frozen = vaelocity.load(tmp_path / "m.vael").score(rows)
    assert np.array_equal(np.isnan(frozen), np.isnan(scores))
    assert frozen[3] == scores[3]


def test_scores_do_not_depend_on_who_holds_the_rows_or_on_the_mode(ae: Autoencoder) -> None:
    expected = ae.score(X)
    for rows in (torch.from_numpy(X), X.astype(np.float64), np.asfortranarray(X)):
        assert np.array_equal(ae.score(rows), expected)
    normed = fitted("ae", batch_norm=True)
    expected = normed.score(X)
    normed.train()
    assert np.array_equal(normed.score(X), expected)
    assert normed.training


def test_forward_is_differentiable(ae: Autoencoder) -> None:
    rows = torch.from_numpy(X[:4]).requires_grad_()
    y = ae(rows)
    np.testing.assert_allclose(y.detach().numpy(), ae.reconstruct(X[:4]), rtol=1e-4, atol=1e-4)
    (gradient,) = torch.autograd.grad(y.sum(), rows)
    assert gradient.abs().sum() > 0


# the latent space


def test_encode_decode_and_interpolate(ae: Autoencoder) -> None:
    z = ae.encode(X)
    assert (z.shape, z.dtype) == ((300, 3), np.float32)
    assert np.array_equal(ae.decode(z), ae.reconstruct(X))
    way = ae.interpolate(X[0], X[1], steps=5)
    assert way.shape == (5, 7)
    np.testing.assert_allclose(way[[0, -1]], ae.reconstruct(X[:2]), rtol=1e-5, atol=1e-5)
    middle = ae.decode((z[:1] + z[1:2]) / 2)
    np.testing.assert_allclose(way[2:3], middle, rtol=1e-4, atol=1e-4)
    many = ae.interpolate(X[:4], X[4:8], steps=3)
    assert many.shape == (4, 3, 7)
    np.testing.assert_allclose(many[:, 0], ae.reconstruct(X[:4]), rtol=1e-5, atol=1e-5)


def test_samples_look_like_the_rows_it_learned() -> None:
    rng = np.random.default_rng(8)
    a = rng.normal(size=2000)
    rows = np.column_stack([10 + a, 5 * a, -a, a**2]).astype(np.float32)
    model = VAE(4, latent=2, hidden=(16,), beta=0.1).fit(rows, epochs=60, batch_size=100, lr=5e-3)
    samples = model.sample(2000, seed=1)
    assert (samples.shape, samples.dtype) == ((2000, 4), np.float32)
    assert np.array_equal(samples, model.sample(2000, seed=1))
    assert not np.array_equal(samples, model.sample(2000, seed=2))
    assert model.sample(0).shape == (0, 4)
    assert (np.abs(samples.mean(0) - rows.mean(0)) < 0.2 * rows.std(0)).all()
    assert (samples.std(0) > 0.7 * rows.std(0)).all()
    # The columns hang together as they do in the rows: they were not drawn one by one.
    assert np.corrcoef(samples[:, 0], samples[:, 1])[0, 1] > 0.95
    assert np.corrcoef(samples[:, 0], samples[:, 2])[0, 1] < -0.95


# saving and loading


def test_what_a_file_keeps(ae: Autoencoder, tmp_path: Path) -> None:
    path = tmp_path / "m.vael"
    threshold = threshold_for(ae.score(X), fpr=0.05)
    ae.save(path, thresholds=[threshold])
    again = models.load(path)
    assert again.arguments() == ae.arguments()
    assert again.feature_names == list("abcdefg")
    assert again.history == ae.history
    assert again.provenance == ae.provenance
    assert again.thresholds == [replace(threshold, model=vaelocity.load(path).identity)]
    scorer = vaelocity.load(path)
    assert scorer.predict(X).sum() == (ae.score(X) > np.float32(threshold.value)).sum()
    # Saved again it keeps its thresholds; trained again its scores are others, and they go.
    again.save(tmp_path / "again.vael")
    assert vaelocity.load(tmp_path / "again.vael").thresholds == scorer.thresholds
    assert np.array_equal(vaelocity.load(tmp_path / "again.vael").score(X), scorer.score(X))
    assert again.fit(X, epochs=1).thresholds == []


def test_the_kind_a_file_is_saved_with_and_its_thresholds(vae: VAE, tmp_path: Path) -> None:
    path = tmp_path / "m.vael"
    kl = threshold_for(vae.score(X, "kl"), fpr=0.1, kind="kl")
    mu2 = threshold_for(vae.score(X, "mu2"), fpr=0.1, kind="mu2")
    vae.save(path, kind="kl", thresholds=[kl, mu2])
    assert vaelocity.load(path).kind == "kl"
    assert vaelocity.load(path).threshold() == kl.value
    assert vaelocity.load(path, kind="mu2").threshold() == mu2.value
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"thresholds: fpr=0\.1 more than once for kl"):
        vae.save(path, thresholds=[kl, kl])
    with pytest.raises(TypeError, match="thresholds: expected Threshold, got float"):
        vae.save(path, thresholds=[1.5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="is for 'kl' scores, which Autoencoder does not have"):
        fitted("ae").save(path, thresholds=[kl])
    assert path.read_bytes() == before


def test_the_file_promises_rows_of_its_own(ae: Autoencoder, tmp_path: Path) -> None:
    path = tmp_path / "m.vael"
    ae.save(path, conformance=X[:17])
    from vaelocity.bundle import read_bundle

    metadata, tensors = read_bundle(path)
    rows = tensors[metadata["conformance"]["rows"]]
    assert np.array_equal(rows[:17], X[:17])
    flags = tensors[metadata["conformance"]["flags"]["reconstruction"]]
    assert set(flags.tolist()) == {0, 1, 2}


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    model = fitted("ae")
    with torch.no_grad():
        model.decoder.dense()[0].linear.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"decoder\.0\.weight is not finite"):
        model.save(tmp_path / "m.vael")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_kind_of_model(make_bundle: Callable[..., Path]) -> None:
    with pytest.raises(vaelocity.BundleError, match="module: unknown class 'none'"):
        models.load(make_bundle([7, 5, 2]))
