"""Networks and rows to time with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vaelocity.frozen import Network, Rows, read


def build(features: int, hidden: Sequence[int], latent: int, folder: Path) -> Network:
    """A relu autoencoder after one epoch on the first `features` observables of the jets, saved."""
    from vaelocity import models
    from vaelocity.data import jets

    rows = np.ascontiguousarray(jets.load().rows[:, :features])
    model = models.Autoencoder(features, latent=latent, hidden=tuple(hidden))
    model.fit(rows, epochs=1, seed=0, progress=False)
    widths = [features, *hidden, latent]
    name = "-".join(map(str, widths + widths[-2::-1]))
    path = folder / f"{name}.vael"
    model.save(path)
    return read(name, path)


def jet_rows(n: int, features: int) -> Rows:
    """n rows [n, features] of the shipped jets, float32, C order; repeated where n asks for it."""
    from vaelocity.data import jets

    sample = jets.load().rows[:, :features]
    return np.ascontiguousarray(np.resize(sample, (n, features)))


def made_rows(network: Network, n: int) -> Rows:
    """n rows [n, features] around the training's mean: normal, with its scale; at most 65,536
    different ones."""
    some = np.random.default_rng(0).standard_normal((min(n, 1 << 16), network.n_features))
    rows = (some / network.inverse_scale + network.mean).astype(np.float32)
    return np.ascontiguousarray(np.resize(rows, (n, network.n_features)))
