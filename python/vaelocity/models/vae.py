"""The variational autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaelocity.models.arguments import count, not_negative
from vaelocity.models.base import StepWithoutGraph
from vaelocity.models.dense import DenseModel
from vaelocity.models.gaussian import GaussianLatent
from vaelocity.models.without_graph import vae_step


def kl_terms(mu: Tensor, logvar: Tensor) -> Tensor:
    """The KL of every latent unit of every row, [n, latent], which `ops.gaussian_kl` adds up."""
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar)


class VAE(GaussianLatent, DenseModel):
    """A beta-VAE with dense layers: encoder to mu and logvar of N(mu, exp(logvar)), decoder its
    mirror image, prior N(0, 1).

    Per row it minimises 1/2 ||y - x||^2 + beta * KL at z = mu + exp(logvar / 2) * eps, in the
    standardised space: the negative ELBO up to constants (Kingma and Welling, arXiv:1312.6114;
    beta: Higgins et al., ICLR 2017). Scores are taken at z = mu.

    Score kinds: reconstruction 1/2 ||y - x||^2; kl; mu2 = sum mu^2; rz = sum mu^2 / exp(logvar);
    elbo = reconstruction + beta * kl.

    Args:
        beta: weight of the KL; 0 leaves it out.
        warmup: steps of training over which the weight rises from 0 to beta, so that the latent
            units are of use before the KL presses on them (Sonderby et al., arXiv:1602.02282);
            validation is by beta itself.
        free_bits: nats of a latent unit's KL, as the mean over a batch, that cost nothing less
            (Kingma et al., arXiv:1606.04934): the loss has max(free_bits, KL_k) instead of KL_k.
        The others are those of `Autoencoder`.

    A unit that the rows do not move carries nothing; if all are like that the posterior collapsed:
    the decoder gives the mean and the score is the squared norm of the standardised row. `fit`
    warns of it with `PosteriorCollapse`. See `vaelocity.models.posterior` for what there is to look
    at: KL per dimension, active units, the importance-weighted bound.
    """

    may_leave_out = True

    steps: Tensor

    def __init__(
        self,
        n_features: int,
        latent: int = 16,
        hidden: Sequence[int] = (64, 32),
        activation: str | None = "relu",
        beta: float = 1.0,
        batch_norm: bool = False,
        feature_names: Sequence[str] | None = None,
        warmup: int = 0,
        free_bits: float = 0.0,
    ) -> None:
        beta = not_negative(beta, "beta")
        free_bits, warmup = not_negative(free_bits, "free_bits"), count(warmup, "warmup")
        super().__init__(n_features, latent, hidden, activation, batch_norm, feature_names)
        # As float32, which is what the scorer holds: both weigh the KL by the same number.
        self.beta = float(np.float32(beta))
        self.warmup = warmup
        self.free_bits = free_bits
        if self.warmup:
            self.register_buffer("steps", torch.tensor(0.0))

    def arguments(self) -> dict[str, Any]:
        own = {"beta": self.beta, "warmup": self.warmup, "free_bits": self.free_bits}
        return {**super().arguments(), **own}

    def kl_cost(self, mu: Tensor, logvar: Tensor, kl: Tensor) -> Tensor:
        cost = self._free(mu, logvar) if self.free_bits else kl
        return self._weight() * cost

    def _weight(self) -> float | Tensor:
        """Of the KL, now. A tensor, so that nothing waits for the device."""
        if not (self.warmup and self.training):
            return self.beta
        return self.beta * (self.steps / self.warmup).clamp(max=1)

    def _free(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """The KL that is paid for, the same for every row of the batch: [n]."""
        mean = kl_terms(mu, logvar).mean(dim=0)
        return mean.clamp(min=self.free_bits).sum().expand(len(mu))

    @torch.no_grad()
    def after_step(self) -> None:
        if self.warmup:
            self.steps += 1

    @property
    def rows_apart(self) -> bool:
        return not (self.batch_norm or self.free_bits)

    def step_without_graph(self, backend: str | None) -> StepWithoutGraph | None:
        # A subclass has terms of its own; the reference is plain torch throughout.
        special = self.batch_norm or self.warmup or self.free_bits or self.scaler.leaves_out
        special = special or bool(self.bounds)
        plain = type(self) is VAE and not special
        if not plain or backend == "reference":
            return None
        return vae_step(self.encoder, self.decoder, self.beta, backend)

    def after_fit(self, x: Tensor) -> None:
        from vaelocity.models.posterior import warn_of_collapse

        warn_of_collapse(self, x)
