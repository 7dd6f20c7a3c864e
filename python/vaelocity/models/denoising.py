"""The denoising autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vaelocity import ops
from vaelocity.models.base import positive
from vaelocity.models.corruption import CORRUPTIONS, corrupt_rows, replacements
from vaelocity.models.dense import DenseModel

SCORE_SEED = 0x5C03E
"""Names the draws of the denoising score."""


class DenoisingAutoencoder(DenseModel):
    """An autoencoder that sees a corrupted row and has to give the clean one back.

    Per row it minimises 1/2 ||y(corrupted x) - x||^2 in the standardised space (Vincent et al.,
    ICML 2008). It learns the way back to where the rows are dense, so that the latent space need
    not be narrower than the input.

    Score kinds: reconstruction, 1/2 ||y - x||^2 of the row as it is; denoising, the mean over
    `draws` fixed corruptions of it of 1/2 ||y - x||^2, the same corruptions for every row and every
    time. A file gives the first alone.

    Args:
        corruption: gaussian adds `level` times a standard normal; dropout sets an element to the
            mean of its feature; salt_and_pepper to plus or minus three standard deviations; swap
            to the value of another row; each with probability `level`.
        level: of the corruption: standard deviations, or a probability from 0 to 1.
        draws: corruptions that the denoising score averages over.
        The others are those of `Autoencoder`.
    """

    kinds = ("reconstruction", "denoising")
    torch_kinds = ("denoising",)
    latent_kind = "point"

    def __init__(
        self,
        n_features: int,
        latent: int = 64,
        hidden: Sequence[int] = (128,),
        activation: str | None = "relu",
        corruption: str = "gaussian",
        level: float = 1.0,
        draws: int = 8,
        batch_norm: bool = False,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        if corruption not in CORRUPTIONS:
            names = ", ".join(CORRUPTIONS)
            raise ValueError(f"corruption: expected one of {names}, got {corruption!r}")
        highest = float("inf") if corruption == "gaussian" else 1
        if not 0 < level <= highest or level == float("inf"):
            wanted = "a positive number" + (" of at most 1" if highest == 1 else "")
            raise ValueError(f"level: expected {wanted} for {corruption}, got {level!r}")
        super().__init__(n_features, latent, hidden, activation, batch_norm, feature_names)
        self.corruption = corruption
        self.level = float(level)
        self.draws = positive(draws, "draws")

    @property
    def scores_by_examples(self) -> bool:
        return self.corruption == "swap"

    def arguments(self) -> dict[str, Any]:
        own = {"corruption": self.corruption, "level": self.level, "draws": self.draws}
        return {**super().arguments(), **own}

    def training_terms(
        self, x: Tensor, rng: ops.Rng, backend: str | None = None
    ) -> dict[str, Tensor]:
        corrupted = corrupt_rows(x, rng, self.corruption, self.level, backend)
        y = self.decoder(self.point(corrupted))
        return {"loss": ops.reconstruction_loss(x, y, backend=backend)}

    def standardised_score(self, x: Tensor, kind: str) -> Tensor:
        if kind == "reconstruction":
            return super().standardised_score(x, kind)
        kept, other = self._draws(x)
        total = x.new_zeros(len(x))
        for keep, value in zip(kept, other, strict=True):
            corrupted = x + value if self.corruption == "gaussian" else torch.where(keep, x, value)
            total += ops.reconstruction_loss(x, self.decoder(self.point(corrupted)))
        return total / self.draws

    def _draws(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The corruptions of the score, [draws, n_features] each."""
        rng = ops.Rng(SCORE_SEED, device=x.device)
        like = x.new_empty(self.draws, self.n_features)
        # Sorted and each once: the rows of a model that was loaded are the same set.
        pool = torch.unique(self.scaler(self.examples), dim=0)
        return replacements(like, rng, self.corruption, self.level, pool)
