"""Models of dense layers: what the frozen scorer runs in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from vaelocity.models.base import positive
from vaelocity.models.bound import Bound, limits_of
from vaelocity.models.columns import Column
from vaelocity.models.latent import LatentModel
from vaelocity.models.layers import Network, activation_name


class DenseModel(LatentModel):
    """Dense encoder and its mirror image as decoder; the latent layer and the output are linear.
    A model whose latent_kind is output has no decoder: its encoder's one value is the score.

    Args: those of `Autoencoder`.
    """

    torch_kinds: ClassVar[tuple[str, ...]] = ()
    """Those of `kinds` that only torch computes: a file cannot be scored by them."""

    @property
    def scores_by_examples(self) -> bool:
        """Whether a score takes values from the rows that the model kept: a file has them then."""
        return False

    encoder: Network
    decoder: Network

    def __init__(
        self,
        n_features: int,
        latent: int,
        hidden: Sequence[int],
        activation: str | None,
        batch_norm: bool,
        feature_names: Sequence[str] | None,
    ) -> None:
        super().__init__(n_features, latent, feature_names)
        self.hidden = tuple(positive(width, "hidden") for width in hidden)
        self.activation = activation_name(activation)
        self.batch_norm = bool(batch_norm)
        encoded = self.latent * (2 if self.latent_kind == "gaussian" else 1)
        self.encoder = Network(
            [n_features, *self.hidden, encoded], self.activation, self.batch_norm
        )
        back = [self.latent, *reversed(self.hidden), n_features]
        ends = self.latent_kind == "output"
        self.decoder = Network([] if ends else back, self.activation, self.batch_norm)
        self.initialise(0)
        self.initialised = False

    @property
    def bounds(self) -> dict[int, float]:
        """The limits given to `bound`, by number of the column."""
        last = self.decoder[-1] if len(self.decoder) else None
        return last.limits if isinstance(last, Bound) else {}

    def bound(self, limits: Mapping[Column, float]) -> Self:
        """What the decoder gives for a column becomes limit * tanh(y) in the units in which the
        column is standardised: those of the rows, or of the logarithm after log1p. An angle stays
        within pi, a pseudorapidity within the detector; in training, and as the step `bound` of
        the file in the scorer. Called before the first `fit`; called again, it begins anew. See
        `models.bound.Bound` for the source.

        limits: of columns by name or number; {} for none.

        Raises:
            ValueError: a column that is not there, a limit that is not positive, a model whose
                decoder does not give the features.
            RuntimeError: the model was fitted.
        """
        if bool(self.fitted):
            raise RuntimeError("bound: the model was fitted already, without it")
        if limits and self.latent_kind not in ("point", "gaussian"):
            raise ValueError(f"bound: the output of a {type(self).__name__} is no feature")
        self.restore_bounds(limits_of(limits, self.feature_names))
        return self

    def restore_bounds(self, limits: Mapping[int, float]) -> None:
        """`bound` with limits of a file."""
        if self.bounds:
            del self.decoder[-1]
        if limits:
            self.decoder.append(Bound(limits, self))

    def frozen_kinds(self) -> tuple[str, ...]:
        """The kinds of score that a file of the model gives."""
        return tuple(kind for kind in self.kinds if kind not in self.torch_kinds)

    def arguments(self) -> dict[str, Any]:
        return {
            **super().arguments(),
            "hidden": list(self.hidden),
            "activation": self.activation,
            "batch_norm": self.batch_norm,
        }
