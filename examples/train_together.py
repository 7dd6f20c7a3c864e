"""One model, trained by several processes: on several GPUs, or on several machines.

    python examples/train_together.py
    torchrun --nproc-per-node 2 examples/train_together.py

Runs by itself, in seconds. Needs vaelocity[train].
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import vaelocity
from vaelocity import distributed, models


def main() -> None:
    """Every process has all rows and the same arguments; the first one writes the model."""
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(20_000, 3)) @ rng.normal(size=(3, 20))).astype(np.float32)
    with distributed.group("cpu") as device:  # "cuda": a GPU for every process of a machine
        model = models.VAE(20, latent=3, hidden=(32,), beta=0.01)
        model.fit(rows, epochs=5, batch_size=512, device=device)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.vael"
            model.save(path)
            if distributed.is_first():
                scores = vaelocity.load(path).score(rows)
                losses = model.history["loss"]
                print(f"loss per event: {losses[0]:.3f} at first, {losses[-1]:.3f} at last")
                print(f"mean score: {scores.mean():.3f}")


if __name__ == "__main__":
    main()
