"""Networks and rows to time with."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity import _core
from vaelocity.bundle import bundle_bytes, write_bundle
from vaelocity.frozen import Network, Rows, read


def build(
    features: int,
    hidden: Sequence[int],
    latent: int,
    folder: Path,
    kind: str = "reconstruction",
) -> Network:
    """A relu autoencoder after one epoch on `training_rows`, saved; a VAE for another score kind
    than reconstruction.

    Its name has the widths that the score goes through: 57-32-16-8 mu2 has no decoder.
    """
    from vaelocity import models

    family = models.Autoencoder if kind == "reconstruction" else models.VAE
    model = family(features, latent=latent, hidden=tuple(hidden))
    model.fit(training_rows(features), epochs=1, seed=0, progress=False)
    widths = [features, *hidden, latent]
    name = "-".join(map(str, widths + widths[-2::-1]))
    if kind not in ("reconstruction", "elbo"):
        name = f"{'-'.join(map(str, widths))} {kind}"
    path = folder / f"{name.replace(' ', '-')}.vael"
    model.save(path)
    return read(name, path, kind)


def training_rows(features: int) -> Rows:
    """The first `features` observables of the shipped jets; 4,096 rows of normal numbers where that
    is more than they have."""
    from vaelocity.data import jets

    sample = jets.load().rows
    if features <= sample.shape[1]:
        return np.ascontiguousarray(sample[:, :features])
    made = np.random.default_rng(0).standard_normal((4096, features))
    return made.astype(np.float32)


def images(name: str, folder: Path) -> Network:
    """An untrained convolutional autoencoder, "mnist-conv" or "cicada-conv", frozen.

    mnist-conv: 1x28x28, 3 x 3 convolutions of stride 2 to 16 and 32 channels, 32 numbers, and back
    by transposed ones. cicada-conv: 18 x 14 calorimeter regions, in the way of CICADA's teacher:
    20 channels, mean of 2 x 2, 30 channels, 80 numbers.
    """
    import torch
    from torch import nn

    from vaelocity.models.steps import steps_of

    def down(into: int, out: int) -> nn.Module:
        return nn.Conv2d(into, out, 3, stride=2, padding=1)

    def up(into: int, out: int) -> nn.Module:
        return nn.ConvTranspose2d(into, out, 3, stride=2, padding=1, output_padding=1)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape: tuple[int, ...] = (1, 28, 28)
        latent = 32
        layers = [down(1, 16), nn.ReLU(), down(16, 32), nn.ReLU(), nn.Linear(1568, latent)]
        back = [nn.Linear(latent, 1568), nn.ReLU(), nn.Unflatten(1, (32, 7, 7))]
        back += [up(32, 16), nn.ReLU(), up(16, 1)]
        if name == "cicada-conv":
            shape, latent = (1, 18, 14), 80
            layers = [nn.Conv2d(1, 20, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)]
            layers += [nn.Conv2d(20, 30, 3, padding=1), nn.ReLU(), nn.Linear(1890, latent)]
            back = [nn.Linear(latent, 1890), nn.ReLU(), nn.Unflatten(1, (30, 9, 7))]
            back += [nn.ConvTranspose2d(30, 20, 2, stride=2), nn.ReLU()]
            back += [nn.Conv2d(20, 1, 3, padding=1)]
    width = prod(shape)
    tensors: dict[str, npt.NDArray[Any]] = {
        "mean": np.zeros(width, np.float32),
        "scale": np.ones(width, np.float32),
    }
    metadata: dict[str, Any] = {
        "module": {"class": name, "args": {}},
        "features": [f"x{j}" for j in range(width)],
        "preprocess": [{"op": "standardize", "mean": "mean", "scale": "scale"}],
        "encoder": steps_of(nn.Sequential(*layers), "encoder", shape, tensors),
        "latent": {"kind": "point", "size": latent},
        "decoder": steps_of(nn.Sequential(*back), "decoder", (latent,), tensors),
        "score": {"kind": "reconstruction", "loss": "squared_error", "beta": 1.0},
        "thresholds": [],
        "provenance": {},
    }
    tensors["rows"] = np.random.default_rng(0).standard_normal((2, width)).astype(np.float32)
    draft = _core.Model.from_bytes(bundle_bytes(metadata, tensors), verify=False)
    tensors["scores"], tensors["flags"] = draft.score(tensors["rows"]), draft.flags(tensors["rows"])
    kind = "reconstruction"
    metadata["conformance"] = {
        "rows": "rows",
        "scores": {kind: "scores"},
        "flags": {kind: "flags"},
        "data_rows": 2,
    }
    path = folder / f"{name}.vael"
    write_bundle(path, metadata, tensors)
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
