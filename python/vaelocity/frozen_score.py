"""The score of a .vael file in float64 NumPy, whatever its preprocessing, loss and latent space.

Written from the definitions in `vaelocity.preprocess`, `vaelocity.structure` and
`vaelocity.frozen_layers`, for comparing; what scores is `vaelocity.load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.frozen_layers import layer_of
from vaelocity.preprocess import prepared

__all__ = ["exact_features", "exact_score"]

Array = npt.NDArray[Any]
Exact = npt.NDArray[np.float64]
Metadata = Mapping[str, Any]
Tensors = Mapping[str, Array]


def exact_score(
    metadata: Metadata, tensors: Tensors, rows: Array, kind: str | None = None
) -> Exact:
    """The scores [n] of rows [n, n_features] float32 that the file does not reject.

    kind: None is the file's own. Raises KeyError for a step that `layer_of` does not know.
    """
    kind = kind or metadata["score"]["kind"]
    if kind == "reconstruction":
        return np.asarray(exact_features(metadata, tensors, rows).sum(axis=1))
    x, _ = prepared(metadata, tensors, rows)
    encoded = _through(metadata["encoder"], tensors, x)
    if kind == "output":
        return encoded[:, 0]
    if kind == "latent_reconstruction":
        again = _through(metadata["decoder"], tensors, encoded)
        return np.asarray(_terms(metadata, encoded, again).sum(axis=1))
    mu, logvar = np.split(encoded, 2, axis=1)
    if kind == "mu2":
        return np.asarray(np.square(mu).sum(axis=1))
    if kind == "rz":
        return np.asarray((np.square(mu) / np.exp(logvar)).sum(axis=1))
    kl = 0.5 * (np.square(mu) + np.expm1(logvar) - logvar).sum(axis=1)
    if kind == "kl":
        return np.asarray(kl)
    features = exact_features(metadata, tensors, rows).sum(axis=1)
    return np.asarray(features + float(metadata["score"].get("beta", 1.0)) * kl)


def exact_features(metadata: Metadata, tensors: Tensors, rows: Array) -> Exact:
    """What each feature adds to the reconstruction score, 0 where it leaves the loss:
    [n, n_features]."""
    x, counts = prepared(metadata, tensors, rows)
    point = _through(metadata["encoder"], tensors, x)[:, : metadata["latent"]["size"]]
    y = _through(metadata["decoder"], tensors, point)
    return np.where(counts, _terms(metadata, x, y), 0.0)


def _terms(metadata: Metadata, x: Exact, y: Exact) -> Exact:
    score = metadata["score"]
    d = y - x
    match score.get("loss", "squared_error"):
        case "absolute_error":
            return np.abs(d)
        case "huber":
            delta = float(np.float32(score.get("delta", 1.0)))
            far = delta * (np.abs(d) - 0.5 * delta)
            return np.where(np.abs(d) <= delta, 0.5 * np.square(d), far)
        case "bce_with_logits":
            inside = np.clip(x, 0, 1)
            return np.logaddexp(0, y) - inside * y + 0.5 * np.square(x - inside)
    return 0.5 * np.square(d)


def _through(steps: Any, tensors: Tensors, x: Exact) -> Exact:
    for step in steps:
        x = layer_of(step, tensors)(x)
    return x
