"""The masked autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vaelocity import ops
from vaelocity.models.base import Floats, Model, nan_unless, positive, saturated
from vaelocity.models.layers import Network, activation_name
from vaelocity.models.rows import Rows, as_rows

SCORE_SEED = 0x3A5C
"""Names the masks of the score."""

LOGVAR = 6.0
"""The logarithm of a predicted variance is kept within this of 0, softly: a feature that is a
function of the others would else be predicted ever more certainly."""


class MaskedAutoencoder(Model):
    """Hides part of every row and predicts it from the rest: mean and variance of every feature.

    In training every row has a random mask of its own. The network sees 0, the mean, where an
    element is hidden, and beside the row which elements those are. Per row it minimises
    sum over the hidden j of 1/2 (s_j + (x_j - m_j)^2 exp(-s_j)), the negative logarithm of a normal
    density of mean m_j and logvar s_j, in the standardised space. A NaN is hidden, in `fit` and in
    `score`, and neither predicted nor scored.

    Score kinds, over fixed masks that hide every feature equally often, the same for every row and
    every time: masked, the sum over the features of that negative log density given the others (a
    pseudo log likelihood: Besag, The Statistician 24 (1975) 179); masked_error, the sum of
    1/2 (m_j - x_j)^2. Both divide by how much of the row is there. A score needs n_masks passes and
    can be negative for `masked`; there is no frozen scorer, files are for `models.load`.

    Args:
        hidden_share: probability that an element is hidden in training, and the share of the
            features that a mask of the score hides.
        rounds: how often the masks of the score hide each feature.
        The others are those of `Autoencoder`.
    """

    kinds = ("masked", "masked_error")
    default_kind = "masked"
    missing = True

    def __init__(
        self,
        n_features: int,
        hidden: Sequence[int] = (128, 128),
        activation: str | None = "relu",
        hidden_share: float = 0.3,
        rounds: int = 8,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        if not 0 < hidden_share < 1:
            raise ValueError(f"hidden_share: expected between 0 and 1, got {hidden_share!r}")
        super().__init__(n_features, feature_names)
        self.hidden = tuple(positive(width, "hidden") for width in hidden)
        self.activation = activation_name(activation)
        self.hidden_share = float(hidden_share)
        self.rounds = positive(rounds, "rounds")
        widths = [2 * n_features, *self.hidden, 2 * n_features]
        self.network = Network(widths, self.activation, False)
        self.initialise(0)
        self.initialised = False

    def arguments(self) -> dict[str, Any]:
        return {
            **super().arguments(),
            "hidden": list(self.hidden),
            "activation": self.activation,
            "hidden_share": self.hidden_share,
            "rounds": self.rounds,
        }

    def predict(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Means and logvars of every feature, [n, 2 n_features], of standardised rows of which the
        elements where `hidden` is True are not looked at."""
        seen = torch.where(hidden, 0, x)
        mean, logvar = self.network(torch.cat([seen, hidden.to(x.dtype)], dim=1)).chunk(2, dim=1)
        return torch.cat([mean, LOGVAR * torch.tanh(logvar / LOGVAR)], dim=1)

    def training_terms(
        self, x: Tensor, rng: ops.Rng, backend: str | None = None
    ) -> dict[str, Tensor]:
        missing = torch.isnan(x)
        x = torch.where(missing, 0, x)
        _, kept = ops.corrupt(x, rng, drop=self.hidden_share, backend=backend)
        out = self.predict(x, missing | ~kept)
        asked = ~kept & ~missing
        return {
            "loss": ops.reconstruction_loss(x, out, "gaussian_nll", mask=asked, backend=backend)
        }

    def masks(self) -> Tensor:
        """The masks of the score: bool [n_masks, n_features], True is hidden. Each round is a
        random partition of the features into groups of about hidden_share of them."""
        d = self.n_features
        groups = min(d, max(1, round(1 / self.hidden_share)))
        rng = ops.Rng(SCORE_SEED)
        found = []
        for _ in range(self.rounds):
            order = torch.argsort(ops.philox_normal((1, d), rng)[0], stable=True)
            place = torch.empty(d, dtype=torch.long).scatter_(0, order, torch.arange(d))
            found += [place % groups == group for group in range(groups)]
        return torch.stack(found)

    def feature_scores(self, x: Tensor, kind: str) -> Tensor:
        """What a feature adds to the score of standardised rows: [n, n_features]; 0 of a NaN."""
        missing = torch.isnan(x)
        x = torch.where(missing, 0, x)
        total = torch.zeros_like(x)
        for mask in self.masks().to(x.device):
            mean, logvar = self.predict(x, missing | mask).chunk(2, dim=1)
            error = 0.5 * (x - mean).square()
            if kind == "masked":
                error = error * torch.exp(-logvar) + 0.5 * logvar
            total += torch.where(mask & ~missing, error, 0)
        return total / self.rounds

    def standardised_score(self, x: Tensor, kind: str) -> Tensor:
        present = (~torch.isnan(x)).sum(dim=1)
        # A row of which nothing is there has nothing to be scored by: 0 / 0.
        return self.feature_scores(x, kind).sum(dim=1) * (self.n_features / present)

    def score_features(self, X: Rows, kind: str | None = None) -> Floats:
        """What every feature adds to the score of its row: float32 [n, n_features], NaN where the
        feature is missing. Without missing ones the sum over a row is its score, up to rounding."""
        kind = self._checked_kind(kind)

        def score(x: Tensor) -> Tensor:
            return saturated(self.feature_scores(self.scaler(x), kind), torch.isfinite(x))

        return self._batched(score, as_rows(X, self.n_features, "X"))

    def impute(self, X: Rows) -> Floats:
        """X [n, n_features] with every NaN replaced by the mean predicted from the rest of its
        row, in the units of the features: float32; a row with an infinity is NaN."""

        def impute(x: Tensor) -> Tensor:
            missing = torch.isnan(x)
            mean = self.predict(self.scaler(x), missing)[:, : self.n_features]
            filled = torch.where(missing, self.scaler.inverse(mean), x)
            return nan_unless(~torch.isinf(x).any(dim=1), filled)

        return self._batched(impute, as_rows(X, self.n_features, "X"))
