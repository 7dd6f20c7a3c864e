"""The VAE-GAN: a discriminator judges what the decoder makes."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vaelocity import ops
from vaelocity.models.adversary import adversarial_loss, discriminator_loss
from vaelocity.models.arguments import not_negative
from vaelocity.models.layers import Network
from vaelocity.models.spectral import normalise
from vaelocity.models.vae import VAE

_LOSS = "non_saturating"


class VAEGAN(VAE):
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

    validates = False
    adam: ClassVar[dict[str, Any]] = {"betas": (0.5, 0.999)}

    def __init__(
        self, n_features: int, *arguments: Any, adversarial_weight: float = 1.0, **named: Any
    ) -> None:
        super().__init__(n_features, *arguments, **named)
        self.adversarial_weight = not_negative(adversarial_weight, "adversarial_weight")
        widths = [n_features, *self.hidden, 1]
        self.discriminator = normalise(Network(widths, "leaky_relu", batch_norm=False))
        self.initialise(0)
        self.initialised = False

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "adversarial_weight": self.adversarial_weight}

    def players(self) -> dict[str, list[nn.Parameter]]:
        return {
            "autoencoder": [*self.encoder.parameters(), *self.decoder.parameters()],
            "discriminator": list(self.discriminator.parameters()),
        }

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
            real, fake = self.discriminator(torch.cat([x, made]))[:, 0].chunk(2)
            return {"loss": discriminator_loss(real, fake, _LOSS)}
        terms = super().training_terms(x, rng, backend)
        adversarial = adversarial_loss(self.discriminator(self.decoder(z))[:, 0], _LOSS)
        return {
            **terms,
            "loss": terms["loss"] + self.adversarial_weight * adversarial,
            "adversarial": adversarial,
            "lambda": torch.full_like(adversarial, self.adversarial_weight),
        }
