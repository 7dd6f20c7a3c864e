"""Every family that has a frozen scorer: the same bits under each value of VAELOCITY_ISA, and
torch's scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import vaelocity
from vaelocity import _core
from vaelocity.models import (
    VAE,
    VAEGAN,
    AdversarialAutoencoder,
    Autoencoder,
    ConvVAE,
    DenoisingAutoencoder,
    SparseAutoencoder,
    distill,
)
from vaelocity.models.corruption import CORRUPTIONS
from vaelocity.models.latent import LatentModel

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore::vaelocity.models.posterior.PosteriorCollapse"),
]

SHAPE: dict[str, Any] = {"latent": 3, "hidden": (11,)}  # no multiple of a vector's width


def rows(n: int, width: int, seed: int = 0) -> np.ndarray:
    """Rows whose features belong together, of scales that differ."""
    rng = np.random.default_rng(seed)
    mixed = np.tanh(rng.normal(size=(n, 2)) @ np.random.default_rng(9).normal(size=(2, width)))
    noisy = mixed + 0.1 * rng.normal(size=(n, width))
    return (noisy * np.arange(1, width + 1)).astype(np.float32)


def pixels(n: int) -> np.ndarray:
    """Images of 8 x 8 pixels from 0 to 1."""
    return np.random.default_rng(0).uniform(size=(n, 64)).astype(np.float32)


TABLES: dict[str, Callable[[], LatentModel]] = {
    "linear": lambda: Autoencoder(7, latent=3, hidden=()),
    "deep": lambda: Autoencoder(7, **SHAPE),
    "sparse": lambda: SparseAutoencoder(7, latent=21, hidden=(11,)),
    "VAE": lambda: VAE(7, **SHAPE),
    "adversarial": lambda: AdversarialAutoencoder(7, **SHAPE),
    "VAE-GAN": lambda: VAEGAN(7, **SHAPE),
    **{
        corruption: lambda corruption=corruption: DenoisingAutoencoder(  # type: ignore[misc]
            7, latent=21, hidden=(11,), corruption=corruption, level=0.2
        )
        for corruption in CORRUPTIONS
    },
}


def fitted(name: str) -> tuple[LatentModel, np.ndarray]:
    """A model after an epoch, and rows it has not seen. mu2 and output are students."""
    if name == "convolutional":
        X = pixels(400)
        return ConvVAE((1, 8, 8), latent=3, channels=(3, 5)).fit(X[:200], epochs=1), X[200:]
    X, test = rows(600, 7), rows(401, 7, seed=1)
    if name in TABLES:
        return TABLES[name]().fit(X, epochs=1, batch_size=64), test
    teacher = DenoisingAutoencoder(7, latent=21, hidden=(11,)).fit(X, epochs=1, batch_size=64)
    return distill(teacher, X, score=name, hidden=(11,), epochs=1, progress=False), test


@pytest.mark.parametrize("name", [*TABLES, "mu2", "output", "convolutional"])
def test_a_family_has_the_same_bits_on_every_instruction_set(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, test = fitted(name)
    path = tmp_path / "m.vael"
    model.save(path)
    kinds = model.frozen_kinds()
    assert kinds
    assert set(vaelocity.load(path).kinds) == set(kinds)
    for kind in kinds:
        found = {}
        for isa in _core.available_isas():
            monkeypatch.setenv("VAELOCITY_ISA", isa)
            scorer = vaelocity.load(path, kind=kind)
            assert scorer.isa == isa
            found[isa] = scorer.score(test)
            one_by_one = np.concatenate([scorer.score(row[None]) for row in test[:20]])
            assert np.array_equal(one_by_one, found[isa][:20])
        for isa, scores in found.items():
            assert np.array_equal(scores, found["generic"]), (kind, isa)
        np.testing.assert_allclose(found["generic"], model.score(test, kind), 1e-4, 1e-6)
