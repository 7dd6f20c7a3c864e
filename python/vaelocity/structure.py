"""What the JSON of a .vael file must say, and which tensors it must find: checked, not trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity._core import BundleError
from vaelocity.bundle_parts import check_parts
from vaelocity.identity import identity_of, is_frozen
from vaelocity.steps import check_steps, is_float32, named_tensor
from vaelocity.threshold import Threshold

POINT_KINDS = ("reconstruction",)
GAUSSIAN_KINDS = ("reconstruction", "kl", "mu2", "rz", "elbo")

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
    _check_preprocess(metadata["preprocess"], tensors, n_features)
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
    if latent["kind"] not in ("point", "gaussian"):
        raise BundleError(f"latent: unknown kind {latent['kind']!r}")
    if type(latent["size"]) is not int or latent["size"] < 1:
        raise BundleError(f"latent: a size of {latent['size']!r}")
    gaussian = latent["kind"] == "gaussian"
    encoded = latent["size"] * (2 if gaussian else 1)
    check_steps(metadata["encoder"], "encoder", tensors, n_features, encoded)
    check_steps(metadata["decoder"], "decoder", tensors, latent["size"], n_features)
    score = metadata["score"]
    if score["kind"] not in (GAUSSIAN_KINDS if gaussian else POINT_KINDS):
        raise BundleError(f"score: unknown kind {score['kind']!r} for a {latent['kind']} latent")
    if score.get("loss", "squared_error") != "squared_error":
        raise BundleError(f"score: unknown loss {score['loss']!r}")
    if not is_float32(score.get("beta", 1.0)):
        raise BundleError(f"score: expected a finite number as beta, got {score['beta']!r}")
    if "conformance" in metadata:
        _check_conformance(metadata["conformance"], tensors, n_features)


def _check_preprocess(steps: Any, tensors: Tensors, n_features: int) -> None:
    if len(steps) != 1 or steps[0]["op"] != "standardize":
        raise BundleError(f'preprocess: expected one step "standardize", got {steps}')
    mean = named_tensor(tensors, steps[0]["mean"], np.float32, (n_features,))
    scale = named_tensor(tensors, steps[0]["scale"], np.float32, (n_features,))
    if not np.isfinite(mean).all():
        raise BundleError("preprocess: a mean is not finite")
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scale
    if not ((scale > 0) & np.isfinite(scale) & np.isfinite(inverse)).all():
        raise BundleError("preprocess: a scale is not positive and finite")


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
