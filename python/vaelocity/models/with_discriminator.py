"""An autoencoder beside a discriminator who judges what it makes."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vaelocity.models.adversary import adversarial_loss, discriminator_loss
from vaelocity.models.arguments import not_negative
from vaelocity.models.dense import DenseModel
from vaelocity.models.layers import Network
from vaelocity.models.spectral import normalise

_LOSS = "non_saturating"


class WithDiscriminator(DenseModel):
    """Loss + adversarial_weight * softplus(-D(made)), while D learns to tell what is made from what
    is real; D has spectral norm and the widths of the encoder.

    A subclass calls `add_discriminator` when its networks are there, and says in its
    `training_terms` what is made and what is real.
    """

    validates = False
    adam: ClassVar[dict[str, Any]] = {"betas": (0.5, 0.999)}

    def add_discriminator(self, n_in: int, weight: float) -> None:
        """n_in: numbers of what is judged; weight: of the adversarial loss."""
        self.adversarial_weight = not_negative(weight, "adversarial_weight")
        widths = [n_in, *self.hidden, 1]
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

    def discriminator_terms(self, real: Tensor, made: Tensor) -> dict[str, Tensor]:
        """The terms of the discriminator, of [n, n_in] each."""
        verdict, other = self.discriminator(torch.cat([real, made]))[:, 0].chunk(2)
        return {"loss": discriminator_loss(verdict, other, _LOSS)}

    def with_adversary(self, terms: dict[str, Tensor], made: Tensor) -> dict[str, Tensor]:
        """The terms of the autoencoder, with what the verdict on `made` [n, n_in] adds."""
        adversarial = adversarial_loss(self.discriminator(made)[:, 0], _LOSS)
        return {
            **terms,
            "loss": terms["loss"] + self.adversarial_weight * adversarial,
            "adversarial": adversarial,
            "lambda": torch.full_like(adversarial, self.adversarial_weight),
        }
