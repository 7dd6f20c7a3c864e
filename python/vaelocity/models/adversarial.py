"""The adversarial autoencoder: a discriminator shapes the latent space."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vaelocity import ops
from vaelocity.models.prior import NormalPrior
from vaelocity.models.with_discriminator import WithDiscriminator


class AdversarialAutoencoder(WithDiscriminator, NormalPrior):
    """An autoencoder whose latent points a discriminator compares with draws from N(0, 1).

    Per row it minimises 1/2 ||y - x||^2 + adversarial_weight * softplus(-D(z)), while D learns to
    tell z from N(0, 1) (Makhzani et al., arXiv:1511.05644, with spectral norm): the latent space
    is filled as a VAE's, without its noise. It scores and freezes as an `Autoencoder`.

    History: loss, reconstruction, adversarial (not weighted), lambda (the weight),
    discriminator_loss.

    Args:
        adversarial_weight: lambda of the adversarial loss.
        The others are those of `Autoencoder`; `hidden` gives the discriminator's widths as well.
    """

    kinds = ("reconstruction",)
    latent_kind = "point"

    def __init__(
        self,
        n_features: int,
        latent: int = 16,
        hidden: Sequence[int] = (64, 32),
        activation: str | None = "relu",
        batch_norm: bool = False,
        feature_names: Sequence[str] | None = None,
        adversarial_weight: float = 1.0,
    ) -> None:
        super().__init__(n_features, latent, hidden, activation, batch_norm, feature_names)
        self.add_discriminator(self.latent, adversarial_weight)

    def training_terms(
        self, x: Tensor, rng: ops.Rng, backend: str | None = None, player: str = "autoencoder"
    ) -> dict[str, Tensor]:
        if player == "discriminator":
            with torch.no_grad():
                z = self.point(x)
            return self.discriminator_terms(ops.philox_normal(z.shape, rng, backend=backend), z)
        z = self.point(x)
        reconstruction = ops.reconstruction_loss(x, self.decoder(z), backend=backend)
        return self.with_adversary({"loss": reconstruction, "reconstruction": reconstruction}, z)
