"""Four models of two interleaved half moons: what they draw, and what they call anomalous.

    python examples/generative_moons.py moons.png

Needs vaelocity[train] and matplotlib; two minutes on one core. Above: rows drawn from the
model (colour) over the rows it has learned from (grey). Below: its score over the plane, by
rank, dark is normal. The gap between the moons is the test: a model that has learned the mean and
the width of the data, and no more, calls it the most normal place of all.
"""

from __future__ import annotations

import sys

import matplotlib.pyplot as plt
import numpy as np

from vaelocity import models


def moons(n: int, seed: int) -> np.ndarray:
    """float32 [n, 2]: half circles of radius 1, 0.07 thick."""
    rng = np.random.default_rng(seed)
    angle, lower = rng.uniform(0, np.pi, n), rng.integers(2, size=n)
    x = np.where(lower, 1 - np.cos(angle), np.cos(angle))
    y = np.where(lower, 0.5 - np.sin(angle), np.sin(angle))
    return (np.column_stack([x, y]) + 0.07 * rng.normal(size=(n, 2))).astype(np.float32)


def main(path: str) -> None:
    rows = moons(4096, seed=0)
    wide = {"hidden": (128, 128), "feature_names": ["x", "y"]}
    contenders = [
        ("denoising", models.Diffusion(2, ema=0.99, **wide), 150, 3e-3),
        ("diffusion_time", None, 0, 0.0),
        ("reconstruction", models.GAN(2, ema=0.99, **wide), 60, 1e-3),
        ("reconstruction", models.VAEGAN(2, latent=2, beta=0.1, **wide), 60, 1e-3),
    ]
    grid = np.stack(np.meshgrid(np.linspace(-1.8, 2.8, 150), np.linspace(-1.3, 1.8, 120)), -1)
    figure, axes = plt.subplots(2, 4, figsize=(15, 6.5), sharex=True, sharey=True)
    model = None
    for (above, below), (kind, made, epochs, lr) in zip(axes.T, contenders, strict=True):
        if made is not None:
            model = made.fit(rows, epochs=epochs, batch_size=128, lr=lr, schedule="cosine")
        name = type(model).__name__
        above.scatter(*rows[:1500].T, s=3, color="0.8")
        above.scatter(*model.sample(1000, seed=1).T, s=3, color="tab:red")
        above.set_title(f"{name}: rows drawn")
        score = model.score(grid.reshape(-1, 2).astype(np.float32), kind)
        rank = score.argsort().argsort().reshape(grid.shape[:2]) / score.size
        below.contourf(grid[..., 0], grid[..., 1], rank, levels=20, cmap="magma")
        below.set_title(f"{name}: {kind}")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1])
