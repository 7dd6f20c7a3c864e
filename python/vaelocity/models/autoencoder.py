"""The autoencoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from vaelocity import ops
from vaelocity.models.base import StepWithoutGraph
from vaelocity.models.dense import DenseModel
from vaelocity.models.without_graph import autoencoder_step


class Autoencoder(DenseModel):
    """Dense encoder and its mirror image as decoder: n_features - hidden - latent - hidden -
    n_features, with a linear latent layer and a linear output.

    Per row it minimises 1/2 ||y - x||^2 in the standardised space, which is its score as well.
    hidden=() gives the linear autoencoder, whose optimum spans the space of the leading `latent`
    principal components (Baldi and Hornik, Neural Networks 2 (1989) 53).

    Args:
        n_features: columns of a row.
        latent: latent dimensions.
        hidden: widths of the encoder's hidden layers.
        activation: of the hidden layers: relu, leaky_relu, tanh, sigmoid, elu, silu, gelu,
            identity; None is identity.
        batch_norm: between a hidden layer and its activation; folded away in the file.
        feature_names: of the columns; None gives x0, x1, ...
    """

    kinds = ("reconstruction",)
    latent_kind = "point"
    may_leave_out = True

    def __init__(
        self,
        n_features: int,
        latent: int = 16,
        hidden: Sequence[int] = (64, 32),
        activation: str | None = "relu",
        batch_norm: bool = False,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(n_features, latent, hidden, activation, batch_norm, feature_names)

    def training_terms(
        self, x: Tensor, rng: ops.Rng, backend: str | None = None
    ) -> dict[str, Tensor]:
        y = self.decoder(self.point(x))
        return {"loss": ops.reconstruction_loss(x, y, mask=self.counts(x), backend=backend)}

    @property
    def rows_apart(self) -> bool:
        return not self.batch_norm

    def step_without_graph(self, backend: str | None) -> StepWithoutGraph | None:
        # A subclass has terms of its own; the reference is plain torch throughout.
        special = self.batch_norm or self.scaler.leaves_out or bool(self.bounds)
        plain = type(self) is Autoencoder and not special
        if not plain or backend == "reference":
            return None
        return autoencoder_step(self.encoder, self.decoder, backend)
