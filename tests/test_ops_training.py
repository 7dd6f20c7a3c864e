"""Training with the kernels and in plain torch: one seed, the same noise, the same curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from vaelocity import models  # noqa: E402


def rows(n: int) -> np.ndarray:
    """Points near a curved surface of two dimensions in eight."""
    rng = np.random.default_rng(0)
    t = rng.uniform(-1, 1, size=(n, 2))
    parts = [t, t**2, np.sin(3 * t), t[:, :1] * t[:, 1:], np.cos(2 * t[:, :1])]
    return (np.concatenate(parts, axis=1) + 0.05 * rng.normal(size=(n, 8))).astype(np.float32)


@pytest.mark.parametrize("kind", ["Autoencoder", "VAE"])
@pytest.mark.parametrize("weighted", [False, True])
def test_both_backends_learn_the_same(kind: str, weighted: bool) -> None:
    x, x_val = rows(1100)[:1000], rows(1100)[1000:]
    weight = np.random.default_rng(1).uniform(0.5, 2, size=1000) if weighted else None
    options: dict[str, Any] = {"beta": 0.1} if kind == "VAE" else {}
    curves = {}
    for backend in (None, "reference"):
        model = getattr(models, kind)(8, latent=2, hidden=(16,), activation="tanh", **options)
        model.fit(
            x, x_val, epochs=10, batch_size=100, lr=1e-2, seed=3, weight=weight, backend=backend
        )
        curves[backend] = model.history
    names = {"loss", "val_loss"} | ({"reconstruction", "kl"} if kind == "VAE" else set())
    assert names < set(curves[None])
    for name in names:
        np.testing.assert_allclose(curves[None][name], curves["reference"][name], rtol=2e-3)
    assert curves[None]["val_loss"][-1] < 0.8 * curves[None]["val_loss"][0]


def test_a_backend_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="backend: expected one of cpu, triton, reference or None"):
        models.Autoencoder(8, latent=2).fit(rows(50), backend="cuda")


def test_a_backend_that_cannot_serve_leaves_the_model_as_it_was() -> None:
    model = models.Autoencoder(8, latent=2, hidden=())
    with pytest.raises(RuntimeError, match="backend 'triton' was asked for, but it takes"):
        model.fit(rows(50), backend="triton")
    assert not bool(model.fitted)
