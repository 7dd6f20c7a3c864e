"""Losses and latent spaces beside the squared error of a point: float64, bits, both readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from physics_networks import edges, network, promised
from test_preprocess import by_core, by_python, load

import vaelocity
from vaelocity import _core
from vaelocity.bundle import BundleError, bundle_bytes
from vaelocity.frozen_score import exact_features, exact_score

ISAS = _core.available_isas()
LOSSES = ("squared_error", "absolute_error", "huber", "bce_with_logits")


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_agrees_with_float64(loss: str) -> None:
    metadata, tensors = network(loss=loss, delta=0.5)
    rows = (0.5 + np.random.default_rng(0).normal(size=(40, 19))).astype(np.float32)
    model = load(bundle_bytes(metadata, tensors))
    np.testing.assert_allclose(model.score(rows), exact_score(metadata, tensors, rows), rtol=1e-5)
    parts = model.features(rows)
    np.testing.assert_allclose(parts, exact_features(metadata, tensors, rows), rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(parts.sum(axis=1), model.score(rows), rtol=1e-5)


@pytest.mark.parametrize(
    ("latent", "kind"),
    [
        ("point", "reconstruction"),
        ("gaussian", "elbo"),
        ("embedding", "latent_reconstruction"),
        ("output", "output"),
    ],
)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_same_bits_and_the_right_score(
    latent: str, kind: str, loss: str, tmp_path: Path
) -> None:
    metadata, tensors = network(("missing", "mask_zeros"), loss, latent)
    path = tmp_path / "m.vael"
    path.write_bytes(promised(metadata, tensors, [kind]))
    rows = edges(19)
    expected = None
    for isa in ISAS:
        scorer = vaelocity.load(path, kind=kind, isa=isa)
        scores = scorer.score(rows).view(np.uint32)
        expected = scores if expected is None else expected
        assert np.array_equal(scores, expected)
        for n in (1, 2, 5, 17):
            assert np.array_equal(scorer.score(rows[-n:]).view(np.uint32), expected[-n:])
    usual = rows[21:]
    exact = exact_score(metadata, tensors, usual, kind)
    np.testing.assert_allclose(expected.view(np.float32)[21:], exact, rtol=1e-4, atol=1e-5)


def test_an_output_saturates_at_both_ends() -> None:
    metadata, tensors = network(latent="output")
    tensors[metadata["encoder"][1]["weight"]][:] = 1e38
    tensors[metadata["encoder"][1]["bias"]][:] = 0
    largest = np.finfo(np.float32).max
    rows = np.full((9, 19), 1e20, np.float32)
    for sign in (1, -1):
        tensors[metadata["encoder"][1]["weight"]] *= np.float32(sign)
        for isa in ISAS:
            model = load(bundle_bytes(metadata, tensors), isa=isa)
            assert (model.score(rows) == sign * largest).all()
            assert (model.flags(rows) == 2).all()
            assert model.score(rows[:1])[0] == sign * largest


def test_features_are_of_a_reconstruction_only() -> None:
    for latent in ("embedding", "output"):
        model = load(bundle_bytes(*network(latent=latent)))
        with pytest.raises(ValueError, match="reconstruction"):
            model.features(edges(19))


@pytest.mark.parametrize("reader", [by_python, by_core])
@pytest.mark.parametrize(
    ("latent", "change", "said"),
    [
        ("point", {"score": {"kind": "output"}}, "score: "),
        ("output", {"score": {"kind": "reconstruction"}}, "score: "),
        ("embedding", {"score": {"kind": "mu2"}}, "score: "),
        ("point", {"score": {"kind": "reconstruction", "loss": "l2"}}, "score: unknown loss"),
        ("point", {"score": {"kind": "reconstruction", "delta": 0}}, "score: delta must be pos"),
        ("output", {"latent": {"kind": "output", "size": 2}}, "encoder"),
        ("point", {"latent": {"kind": "output", "size": 4}}, "latent: an output is of size 1"),
        ("point", {"latent": {"kind": "embedding", "size": 4}}, "decoder"),
        ("point", {"latent": {"kind": "flow", "size": 4}}, "latent: unknown kind"),
        ("output", {"decoder": [{"op": "dense"}]}, "an output is of size 1|tensor|weight"),
    ],
)
def test_what_does_not_fit_together_is_named(
    reader: Any, latent: str, change: dict[str, Any], said: str
) -> None:
    metadata, tensors = network(latent=latent)
    with pytest.raises(BundleError, match=said):
        reader({**metadata, **change}, tensors)
