"""The linear autoencoder in closed form."""

from __future__ import annotations

import numpy.typing as npt
import torch
from torch import Tensor

from vaelocity.models.autoencoder import Autoencoder
from vaelocity.models.rows import Rows
from vaelocity.models.training_data import training_data


@torch.no_grad()
def initialise_pca(
    model: Autoencoder, X: Rows, weight: npt.ArrayLike | Tensor | None = None
) -> Autoencoder:
    """Set a linear autoencoder (hidden=()) to principal component analysis: the minimum of its
    loss over X, exactly (Baldi and Hornik, Neural Networks 2 (1989) 53). It is fitted then, and
    `fit` or `partial_fit` go on from there with the same scaling.

    The components are those of the standardised rows, largest variance first; of the two signs of a
    component the one that makes its largest entry positive.

    Args:
        model: never fitted; it is changed and returned.
        X: [n, n_features], finite.
        weight: [n], not negative; of the scaling as well as of the covariance.

    Raises: ValueError for a model with hidden layers, one that was fitted, a latent wider than the
        rows; see `Model.fit` for X and weight.
    """
    if model.hidden or model.batch_norm:
        raise ValueError(f"model: expected hidden=() and no batch norm, got hidden={model.hidden}")
    if model.latent > model.n_features:
        raise ValueError(
            f"model: {model.latent} latent dimensions, the rows have {model.n_features}"
        )
    if bool(model.fitted):
        raise ValueError("model: it was fitted already")
    part = training_data(model.n_features, X, weight, None, None).train
    model.begin(part.x, part.weight)
    model.fitted.fill_(True)
    model.initialised = True
    components = _components(model.scaler(part.x).double(), part.weight)[:, : model.latent]
    (encoder,), (decoder,) = model.encoder.dense(), model.decoder.dense()
    encoder.linear.weight.copy_(components.T)
    decoder.linear.weight.copy_(components)
    encoder.linear.bias.zero_()
    decoder.linear.bias.zero_()
    return model


def _components(x: Tensor, weight: Tensor | None) -> Tensor:
    """The eigenvectors of the covariance of x [n, d], a column each, largest eigenvalue first."""
    weighted = x if weight is None else x * weight.double()[:, None]
    vectors = torch.linalg.eigh(weighted.T @ x / len(x)).eigenvectors.flip(1)
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    found: Tensor = vectors * largest.sign()
    return found
