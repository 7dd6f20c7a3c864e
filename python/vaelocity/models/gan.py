"""The generative adversarial network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vaelocity import ops
from vaelocity.models.adversary import adversarial_loss, discriminator_loss, loss_name
from vaelocity.models.arguments import count, not_negative, share
from vaelocity.models.average import WeightAverage
from vaelocity.models.base import Floats, Model, positive
from vaelocity.models.conditioned import LabelledNetwork
from vaelocity.models.labels import labels_of
from vaelocity.models.layers import activation_name
from vaelocity.models.spectral import normalise

_SAMPLES = 1024  # rows made at a time


class GAN(Model):
    """A generator from z ~ N(0, 1) to rows, a discriminator and an encoder.

    Generator and discriminator play for real rows (`adversary`), the discriminator with a penalty
    on its gradient, without which the game need not converge (R1 of Mescheder et al.,
    arXiv:1801.04406). The encoder learns to undo the
    generator: 1/2 ||G(E(x)) - x||^2 + 1/2 ||E(G(z)) - z||^2 (Schlegl et al., f-AnoGAN,
    Medical Image Analysis 54 (2019) 30, "izi" and "ziz"). Everything in the standardised space.
    Samples, the encoder and its score use an average of the generator's weights over the steps.

    History: loss (of the generator), discriminator_loss, discriminator_gradient (1/2 ||dD/dx||^2 at
    real rows), encoder_loss.

    Score kinds:
        reconstruction: 1/2 ||G(E(x)) - x||^2.
        discriminator: minus its logit: how little like a real row.
    With classes, of the label under which a row looks most normal.

    Args:
        n_features: columns of a row.
        latent: dimensions of z.
        hidden: widths of the hidden layers of each of the three networks.
        activation: of the hidden layers, see `Autoencoder`.
        loss: "non_saturating" or "hinge".
        gradient_penalty: weight of 1/2 ||dD/dx||^2; 0 leaves it out.
        spectral_norm: of the discriminator's layers (Miyato et al., arXiv:1802.05957).
        n_classes: 0, or the number of labels: then `fit` needs label=, integers [n] from 0 to
            n_classes - 1, and `sample` takes one.
        ema: decay of the average of the generator's weights; 0 takes the last ones.
        feature_names: of the columns; None gives x0, x1, ...
        generator, discriminator, encoder: networks of your own, called as network(input, label):
            [n, latent] to [n, n_features], [n, n_features] to [n, 1], [n, n_features] to
            [n, latent]; None makes them of dense layers. See `Diffusion` for what `fit` and `save`
            do with them.
    """

    kinds = ("reconstruction", "discriminator")
    default_kind = "reconstruction"
    validates = False
    adam: ClassVar[dict[str, Any]] = {"betas": (0.5, 0.999)}

    def __init__(
        self,
        n_features: int,
        latent: int = 16,
        hidden: Sequence[int] = (256, 256),
        activation: str | None = "leaky_relu",
        loss: str = "non_saturating",
        gradient_penalty: float = 0.1,
        spectral_norm: bool = False,
        n_classes: int = 0,
        ema: float = 0.999,
        feature_names: Sequence[str] | None = None,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__(n_features, feature_names)
        self.latent = positive(latent, "latent")
        self.hidden = tuple(positive(width, "hidden") for width in hidden)
        self.activation = activation_name(activation)
        self.loss = loss_name(loss)
        self.gradient_penalty = not_negative(gradient_penalty, "gradient_penalty")
        self.spectral_norm = bool(spectral_norm)
        self.n_classes = count(n_classes, "n_classes")
        self.ema = share(ema, "ema")
        own = not (generator is discriminator is encoder is None)
        self.own_networks = own and type(self) is GAN
        self.generator = self._network(generator, self.latent, n_features)
        self.discriminator = self._network(discriminator, n_features, 1)
        if self.spectral_norm:
            normalise(self.discriminator)
        self.encoder = self._network(encoder, n_features, self.latent)
        self.mean_generator = WeightAverage(self.generator, self.ema)
        self.initialise(0)
        self.initialised = False

    def _network(self, own: nn.Module | None, n_in: int, n_out: int) -> nn.Module:
        """The caller's own, or one of dense layers."""
        if own is not None:
            return own
        return LabelledNetwork([n_in, *self.hidden, n_out], self.activation, self.n_classes)

    def arguments(self) -> dict[str, Any]:
        return {
            **super().arguments(),
            "latent": self.latent,
            "hidden": list(self.hidden),
            "activation": self.activation,
            "loss": self.loss,
            "gradient_penalty": self.gradient_penalty,
            "spectral_norm": self.spectral_norm,
            "n_classes": self.n_classes,
            "ema": self.ema,
        }

    # ---- Training

    def initialise(self, seed: int) -> None:
        super().initialise(seed)
        self.mean_generator.restart(self.generator)

    def players(self) -> dict[str, list[nn.Parameter]]:
        return {
            "generator": list(self.generator.parameters()),
            "discriminator": list(self.discriminator.parameters()),
            "encoder": list(self.encoder.parameters()),
        }

    def training_terms(
        self,
        x: Tensor,
        rng: ops.Rng,
        backend: str | None = None,
        label: Tensor | None = None,
        player: str = "generator",
    ) -> dict[str, Tensor]:
        z = ops.philox_normal((len(x), self.latent), rng, backend=backend)
        if player == "discriminator":
            with torch.no_grad():
                fake = self.generator(z, label)
            both = None if label is None else torch.cat([label, label])
            real, fake = self.discriminator(torch.cat([x, fake]), both)[:, 0].chunk(2)
            loss = discriminator_loss(real, fake, self.loss)
            # Validation has no gradients, and the loss without the penalty.
            if not self.gradient_penalty or not torch.is_grad_enabled():
                return {"loss": loss}
            penalty = self._gradient_penalty(x, label)
            return {"loss": loss + self.gradient_penalty * penalty, "gradient": penalty}
        if player == "encoder":
            y = self.mean_generator(self.encoder(x, label), label)
            again = self.encoder(self.mean_generator(z, label), label)
            rows = ops.reconstruction_loss(x, y, backend=backend)
            return {"loss": rows + ops.reconstruction_loss(z, again, backend=backend)}
        fake = self.discriminator(self.generator(z, label), label)[:, 0]
        return {"loss": adversarial_loss(fake, self.loss)}

    def _gradient_penalty(self, x: Tensor, label: Tensor | None) -> Tensor:
        """1/2 ||dD/dx||^2 at real rows, [n]."""
        x = x.detach().requires_grad_()
        logit = self.discriminator(x, label).sum()
        (gradient,) = torch.autograd.grad(logit, x, create_graph=True)
        return 0.5 * gradient.square().sum(dim=1)

    def after_step(self) -> None:
        self.mean_generator.update(self.generator)

    # ---- Scores

    def standardised_score(self, x: Tensor, kind: str) -> Tensor:
        score = self._discriminator_score if kind == "discriminator" else self._reconstruction_score
        if not self.n_classes:
            return score(x, None)
        labels = [torch.full((len(x),), k, device=x.device) for k in range(self.n_classes)]
        return torch.stack([score(x, label) for label in labels]).amin(dim=0)

    def _discriminator_score(self, x: Tensor, label: Tensor | None) -> Tensor:
        logit: Tensor = self.discriminator(x, label)[:, 0]
        return -logit

    def _reconstruction_score(self, x: Tensor, label: Tensor | None) -> Tensor:
        return ops.reconstruction_loss(x, self.mean_generator(self.encoder(x, label), label))

    # ---- New rows

    def sample(
        self, n: int, seed: int = 0, label: int | npt.ArrayLike | Tensor | None = None
    ) -> Floats:
        """n new rows in the units of the features: float32 [n, n_features].

        Args:
            n: how many.
            seed: of z; the same seed gives the same rows, and the first rows of a larger n.
            label: of a model with classes: one for all or one each; None takes them in turn.

        Raises: ValueError for n or labels out of range; RuntimeError if it was not fitted.
        """
        n = count(n, "n")
        if label is None and self.n_classes:
            label = np.arange(n) % self.n_classes
        labels = labels_of(label, n, self.n_classes)
        z = ops.philox_normal((n, self.latent), ops.Rng(seed))
        parts = []
        for at in range(0, max(n, 1), _SAMPLES):
            given = None if labels is None else labels[at : at + _SAMPLES]
            parts.append(self._batched(partial(self._made, label=given), z[at : at + _SAMPLES]))
        return np.concatenate(parts)

    def _made(self, z: Tensor, label: Tensor | None) -> Tensor:
        """Rows in the units of the features from z."""
        label = None if label is None else label.to(z.device)
        return self.scaler.inverse(self.mean_generator(z, label))
