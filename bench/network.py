"""The networks that are timed: trained briefly on the shipped jets, frozen, and their reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Dense:
    """y = weight x + bias, weight [out, in]; then relu, or nothing."""

    weight: Rows
    bias: Rows
    relu: bool


@dataclass(frozen=True)
class Network:
    """What every implementation computes: x' = (x - mean) * inverse_scale, layers, 1/2 ||y-x'||^2.

    path: the same, frozen for vaelocity.load.
    """

    name: str
    path: Path
    mean: Rows
    inverse_scale: Rows
    layers: tuple[Dense, ...]

    @property
    def n_features(self) -> int:
        """Columns of a row."""
        return len(self.mean)

    @property
    def flop(self) -> int:
        """Multiplications and additions of the layers' products, for a row."""
        return sum(2 * layer.weight.size for layer in self.layers)

    def reference(self, rows: Rows) -> npt.NDArray[np.float64]:
        """The scores [n], every operation in float64; 2^16 rows at a time."""
        mean, scale = self.mean.astype(np.float64), self.inverse_scale.astype(np.float64)
        found = []
        for at in range(0, len(rows), 1 << 16):
            x = (rows[at : at + (1 << 16)].astype(np.float64) - mean) * scale
            y = x
            for layer in self.layers:
                y = y @ layer.weight.T.astype(np.float64) + layer.bias
                y = np.maximum(y, 0) if layer.relu else y
            found.append(0.5 * np.square(y - x).sum(axis=1))
        return np.concatenate(found)


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


def read(name: str, path: Path) -> Network:
    """The network of a .vael file, its tensors taken from the file itself."""
    import json

    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        meta = json.loads(file.metadata()["vaelocity"])
        step = meta["preprocess"][0]
        layers = []
        for part in (*meta["encoder"], *meta["decoder"]):
            if part["activation"] not in ("relu", "identity"):
                raise ValueError(f"activation: expected relu or identity, got {part}")
            weight, bias = file.get_tensor(part["weight"]), file.get_tensor(part["bias"])
            layers.append(Dense(weight, bias, part["activation"] == "relu"))
        scale = np.float32(1) / file.get_tensor(step["scale"])
        return Network(name, path, file.get_tensor(step["mean"]), scale, tuple(layers))


def jet_rows(n: int, features: int) -> Rows:
    """n rows [n, features] of the shipped jets, float32, C order; repeated where n asks for it."""
    from vaelocity.data import jets

    sample = jets.load().rows[:, :features]
    return np.ascontiguousarray(np.resize(sample, (n, features)))
