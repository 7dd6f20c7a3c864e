"""The network of a .vael file, read into plain arrays and computed in float64 NumPy.

For comparing and for looking inside; what scores is `vaelocity.load`. Needs neither torch nor a
compiled kernel, and knows dense layers, convolutions and pools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.bundle import read_bundle
from vaelocity.frozen_layers import Dense, Layer, Rows, layer_of

__all__ = ["Dense", "Network", "Rows", "Unsupported", "read"]

Exact = npt.NDArray[np.float64]

_AT_A_TIME = 1 << 14


class Unsupported(ValueError):
    """Something that this module, or a peer in a race, does not know; the message says what."""


@dataclass(frozen=True)
class Network:
    """What a score is made of: x = (row - mean) * inverse_scale, then `kind` of x.

    The encoder gives z, and where `gaussian` is true [mu, logvar] with z = mu; y = decoder(z).
    reconstruction is 1/2 ||y - x||^2, kl 1/2 sum(mu^2 + expm1(logvar) - logvar), mu2 sum mu^2,
    rz sum mu^2 / exp(logvar), elbo reconstruction + beta kl. path: the same, frozen for
    vaelocity.load.
    """

    name: str
    path: Path
    mean: Rows
    inverse_scale: Rows
    encoder: tuple[Layer, ...]
    decoder: tuple[Layer, ...]
    gaussian: bool = False
    kind: str = "reconstruction"
    beta: float = 1.0

    @property
    def n_features(self) -> int:
        """Columns of a row."""
        return len(self.mean)

    @property
    def latent(self) -> int:
        """Dimensions of the latent space."""
        return self.encoder[-1].width // (2 if self.gaussian else 1)

    @property
    def decodes(self) -> bool:
        """Whether the score needs the decoder."""
        return self.kind in ("reconstruction", "elbo")

    @property
    def mu_alone(self) -> bool:
        """Whether logvar is not asked for, and made by rows of weights of its own."""
        asked = self.kind not in ("reconstruction", "mu2")
        return self.gaussian and not asked and isinstance(self.encoder[-1], Dense)

    @property
    def scored_encoder(self) -> tuple[Layer, ...]:
        """The encoder as far as the score needs it: without logvar where `mu_alone`."""
        *before, last = self.encoder
        if self.mu_alone and isinstance(last, Dense):
            n = self.latent
            last = Dense(last.weight[:n], last.bias[:n], last.activation, last.slope)
        return (*before, last)

    @property
    def flop(self) -> int:
        """Multiplications and additions of the products that the score needs, for a row."""
        layers = (*self.scored_encoder, *(self.decoder if self.decodes else ()))
        return 2 * sum(layer.products for layer in layers)

    @property
    def row_bytes(self) -> int:
        """Bytes that a row must cross the memory bus with: its features and its score."""
        return 4 * (self.n_features + 1)

    def reference(self, rows: Rows) -> Exact:
        """The scores [n], every operation in float64."""
        blocks = range(0, len(rows), _AT_A_TIME)
        return np.concatenate([self._exact(rows[at : at + _AT_A_TIME]) for at in blocks])

    def encode(self, rows: npt.NDArray[np.floating[Any]]) -> Exact:
        """The point of every row in the latent space, mu of a gaussian one: float64 [n, latent]."""
        z = _through(self.encoder, self._standardised(rows))
        return z[:, : z.shape[1] // 2] if self.gaussian else z

    def decode(self, z: npt.NDArray[np.floating[Any]]) -> Exact:
        """What the decoder makes of latent points, in the units of the rows: float64 [n, d]."""
        return (
            _through(self.decoder, z.astype(np.float64)) / self.inverse_scale.astype(np.float64)
            + self.mean
        )

    def _standardised(self, rows: npt.NDArray[np.floating[Any]]) -> Exact:
        return (rows.astype(np.float64) - self.mean) * self.inverse_scale.astype(np.float64)

    def _exact(self, rows: Rows) -> Exact:
        x = self._standardised(rows)
        z = _through(self.encoder, x)
        if not self.gaussian:
            return 0.5 * _total(np.square(_through(self.decoder, z) - x))
        mu, logvar = np.split(z, 2, axis=1)
        if self.kind == "mu2":
            return _total(np.square(mu))
        if self.kind == "rz":
            return _total(np.square(mu) / np.exp(logvar))
        kl = 0.5 * _total(np.square(mu) + np.expm1(logvar) - logvar)
        if self.kind == "kl":
            return kl
        reconstruction = 0.5 * _total(np.square(_through(self.decoder, mu) - x))
        return reconstruction + self.beta * kl if self.kind == "elbo" else reconstruction


def _total(values: Exact) -> Exact:
    """Sum over the features: [n, d] -> [n]."""
    return np.asarray(values.sum(axis=1))


def _through(layers: Sequence[Layer], x: Exact) -> Exact:
    for layer in layers:
        x = layer(x)
    return x


def read(name: str, path: Path, kind: str | None = None) -> Network:
    """The network of a .vael file, its tensors taken from the file itself.

    Raises what `vaelocity.bundle.read_bundle` raises, and Unsupported.
    """
    metadata, tensors = read_bundle(path)
    score = metadata["score"]
    kind = kind or score["kind"]
    _check(metadata, kind)
    step = metadata["preprocess"][-1]
    return Network(
        name,
        path,
        tensors[step["mean"]],
        (np.float32(1) / tensors[step["scale"]]).astype(np.float32),
        _layers(metadata["encoder"], tensors),
        _layers(metadata["decoder"], tensors),
        metadata["latent"]["kind"] == "gaussian",
        kind,
        float(score.get("beta", 1.0)),
    )


def _check(metadata: Mapping[str, Any], kind: str) -> None:
    """Raise Unsupported for what `Network` cannot say."""
    if [step["op"] for step in metadata["preprocess"]] != ["standardize"]:
        raise Unsupported("preprocess: only one step standardize")
    if kind not in ("reconstruction", "kl", "mu2", "rz", "elbo"):
        raise Unsupported(f"score kind {kind}")
    loss = metadata["score"].get("loss", "squared_error")
    if loss != "squared_error":
        raise Unsupported(f"loss {loss}")


def _layers(steps: Sequence[Mapping[str, Any]], tensors: Mapping[str, Rows]) -> tuple[Layer, ...]:
    try:
        return tuple(layer_of(step, tensors) for step in steps)
    except KeyError as error:
        raise Unsupported(f"step {error.args[0]}") from None
