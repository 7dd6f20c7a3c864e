"""What variational autoencoders have in common, whatever their networks."""

from __future__ import annotations

import torch
from torch import Tensor

from vaelocity import ops
from vaelocity.models.prior import NormalPrior


class GaussianLatent(NormalPrior):
    """The encoder gives mu and logvar side by side, the posterior is N(mu, exp(logvar)), the prior
    N(0, 1). A subclass sets beta, the weight of the KL, beside encoder and decoder.

    Per row it minimises error + beta * KL at z = mu + exp(logvar / 2) * eps (Kingma and Welling,
    arXiv:1312.6114; beta: Higgins et al., ICLR 2017). Scores are taken at z = mu.
    """

    kinds = ("reconstruction", "kl", "mu2", "rz", "elbo")
    latent_kind = "gaussian"

    beta: float

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar of standardised rows, [n, latent] each."""
        encoded: Tensor = self.encoder(self.seen(x))
        return encoded[:, : self.latent], encoded[:, self.latent :]

    def output(self, z: Tensor) -> Tensor:
        """What `error` compares with a row, [n, n_features], from z [n, latent]."""
        y: Tensor = self.decoder(z)
        return y

    def error(self, x: Tensor, output: Tensor, backend: str | None = None) -> Tensor:
        """The reconstruction loss of standardised rows, [n]."""
        return ops.reconstruction_loss(x, output, mask=self.counts(x), backend=backend)

    def kl_cost(self, mu: Tensor, logvar: Tensor, kl: Tensor) -> Tensor:
        """What training pays for the posterior, [n]; kl: its KL, [n]."""
        return self.beta * kl

    def training_terms(
        self, x: Tensor, rng: ops.Rng, backend: str | None = None
    ) -> dict[str, Tensor]:
        mu, logvar = self.posterior(x)
        # The KL with the sample and not in `elbo`: mu and logvar get their gradients from one op,
        # where autograd would have to add up those of two.
        z, kl = ops.reparameterize_kl(mu, logvar, rng, backend=backend)
        reconstruction = self.error(x, self.output(z), backend)
        loss = reconstruction + self.kl_cost(mu, logvar, kl)
        return {"loss": loss, "reconstruction": reconstruction, "kl": kl}

    def standardised_score(self, x: Tensor, kind: str) -> Tensor:
        mu, logvar = self.posterior(x)
        if kind == "mu2":
            return mu.square().sum(dim=1)
        if kind == "rz":
            return (mu.square() * torch.exp(-logvar)).sum(dim=1)
        if kind == "kl":
            return ops.gaussian_kl(mu, logvar)
        reconstruction = self.error(x, self.output(mu))
        if kind == "elbo":
            return reconstruction + self.beta * ops.gaussian_kl(mu, logvar)
        return reconstruction
