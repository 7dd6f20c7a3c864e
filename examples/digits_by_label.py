"""The digits 0 to 9 by label: a VAE, a GAN and a diffusion model draw them.

    python examples/digits_by_label.py [PICTURE.png]

Runs by itself, in seconds, on scikit-learn's digits of 8 x 8 pixels. Needs vaelocity[train],
scikit-learn and matplotlib. The GAN and the diffusion model are asked for every digit ten times (a
column a digit); the VAE knows no labels and draws what it likes. Printed: the share of the drawn
digits which a classifier that has read real ones takes for what was asked. bench/quality/images.py
does this with MNIST, larger networks and more time.
"""

from __future__ import annotations

import sys

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from vaelocity.models import ConvVAE, ImageDiffusion, ImageGAN

IMAGE = (1, 8, 8)
EACH = 10


def main(picture: str | None) -> None:
    digits = load_digits()
    rows, label = (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)
    reader = SVC().fit(rows, label)
    asked = np.tile(np.arange(10), EACH)
    vae = ConvVAE(IMAGE, latent=8, channels=(16, 32))
    gan = ImageGAN(IMAGE, latent=16, n_classes=10)
    diffusion = ImageDiffusion(IMAGE, width=16, n_classes=10, ema=0.99)
    vae.fit(rows, epochs=8, batch_size=64, lr=3e-3, progress=False)
    gan.fit(rows, epochs=8, batch_size=64, lr=2e-3, label=label, progress=False)
    diffusion.fit(rows, epochs=6, batch_size=64, lr=3e-3, label=label, progress=False)
    drawn = {
        "VAE": vae.sample(len(asked), seed=1),
        "GAN": gan.sample(len(asked), seed=1, label=asked),
        "diffusion": diffusion.sample(len(asked), seed=1, label=asked, steps=20, guidance=2.0),
    }
    right = {}
    for name in ("GAN", "diffusion"):
        right[name] = float((reader.predict(drawn[name]) == asked).mean())
        print(f"{name}: {right[name]:.0%} show the digit that was asked for")
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.4))
    for ax, (name, made) in zip(axes, drawn.items(), strict=True):
        apart = np.pad(made.reshape(EACH, 10, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
        lines = apart.transpose(0, 2, 1, 3).reshape(10 * EACH, 100)
        ax.imshow(lines, cmap="gray_r", vmin=0, vmax=1)
        ax.set_title(name if name == "VAE" else f"{name}, asked for 0 to 9")
        ax.axis("off")
    if picture is not None:
        figure.tight_layout()
        figure.savefig(picture, dpi=80)
    assert min(right.values()) > 0.7, right


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
