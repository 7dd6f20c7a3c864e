"""The adversarial autoencoder: a discriminator shapes the latent space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vaelocity import ops
from vaelocity.models.adversary import adversarial_loss, discriminator_loss
from vaelocity.models.arguments import not_negative
from vaelocity.models.base import Floats
from vaelocity.models.dense import DenseModel
from vaelocity.models.layers import Network
from vaelocity.models.spectral import normalise

_LOSS = "non_saturating"


class AdversarialAutoencoder(DenseModel):
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
    validates = False
    adam: ClassVar[dict[str, Any]] = {"betas": (0.5, 0.999)}

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
        self.adversarial_weight = not_negative(adversarial_weight, "adversarial_weight")
        widths = [self.latent, *self.hidden, 1]
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

    def training_terms(
        self, x: Tensor, rng: ops.Rng, backend: str | None = None, player: str = "autoencoder"
    ) -> dict[str, Tensor]:
        if player == "discriminator":
            with torch.no_grad():
                z = self.point(x)
            prior = ops.philox_normal(z.shape, rng, backend=backend)
            real, fake = self.discriminator(torch.cat([prior, z]))[:, 0].chunk(2)
            return {"loss": discriminator_loss(real, fake, _LOSS)}
        z = self.point(x)
        reconstruction = ops.reconstruction_loss(x, self.decoder(z), backend=backend)
        adversarial = adversarial_loss(self.discriminator(z)[:, 0], _LOSS)
        return {
            "loss": reconstruction + self.adversarial_weight * adversarial,
            "reconstruction": reconstruction,
            "adversarial": adversarial,
            "lambda": torch.full_like(adversarial, self.adversarial_weight),
        }

    def sample(self, n: int, seed: int = 0) -> Floats:
        """n new rows in the units of the features, float32 [n, n_features]: z ~ N(0, 1) decoded.
        The same seed gives the same rows, and the first rows of a larger n."""
        if n < 0:
            raise ValueError(f"n: expected at least 0, got {n}")
        return self.decode(ops.philox_normal((n, self.latent), ops.Rng(seed)))
