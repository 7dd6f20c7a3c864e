"""What the JSON of a .vael file must say, and which tensors it must find: checked, not trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity._core import BundleError
from vaelocity.bundle_parts import check_parts
from vaelocity.identity import identity_of, is_frozen
from vaelocity.preprocess import check_preprocess
from vaelocity.steps import check_keys, check_steps, check_weights, is_float32, named_tensor
from vaelocity.threshold import Threshold

POINT_KINDS = ("reconstruction",)
GAUSSIAN_KINDS = ("reconstruction", "kl", "mu2", "rz", "elbo")

KINDS = {
    "point": POINT_KINDS,
    "gaussian": GAUSSIAN_KINDS,
    "embedding": ("latent_reconstruction",),
    "output": ("output",),
}
"""By kind of latent space. gaussian: the encoder ends in mu, then logvar. embedding: it ends in e,
and the decoder goes from e to an e' as wide; latent_reconstruction is the loss between the two.
output: the encoder's one value is the score, and there is no decoder."""

SCORES = (*GAUSSIAN_KINDS, "latent_reconstruction", "output")
"""All kinds of score, in the order of the kernels' codes."""

LOSSES = ("squared_error", "absolute_error", "huber", "bce_with_logits")
"""Of a feature x and its reconstruction y, both standardised, d = y - x: 1/2 d^2; |d|; huber 1/2
d^2 for |d| <= delta (1), delta (|d| - delta / 2) beyond; bce_with_logits, y being a logit,
softplus(y) - c y + 1/2 (x - c)^2 with c = x clamped to [0, 1]."""

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]


def check_structure(metadata: Mapping[str, Any], tensors: Tensors) -> None:
    """Raise BundleError unless the steps form a network from the features back to the features,
    or the file is that of a model without a frozen scorer.

    Every tensor the JSON names must be there with the dtype and the shape its step needs.
    """
    try:
        _check(metadata, tensors)
    except (KeyError, IndexError) as error:
        raise BundleError(f"metadata: {error} is missing") from None
    except (TypeError, AttributeError) as error:
        raise BundleError(f"metadata: {error}") from None


def _check(metadata: Mapping[str, Any], tensors: Tensors) -> None:
    features = metadata["features"]
    if not isinstance(features, list) or not all(isinstance(name, str) for name in features):
        raise BundleError("features: expected a list of strings")
    n_features = len(features)
    if n_features < 1:
        raise BundleError("features: none")
    check_preprocess(metadata["preprocess"], tensors, n_features)
    _check_state(metadata.get("module"), tensors)
    if is_frozen(metadata):
        _check_scorer(metadata, tensors, n_features)
    if "identity" in metadata and metadata["identity"] != identity_of(metadata, tensors):
        raise BundleError("identity: not that of the layers and preprocessing in the file")
    _check_thresholds(metadata)
    check_parts(metadata, tensors)


def _check_scorer(metadata: Mapping[str, Any], tensors: Tensors, n_features: int) -> None:
    """The network, its score and the conformance rows."""
    latent = metadata["latent"]
    check_keys(latent, ("kind", "size"), "latent")
    if latent["kind"] not in KINDS:
        raise BundleError(f"latent: unknown kind {latent['kind']!r}")
    if type(latent["size"]) is not int or latent["size"] < 1:
        raise BundleError(f"latent: a size of {latent['size']!r}")
    encoded = latent["size"] * (2 if latent["kind"] == "gaussian" else 1)
    check_steps(metadata["encoder"], "encoder", tensors, n_features, encoded)
    if latent["kind"] == "output":
        if latent["size"] != 1 or metadata["decoder"] != []:
            raise BundleError("latent: an output is of size 1 and has no decoder")
    else:
        decoded = latent["size"] if latent["kind"] == "embedding" else n_features
        check_steps(metadata["decoder"], "decoder", tensors, latent["size"], decoded)
    check_weights(metadata, tensors)
    score = metadata["score"]
    check_keys(score, ("kind", "loss", "beta", "delta"), "score")
    if score["kind"] not in KINDS[latent["kind"]]:
        raise BundleError(f"score: unknown kind {score['kind']!r} for a {latent['kind']} latent")
    if score.get("loss", "squared_error") not in LOSSES:
        raise BundleError(f"score: unknown loss {score['loss']!r}")
    delta = score.get("delta", 1.0)
    if not is_float32(delta) or not np.float32(delta) > 0:
        raise BundleError(f"score: delta must be positive, got {delta!r}")
    if not is_float32(score.get("beta", 1.0)):
        raise BundleError(f"score: expected a finite number as beta, got {score['beta']!r}")
    if "conformance" in metadata:
        _check_conformance(metadata["conformance"], tensors, n_features)


def _check_state(module: Any, tensors: Tensors) -> None:
    """Tensors of torch's module that are no steps; torch checks their shapes when it loads them."""
    if not isinstance(module, dict) or "state" not in module:
        return
    if not isinstance(module["state"], dict):
        raise BundleError(f"module: expected a table of tensors as state, got {module['state']!r}")
    missing = [name for name in module["state"].values() if name not in tensors]
    if missing:
        raise BundleError(f"tensor {missing[0]} is missing")


def _check_conformance(names: Any, tensors: Tensors, n_features: int) -> None:
    n = named_tensor(tensors, names["rows"], np.float32, (None, n_features)).shape[0]
    # Flags are per kind, like the scores: a row may saturate in one kind and not in another.
    for kind, name in names["scores"].items():
        named_tensor(tensors, name, np.float32, (n,))
        named_tensor(tensors, names["flags"][kind], np.uint8, (n,))


def _check_thresholds(metadata: Mapping[str, Any]) -> None:
    seen = set()
    for entry in metadata.get("thresholds", []):
        try:
            threshold = Threshold.from_dict(entry)
        except ValueError as error:
            raise BundleError(str(error)) from None
        if not is_float32(threshold.value) or np.float32(threshold.value) != threshold.value:
            raise BundleError(f"thresholds: the value of {threshold.name} is no finite float32")
        _check_owner(f"threshold {threshold.name}", threshold.model, metadata)
        if (threshold.kind, threshold.name) in seen:
            raise BundleError(f"thresholds: {threshold.name} more than once for {threshold.kind}")
        seen.add((threshold.kind, threshold.name))


def _check_owner(what: str, model: str | None, metadata: Mapping[str, Any]) -> None:
    identity = metadata.get("identity")
    if model is not None and identity is not None and model != identity:
        raise BundleError(
            f"{what}: it is for model {model[:12]}..., the file holds model {identity[:12]}...; "
            "a threshold means nothing to another model's scores"
        )
