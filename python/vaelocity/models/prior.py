"""Models whose latent space N(0, 1) fills."""

from __future__ import annotations

from vaelocity import ops
from vaelocity.models.arguments import count
from vaelocity.models.base import Floats
from vaelocity.models.latent import LatentModel


class NormalPrior(LatentModel):
    """Its latent points are distributed like N(0, 1) in training, so that random codes decode to
    rows like those it learned."""

    def sample(self, n: int, seed: int = 0) -> Floats:
        """n new rows in the units of the features, float32 [n, n_features]: z ~ N(0, 1) decoded,
        without noise on top. The same seed gives the same rows, and the first rows of a larger n.

        Raises: ValueError for an n below 0; RuntimeError if it was not fitted.
        """
        return self.decode(ops.philox_normal((count(n, "n"), self.latent), ops.Rng(seed)))
