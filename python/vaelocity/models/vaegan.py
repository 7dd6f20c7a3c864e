"""The VAE-GAN: a discriminator judges what the decoder makes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vaelocity import ops
from vaelocity.models.vae import VAE
from vaelocity.models.with_discriminator import WithDiscriminator


class VAEGAN(WithDiscriminator, VAE):
    """A VAE whose decoded rows a discriminator compares with real ones.

    Per row it minimises the VAE's loss + adversarial_weight * softplus(-D(y)), y being decoded
    from z ~ N(0, 1); D learns to tell y from x (Larsen et al., arXiv:1512.09300, with the
    reconstruction loss in the standardised space and spectral norm). It scores and freezes as a
    `VAE`.

    History: loss, reconstruction, kl, adversarial (not weighted), lambda (the weight),
    discriminator_loss.

    Args:
        adversarial_weight: lambda of the adversarial loss.
        The others are those of `VAE`; `hidden` gives the discriminator's widths as well.
    """

    def __init__(
        self, n_features: int, *arguments: Any, adversarial_weight: float = 1.0, **named: Any
    ) -> None:
        super().__init__(n_features, *arguments, **named)
        self.add_discriminator(n_features, adversarial_weight)

    @property
    def rows_apart(self) -> bool:
        return False

    def training_terms(
        self, x: Tensor, rng: ops.Rng, backend: str | None = None, player: str = "autoencoder"
    ) -> dict[str, Tensor]:
        z = ops.philox_normal((len(x), self.latent), rng, backend=backend)
        if player == "discriminator":
            with torch.no_grad():
                made = self.decoder(z)
            return self.discriminator_terms(x, made)
        return self.with_adversary(super().training_terms(x, rng, backend), self.decoder(z))
