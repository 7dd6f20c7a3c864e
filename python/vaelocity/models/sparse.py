"""The sparse autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelocity import ops
from vaelocity.models.arguments import not_negative
from vaelocity.models.base import Floats, positive
from vaelocity.models.dense import DenseModel
from vaelocity.models.rows import Rows, as_rows


class SparseAutoencoder(DenseModel):
    """An autoencoder with many latent units z >= 0 of which a row uses few, to be looked at.

    Per row it minimises 1/2 ||y - x||^2 + penalty * sum z_k in the standardised space, or, with
    `top_k`, 1/2 ||y - x||^2 where all but the top_k largest z_k are set to 0 (Makhzani and Frey,
    arXiv:1312.5663). The weights by which a latent unit enters the decoder have norm 1: else the
    penalty would shrink z and the decoder make up for it. The score is 1/2 ||y - x||^2.

    With `top_k` there is no frozen scorer: the file is for `models.load` alone.

    Args:
        latent: units; more than n_features is the usual case.
        penalty: weight of the L1 norm of z.
        top_k: units a row may use; None for no limit.
        The others are those of `Autoencoder`.
    """

    kinds = ("reconstruction",)
    latent_kind = "point"

    def __init__(
        self,
        n_features: int,
        latent: int = 128,
        hidden: Sequence[int] = (),
        activation: str | None = "relu",
        penalty: float = 0.1,
        top_k: int | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        penalty = not_negative(penalty, "penalty")
        top_k = None if top_k is None else positive(top_k, "top_k")
        if top_k is not None and top_k > latent:
            raise ValueError(f"top_k: expected at most {latent} (latent), got {top_k}")
        super().__init__(n_features, latent, hidden, activation, False, feature_names)
        self.encoder.dense()[-1].activation = "relu"
        self.penalty = penalty
        self.top_k = top_k

    def frozen_kinds(self) -> tuple[str, ...]:
        return () if self.top_k is not None else super().frozen_kinds()

    def arguments(self) -> dict[str, Any]:
        own = {**super().arguments(), "penalty": self.penalty, "top_k": self.top_k}
        del own["batch_norm"]
        return own

    def point(self, x: Tensor) -> Tensor:
        z: Tensor = self.encoder(x)
        if self.top_k is None or self.top_k == self.latent:
            return z
        largest = z.topk(self.top_k, dim=1)
        return torch.zeros_like(z).scatter(1, largest.indices, largest.values)

    def training_terms(
        self, x: Tensor, rng: ops.Rng, backend: str | None = None
    ) -> dict[str, Tensor]:
        z = self.point(x)
        reconstruction = ops.reconstruction_loss(x, self.decoder(z), backend=backend)
        if self.top_k is not None:
            return {"loss": reconstruction}
        sparsity = ops.sparsity(z, backend=backend)
        loss = reconstruction + self.penalty * sparsity
        return {"loss": loss, "reconstruction": reconstruction, "sparsity": sparsity}

    @property
    def rows_apart(self) -> bool:
        return True

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        super().initialise(seed)
        self.after_step()

    @torch.no_grad()
    def after_step(self) -> None:
        # [n_out, latent]: a column is what one unit writes.
        weight = self.decoder.dense()[0].linear.weight
        weight.div_(weight.norm(dim=0, keepdim=True).clamp(min=1e-12))

    # ---- What the units are for

    def activity(self, X: Rows) -> Floats:
        """The share of rows X [n, n_features] that use a unit (z_k > 0): float32 [latent]."""
        found: Floats = (self.encode(X) > 0).mean(axis=0, dtype=np.float64).astype(np.float32)
        return found

    def dead_units(self, X: Rows) -> npt.NDArray[np.int64]:
        """The units that no row of X [n, n_features] uses, in order."""
        return np.flatnonzero(self.activity(X) == 0)

    def dictionary(self, X: Rows) -> Floats:
        """Which inputs excite a unit: the mean over the rows of X [n, n_features] that use unit k
        of d z_k / d x_j, x_j in standard deviations of the feature: float32 [latent, n_features];
        0 for a unit that none uses. With hidden=() these are the encoder's weights."""
        self._check_fitted()
        with self._evaluating():
            x = self.scaler(as_rows(X, self.n_features, "X").to(self.scaler.mean.device))
            x = x.detach().requires_grad_()
            z = self.point(x)
            rows = [
                torch.autograd.grad(z[:, k].sum(), x, retain_graph=True)[0].sum(dim=0)
                for k in range(self.latent)
            ]
            used = (z > 0).sum(dim=0).clamp(min=1)
            found: Floats = (torch.stack(rows) / used[:, None]).cpu().numpy()
        return found

    def exciting(self, X: Rows, unit: int, most: int = 5) -> list[tuple[str, float]]:
        """The features that excite or inhibit a unit most, strongest first: (name, gradient) as in
        `dictionary`. Raises ValueError for a unit that is not there."""
        if not 0 <= unit < self.latent:
            raise ValueError(f"unit: expected 0 to {self.latent - 1}, got {unit}")
        gradient = self.dictionary(X)[unit]
        order = np.argsort(-np.abs(gradient), kind="stable")[:most]
        return [(self.feature_names[j], float(gradient[j])) for j in order]
