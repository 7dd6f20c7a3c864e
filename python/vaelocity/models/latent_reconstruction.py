"""The latent reconstruction score."""

from __future__ import annotations

from torch import Tensor

from vaelocity import ops
from vaelocity.models.base import Floats, saturated
from vaelocity.models.latent import LatentModel
from vaelocity.models.rows import Rows, as_rows


def latent_reconstruction(model: LatentModel, X: Rows) -> Floats:
    """1/2 ||E(D(E(x))) - E(x)||^2: how far a row's latent point moves when it is decoded and
    encoded again, float32 [n]; E gives the point (a VAE's mu). A reconstruction error in a learned
    space and not in the inputs, as v5 of AXOL1TL in the CMS trigger takes one in its embedding.

    It needs a latent space wider than what the data fill. A code of no more numbers than that comes
    back nearly unmoved wherever the row was, and the score sees nothing.

    Args:
        model: fitted, with a latent space.
        X: [n, n_features]; a row with a NaN or infinity scores NaN.

    Raises: see `Model`.
    """

    def score(x: Tensor) -> Tensor:
        z = model.point(model.scaler(x))
        again = model.point(model.decoder(z))
        return saturated(ops.reconstruction_loss(z, again), model._scorable(x))

    return model._batched(score, as_rows(X, model.n_features, "X"))
