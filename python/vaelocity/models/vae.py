"""The variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaelocity import ops
from vaelocity.models.base import Floats
from vaelocity.models.dense import DenseModel


class VAE(DenseModel):
    """A beta-VAE with dense layers: encoder to mu and logvar of N(mu, exp(logvar)), decoder its
    mirror image, prior N(0, 1).

    Per row it minimises 1/2 ||y - x||^2 + beta * KL at z = mu + exp(logvar / 2) * eps, in the
    standardised space: the negative ELBO up to constants (Kingma and Welling, arXiv:1312.6114;
    beta: Higgins et al., ICLR 2017). Scores are taken at z = mu.

    Score kinds: reconstruction 1/2 ||y - x||^2; kl; mu2 = sum mu^2; rz = sum mu^2 / exp(logvar);
    elbo = reconstruction + beta * kl.

    Args:
        beta: weight of the KL; 0 leaves it out.
        The others are those of `Autoencoder`.
    """

    kinds = ("reconstruction", "kl", "mu2", "rz", "elbo")
    latent_kind = "gaussian"

    def __init__(
        self,
        n_features: int,
        latent: int = 16,
        hidden: Sequence[int] = (64, 32),
        activation: str | None = "relu",
        beta: float = 1.0,
        batch_norm: bool = False,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        if not (math.isfinite(beta) and beta >= 0):
            raise ValueError(f"beta: expected a finite number of at least 0, got {beta!r}")
        super().__init__(n_features, latent, hidden, activation, batch_norm, feature_names)
        # As float32, which is what the scorer holds: both weigh the KL by the same number.
        self.beta = float(np.float32(beta))

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "beta": self.beta}

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar of standardised rows, [n, latent] each."""
        encoded: Tensor = self.encoder(x)
        return encoded[:, : self.latent], encoded[:, self.latent :]

    def point(self, x: Tensor) -> Tensor:
        return self.posterior(x)[0]

    def training_terms(
        self, x: Tensor, rng: ops.Rng, backend: str | None = None
    ) -> dict[str, Tensor]:
        mu, logvar = self.posterior(x)
        # The KL with the sample and not in `elbo`: mu and logvar get their gradients from one op,
        # where autograd would have to add up those of two.
        z, kl = ops.reparameterize_kl(mu, logvar, rng, backend=backend)
        reconstruction = ops.reconstruction_loss(x, self.decoder(z), backend=backend)
        return {"loss": reconstruction + self.beta * kl, "reconstruction": reconstruction, "kl": kl}

    def standardised_score(self, x: Tensor, kind: str) -> Tensor:
        mu, logvar = self.posterior(x)
        if kind == "mu2":
            return mu.square().sum(dim=1)
        if kind == "rz":
            return (mu.square() * torch.exp(-logvar)).sum(dim=1)
        if kind == "kl":
            return ops.gaussian_kl(mu, logvar)
        if kind == "elbo":
            return ops.elbo(x, self.decoder(mu), mu, logvar, self.beta).total
        return ops.reconstruction_loss(x, self.decoder(mu))

    def sample(self, n: int, seed: int = 0) -> Floats:
        """n new rows in the units of the features, float32 [n, n_features]: z ~ N(0, 1) decoded,
        without noise on top. The same seed gives the same rows."""
        if n < 0:
            raise ValueError(f"n: expected at least 0, got {n}")
        generator = torch.Generator().manual_seed(seed)
        return self.decode(torch.randn(n, self.latent, generator=generator))
