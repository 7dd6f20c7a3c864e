"""Models of every kind on one ring: what each calls anomalous.

    python examples/autoencoder_families.py [PICTURE.png]

Runs by itself, in seconds. Needs vaelocity[neighbours] and matplotlib. The picture has the score of
every model over the plane, by rank, dark is normal, with the rows it has learned from. The centre
of the ring is the test: a model that has learned the mean and the width of the data, and no more,
calls it the most normal place of all. Printed: the area under the ROC curve of rows of the ring
against rows near the centre, 0 for such a model; the linear autoencoder is one. The masked one is
asked for x when it knows y, and the circle has two of them, so that it expects both and anything
between: it is the weakest here.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from vaelocity import models
from vaelocity.models.base import Model
from vaelocity.models.latent_reconstruction import latent_reconstruction
from vaelocity.models.pca import initialise_pca
from vaelocity.report.metrics import auc

FIT: dict[str, Any] = {"epochs": 20, "batch_size": 64, "lr": 5e-3, "progress": False}


def ring(n: int, seed: int, radius: float = 1.0) -> np.ndarray:
    """float32 [n, 2]: a circle, 0.07 thick."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n)
    circle = radius * np.column_stack([np.cos(angle), np.sin(angle)])
    return (circle + 0.07 * rng.normal(size=(n, 2))).astype(np.float32)


def trained(rows: np.ndarray) -> dict[str, Model]:
    """A model of every family, by name."""
    deep = {"hidden": (64, 64), "activation": "tanh"}
    linear = models.Autoencoder(2, latent=1, hidden=())
    initialise_pca(linear, rows)
    found = {
        "linear: PCA": linear,
        "deep": models.Autoencoder(2, latent=1, **deep),
        "sparse": models.SparseAutoencoder(2, latent=32, penalty=0.05, hidden=(64,)),
        "denoising": models.DenoisingAutoencoder(2, latent=32, level=0.3, hidden=(64, 64)),
        "masked": models.MaskedAutoencoder(2, hidden_share=0.5, **deep),
        "VAE": models.VAE(2, latent=1, beta=0.02, **deep),
        "adversarial": models.AdversarialAutoencoder(2, latent=1, **deep),
        "VAE-GAN": models.VAEGAN(2, latent=1, beta=0.02, **deep),
        "diffusion": models.Diffusion(2, hidden=(64, 64), ema=0.99),
    }
    for model in found.values():
        model.fit(rows, schedule="cosine", **FIT)
    return found


def main(picture: str | None) -> None:
    rows = ring(2048, seed=0)
    test, centre = ring(500, seed=1), ring(500, seed=2, radius=0.0)
    grid = np.stack(np.meshgrid(*[np.linspace(-1.8, 1.8, 60)] * 2), -1).astype(np.float32)
    figure, axes = plt.subplots(2, 7, figsize=(21, 6.4), sharex=True, sharey=True)
    found = trained(rows)
    scores = {name: model.score for name, model in found.items()}
    together = models.Ensemble([found["denoising"], found["masked"]], rows)
    student = models.distill(
        found["denoising"], rows, epochs=20, batch_size=64, lr=5e-3, progress=False
    )
    scores |= {
        "denoising: latent reconstruction": partial(latent_reconstruction, found["denoising"]),
        "ensemble: denoising, masked": together.score,
        "student of denoising": student.score,
        "denoising, relative": models.RelativeScore(found["denoising"], rows).score,
        "error and codes": models.error_and_codes(found["denoising"], rows).score,
    }
    areas = {}
    for (name, score), ax in zip(scores.items(), axes.flat, strict=True):
        areas[name] = auc(score(test), score(centre)).value
        print(f"{name}: {areas[name]:.3f}")
        plane = score(grid.reshape(-1, 2))
        rank = plane.argsort().argsort().reshape(grid.shape[:2]) / plane.size
        ax.contourf(grid[..., 0], grid[..., 1], rank, levels=20, cmap="magma")
        ax.scatter(*rows[:300].T, s=2, color="white", alpha=0.4)
        ax.set_title(f"{name}: {areas[name]:.2f}", fontsize=10)
    if picture is not None:
        figure.tight_layout()
        figure.savefig(picture, dpi=90)
    del areas["linear: PCA"]
    assert min(areas.values()) > 0.65, areas


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
