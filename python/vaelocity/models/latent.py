"""Models with a latent space: an encoder into it and a decoder back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from vaelocity import ops
from vaelocity.models.base import Floats, Model, nan_unless, positive, saturated
from vaelocity.models.interpolation import PATHS
from vaelocity.models.rows import Rows, as_rows


class LatentModel(Model):
    """`encoder` takes standardised rows [n, n_features] to a point of the latent space, or to mu
    and logvar side by side; `decoder` takes a point [n, latent] back. A subclass sets both.

    Scored, encoded and reconstructed at the point, for a gaussian latent at z = mu.
    """

    latent_kind: ClassVar[str]
    """point or gaussian; or output: see `DenseModel`."""

    encoder: nn.Module
    decoder: nn.Module

    frozen_loss: ClassVar[str] = "squared_error"
    """The reconstruction loss of a frozen file: one of `vaelocity.structure.LOSSES`."""

    def frozen_kinds(self) -> tuple[str, ...]:
        """The kinds of score that a file of the model gives; none where it has no frozen scorer."""
        return ()

    def frozen_networks(self) -> tuple[tuple[nn.Module, tuple[int, ...]], ...]:
        """Encoder and decoder as `models.steps.steps_of` takes them, each with the shape of its
        rows: of a model with `frozen_kinds` that is no `DenseModel`."""
        raise NotImplementedError

    def __init__(self, n_features: int, latent: int, feature_names: Sequence[str] | None) -> None:
        super().__init__(n_features, feature_names)
        self.latent = positive(latent, "latent")

    def arguments(self) -> dict[str, object]:
        return {**super().arguments(), "latent": self.latent}

    def seen(self, x: Tensor) -> Tensor:
        """Standardised rows as a network sees them: 0 for a value whose term leaves the loss, which
        is NaN in x."""
        return torch.where(torch.isnan(x), 0, x) if self.scaler.leaves_out else x

    def counts(self, x: Tensor) -> Tensor | None:
        """Which terms of standardised rows are in the loss, bool [n, n_features]; None: all."""
        return ~torch.isnan(x) if self.scaler.leaves_out else None

    def point(self, x: Tensor) -> Tensor:
        """Where standardised rows are decoded from: z (or mu), [n, latent]."""
        z: Tensor = self.encoder(self.seen(x))
        return z[:, : self.latent]

    def standardised_score(self, x: Tensor, kind: str) -> Tensor:
        return ops.reconstruction_loss(x, self.decoder(self.point(x)), mask=self.counts(x))

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of x [n, n_features], in the units of x, differentiable."""
        return self.scaler.inverse(self.decoder(self.point(self.scaler(x))))

    def score_features(self, X: Rows) -> Floats:
        """1/2 (y_j - x_j)^2 of every feature in the standardised space, 0 where it leaves the loss:
        float32 [n, n_features].

        A row's sum is its reconstruction score, up to float32 rounding.
        """

        def score(x: Tensor) -> Tensor:
            scorable = self._scorable(x)[:, None]
            x = self.scaler(x)
            terms = 0.5 * (self.decoder(self.point(x)) - x).square()
            counts = self.counts(x)
            return saturated(terms if counts is None else torch.where(counts, terms, 0), scorable)

        return self._batched(score, as_rows(X, self.n_features, "X"))

    def encode(self, X: Rows) -> Floats:
        """The latent point (a VAE's mu) of every row: float32 [n, latent]; NaN for a row that
        has no score."""

        def encode(x: Tensor) -> Tensor:
            return nan_unless(self._scorable(x), self.point(self.scaler(x)))

        return self._batched(encode, as_rows(X, self.n_features, "X"))

    def decode(self, z: Rows) -> Floats:
        """Rows in the units of the features, float32 [n, n_features], from z [n, latent]."""

        def decode(z: Tensor) -> Tensor:
            return self.scaler.inverse(self.decoder(z))

        return self._batched(decode, as_rows(z, self.latent, "z"))

    def reconstruct(self, X: Rows) -> Floats:
        """decode(encode(X)): float32 [n, n_features] in the units of X; NaN for a row that has no
        score."""

        def reconstruct(x: Tensor) -> Tensor:
            return nan_unless(self._scorable(x), self(x))

        return self._batched(reconstruct, as_rows(X, self.n_features, "X"))

    def interpolate(self, a: Rows, b: Rows, steps: int = 10, path: str = "linear") -> Floats:
        """Rows on the way from a to b in the latent space: reconstruct(a) first, reconstruct(b)
        last.

        Args:
            a, b: one row [n_features] each, or as many rows each [n, n_features].
            steps: rows on the way, both ends among them; at least 2.
            path: linear; or spherical, along the arc between the two points as seen from 0, which
                stays where a normal prior has its mass (White, arXiv:1609.04468).

        Returns:
            float32 [steps, n_features], or [n, steps, n_features].
        """
        if steps < 2:
            raise ValueError(f"steps: expected at least 2, got {steps}")
        if path not in PATHS:
            raise ValueError(f"path: expected one of {', '.join(PATHS)}, got {path!r}")
        if a.shape != b.shape or a.ndim not in (1, 2):
            raise ValueError(f"a, b: expected two of one shape, got {a.shape} and {b.shape}")
        ends = [self.encode(row.reshape(-1, a.shape[-1])) for row in (a, b)]
        z = PATHS[path](ends[0], ends[1], np.linspace(0, 1, steps))
        rows = self.decode(z.reshape(-1, self.latent))
        return rows.reshape((*a.shape[:-1], steps, self.n_features))

    def attribute(self, with_it: Rows, without: Rows) -> Floats:
        """The direction of an attribute in the latent space, float32 [latent]: the mean code of the
        rows that have it, less that of the rows that have not. decode(encode(X) + direction) gives
        it to X (Radford et al., arXiv:1511.06434, section 6.3.2)."""
        means = [self.encode(rows).mean(axis=0, dtype=np.float64) for rows in (with_it, without)]
        direction: Floats = (means[0] - means[1]).astype(np.float32)
        return direction
