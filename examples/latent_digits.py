"""The latent space of digits with and without the KL, and what random codes decode to.

    python examples/latent_digits.py MNIST_FOLDER [PICTURE.png]

MNIST_FOLDER holds train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz. Two convolutional
networks that differ in nothing but beta, the weight of the KL, learn 10,000 digits in a latent
space of two dimensions. The picture shows where they put held-out digits, a color a digit, and 100
codes from N(0, 1), decoded. Printed: density and coverage of the decoded rows among held-out digits
(`vaelocity.models.random_codes`): 1 and 1 for rows like the data, a density far above for the
blurred digits of so small a latent space.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from vaelocity import data
from vaelocity.models import ConvVAE
from vaelocity.models.random_codes import random_codes

LEARNED, HELD_OUT = 10000, 2000
EDGE = 30  # pixels from one decoded digit to the next


def main() -> None:
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    picture = Path(sys.argv[2]) if len(sys.argv) == 3 else Path("latent_digits.png")
    table = data.read(Path(sys.argv[1]) / "train-images-idx3-ubyte.gz", n_rows=LEARNED + HELD_OUT)
    assert table.labels is not None
    X, test, label = table.rows[:LEARNED], table.rows[LEARNED:], table.labels[LEARNED:]

    figure, axes = plt.subplots(2, 2, figsize=(9, 9))
    codes = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    for (left, right), (title, beta) in zip(
        axes, (("without the KL", 0.0), ("with the KL", 1.0)), strict=True
    ):
        model = ConvVAE(latent=2, channels=(8, 16), beta=beta)
        model.fit(X, epochs=8, batch_size=64, lr=4e-3, schedule="cosine", seed=0)
        found = random_codes(model, test)
        print(f"{title}: density {found.density:.2f}, coverage {found.coverage:.2f}")
        z = model.encode(test)
        left.scatter(z[:, 0], z[:, 1], c=label, cmap="tab10", s=4)
        left.add_patch(plt.Circle((0, 0), 2, fill=False))
        left.set_title(f"{title}; the circle: 2 deviations of N(0, 1)", fontsize=10)
        right.imshow(digits(model.decode(codes)), cmap="gray_r")
        right.set_title("100 codes from N(0, 1), decoded", fontsize=10)
        right.axis("off")
    figure.tight_layout()
    figure.savefig(picture, dpi=80)


def digits(rows: np.ndarray) -> np.ndarray:
    """100 rows [100, 784] as one picture of 10 x 10 digits."""
    canvas = np.zeros((10 * EDGE, 10 * EDGE), np.float32)
    for i, row in enumerate(rows):
        down, right = i // 10 * EDGE, i % 10 * EDGE
        canvas[down : down + 28, right : right + 28] = row.reshape(28, 28)
    return canvas


if __name__ == "__main__":
    main()
