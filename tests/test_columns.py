"""Preprocessing as part of a trained model: training sees what the scorer computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_preprocess import one_feature

import vaelocity
from vaelocity import _core, models
from vaelocity.bundle import read_bundle
from vaelocity.models.columns import ColumnScaler, wrap_angle
from vaelocity.report.metrics import auc

NAMES = ["pt", "phi", "njets", "pt2", "met", "eta"]
STEPS: dict[str, Any] = {
    "clip": {"eta": (-3, 3), "njets": (None, 12)},
    "wrap": ["phi"],
    "log1p": ["pt", "pt2"],
    "mask_zeros": ["pt2"],
    "flag": ["met"],
    "impute": {"njets": 2},
}
VALUES = {name: STEPS[name] for name in ("clip", "wrap", "log1p", "impute")}
FIT: dict[str, Any] = {"epochs": 4, "batch_size": 64, "lr": 5e-3, "progress": False}


def events(n: int = 600, seed: int = 0) -> np.ndarray:
    """float32 [n, 6]: half without a second object, some with missing values, angles anywhere."""
    rng = np.random.default_rng(seed)
    pt = 20 * np.exp(rng.normal(size=n))
    pt2 = np.where(rng.random(n) < 0.5, 0, 0.5 * pt)
    njets, met, eta = rng.poisson(3, n), rng.exponential(30, n), rng.normal(size=n)
    rows = np.column_stack([pt, rng.uniform(0, 20, n), njets, pt2, met, eta]).astype(np.float32)
    rows[rng.random(n) < 0.1, 4] = np.nan
    rows[rng.random(n) < 0.1, 2] = np.inf
    return rows


MODELS: list[tuple[Callable[[], models.Autoencoder | models.VAE], list[str]]] = [
    (lambda: models.Autoencoder(6, 2, (16,), feature_names=NAMES), ["reconstruction"]),
    (
        lambda: models.VAE(6, 2, (16,), beta=0.1, feature_names=NAMES),
        ["reconstruction", "kl", "mu2", "rz", "elbo"],
    ),
]


@pytest.mark.parametrize(("make", "kinds"), MODELS, ids=["autoencoder", "vae"])
def test_a_file_scores_as_the_model_that_was_trained(
    make: Callable[[], models.VAE], kinds: list[str], tmp_path: Path
) -> None:
    model = make().preprocess(**STEPS).fit(events(), **FIT)
    path = tmp_path / "m.vael"
    model.save(path)
    metadata, _ = read_bundle(path)
    ops = [step["op"] for step in metadata["preprocess"]]
    assert ops == ["missing", "mask_zeros", "clip", "wrap", "log1p", "standardize"]
    rows = events(200, seed=1)
    rows[0, 0], rows[1, 5] = np.nan, -np.inf
    rows[2:40, 1] *= 100
    for kind in kinds:
        scorer = vaelocity.load(path, kind=kind)
        scores, flags = scorer.score(rows), scorer.flags(rows)
        assert np.array_equal(np.flatnonzero(np.isnan(scores)), [0, 1])
        lost = ~np.isfinite(rows[2:, [2, 4]]).all(axis=1)
        assert np.array_equal(flags[2:], np.where(lost, 4, 0))
        np.testing.assert_allclose(scores, model.score(rows, kind), rtol=2e-4, atol=2e-5)
        for isa in _core.available_isas():
            same = vaelocity.load(path, kind=kind, isa=isa).score(rows)
            assert np.array_equal(same, scores, equal_nan=True), isa
    parts = model.score_features(rows)
    np.testing.assert_allclose(
        parts, vaelocity.load(path).score_features(rows), rtol=2e-4, atol=2e-5
    )
    assert (parts[2:][rows[2:, 3] == 0, 3] == 0).all()
    again = models.load(path)
    assert np.array_equal(again.score(rows), model.score(rows), equal_nan=True)
    again.fit(events(), **FIT)
    again.save(path)


def test_what_is_left_out_has_no_part_in_training() -> None:
    """Weights, scaling and losses do not depend on what stands for a missing value."""
    found = []
    for absent in (np.nan, np.inf):
        rows = events()
        rows[:, 4] = np.where(np.isnan(rows[:, 4]), absent, rows[:, 4])
        model = models.Autoencoder(6, 2, (16,), feature_names=NAMES).preprocess(**STEPS)
        found.append(model.fit(rows, **FIT))
    a, b = (model.state_dict() for model in found)
    assert all(torch.equal(a[name], b[name]) for name in a if name != "examples")
    assert found[0].history == found[1].history
    rows = events()
    there = rows[:, 3] != 0
    mean, scale = found[0].scaler.mean, found[0].scaler.scale
    np.testing.assert_allclose(mean[3], np.log1p(rows[there, 3]).mean(), rtol=1e-5)
    np.testing.assert_allclose(scale[3], np.log1p(rows[there, 3]).std(), rtol=1e-5)


def test_it_learns_to_see_an_anomaly_in_an_angle() -> None:
    """With the angle wrapped, events that lie apart by whole turns are one kind of event."""
    rng = np.random.default_rng(0)

    def pairs(n: int, apart: float) -> np.ndarray:
        phi = rng.uniform(-1, 1, n)
        turns = 2 * np.pi * rng.integers(-2, 3, (n, 2))
        rows = np.column_stack([phi, phi + apart]) + 0.05 * rng.normal(size=(n, 2)) + turns
        return rows.astype(np.float32)

    normal, odd = pairs(300, 0), pairs(300, 0.8)
    areas = {}
    for name, wrap in (("wrapped", [0, 1]), ("as it is", [])):
        model = models.Autoencoder(2, 1, ()).preprocess(wrap=wrap)
        model.fit(pairs(2000, 0), epochs=20, batch_size=64, lr=1e-2, progress=False)
        areas[name] = auc(model.score(normal), model.score(odd)).value
    assert areas["wrapped"] > 0.97
    assert areas["as it is"] < 0.7


@pytest.mark.parametrize("family", ["DenoisingAutoencoder", "SparseAutoencoder", "Diffusion"])
def test_steps_of_values_are_for_every_family(family: str, tmp_path: Path) -> None:
    rows = events()
    rows[:, 4] = np.nan_to_num(rows[:, 4])
    model = getattr(models, family)(6, feature_names=NAMES).preprocess(**VALUES)
    model.fit(rows, epochs=1, progress=False)
    path = tmp_path / "m.vael"
    model.save(path)
    assert np.array_equal(models.load(path).score(rows), model.score(rows))
    if family != "Diffusion":
        np.testing.assert_allclose(
            vaelocity.load(path).score(rows), model.score(rows, "reconstruction"), rtol=1e-3
        )
    with pytest.raises(ValueError, match=f"mask_zeros, flag: not for a {family}"):
        getattr(models, family)(6).preprocess(mask_zeros=[0])


def test_a_reconstruction_is_in_the_units_of_the_features() -> None:
    rows = events()
    model = models.Autoencoder(6, 6, (), feature_names=NAMES).preprocess(**STEPS)
    model.fit(rows, epochs=300, batch_size=600, lr=2e-2, progress=False)
    there = np.isfinite(rows).all(axis=1) & (rows[:, 3] != 0) & (np.abs(rows[:, 5]) < 3)
    got, wanted = model.reconstruct(rows)[there], rows[there].copy()
    wanted[:, 1] = (wanted[:, 1] + np.pi) % (2 * np.pi) - np.pi
    others = [0, 1, 2, 4, 5]
    np.testing.assert_allclose(got[:, others], wanted[:, others], rtol=0.01, atol=0.01)
    # Of the column that is 0 in the network's eyes where there is no object.
    assert np.corrcoef(np.log1p(got[:, 3]), np.log1p(wanted[:, 3]))[0, 1] > 0.98
    x = torch.from_numpy(wanted)
    torch.testing.assert_close(model.scaler.inverse(model.scaler(x)), x, rtol=1e-4, atol=1e-4)


def test_an_angle_is_wrapped_as_the_scorer_does() -> None:
    seams = np.float32(np.pi * np.arange(-317, 318, 2))
    near = [seams + np.spacing(seams) * np.float32(k) for k in range(-3, 4)]
    x = np.concatenate([*near, [1e30, -1e30, 0, 2**20], np.linspace(-1e6, 1e6, 4001)])
    x = x.astype(np.float32)
    wanted = one_feature({"op": "wrap"}, x)
    assert np.array_equal(wrap_angle(torch.from_numpy(x)).numpy(), wanted)


def test_a_checkpoint_of_other_steps_is_not_gone_on_from(tmp_path: Path) -> None:
    rows = events()
    there = {"checkpoint": tmp_path / "c", **FIT}
    models.Autoencoder(6, 2, (8,)).preprocess(flag=[4], impute={2: 2}).fit(rows, **there)
    other = models.Autoencoder(6, 2, (8,)).preprocess(flag=[4], impute={2: 3})
    with pytest.raises(ValueError, match="checkpoint"):
        other.fit(rows, **there)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ({"wrap": ["psi"]}, "wrap: no column 'psi'"),
        ({"log1p": [6]}, "log1p: no column 6"),
        ({"log1p": [-1]}, "log1p: no column -1"),
        ({"log1p": ["pt", 0]}, "names a column twice"),
        ({"clip": {"pt": (2, 1)}}, "clip: 'pt' from 2 to 1 holds nothing"),
        ({"clip": {"pt": (np.nan, 1)}}, "clip: expected finite numbers, got nan"),
        ({"impute": {"pt": np.inf}}, "impute: expected finite numbers, got inf"),
        ({"flag": ["pt"], "impute": {"pt": 0}}, "flag, impute: 'pt' is in both"),
    ],
)
def test_what_is_wrong_is_named(steps: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        models.Autoencoder(6, feature_names=NAMES).preprocess(**steps)


def test_where_it_cannot_be() -> None:
    with pytest.raises(ValueError, match="preprocess: not for a ConvVAE, which scales images"):
        models.ConvVAE((1, 8, 8)).preprocess(log1p=[0])
    with pytest.raises(ValueError, match="a MaskedAutoencoder takes missing values itself"):
        models.MaskedAutoencoder(6).preprocess(flag=[0])
    rows = events()
    with pytest.raises(ValueError, match=r"X: .* rows hold a NaN or an infinity"):
        models.Autoencoder(6, 2).preprocess(flag=[4]).fit(rows, progress=False)
    model = models.Autoencoder(6, 2).preprocess(flag=[4], impute={2: 0}).fit(rows, **FIT)
    with pytest.raises(RuntimeError, match="preprocess: the model was fitted already"):
        model.preprocess(log1p=[0])
    assert isinstance(model.scaler, ColumnScaler)
    fresh = models.Autoencoder(6).preprocess(log1p=[0]).preprocess()
    assert not isinstance(fresh.scaler, ColumnScaler)
