"""Which model it is: a hash of what decides its scores, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["identity_of", "is_frozen", "owned"]

_TENSORS = ("mean", "scale", "weight", "bias")
"""Entries of a step that name a tensor."""


def identity_of(metadata: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """The model's identity, 64 hex digits: two files with it give every event the same scores.

    SHA-256 of features, preprocessing, layers, latent space, loss and beta as JSON with sorted
    keys, each tensor being replaced by its shape and the SHA-256 of its little-endian float32. What
    does not change a score is left out: thresholds, histograms, drift reference, provenance,
    conformance rows, the names of the tensors, the default kind of score (a threshold has its own
    kind). So a threshold can name the model it belongs to and be stored beside it.

    Of a model without a frozen scorer: of features, preprocessing, the module's class, its
    arguments and its state.

    Raises KeyError for metadata that name a tensor which is not there.
    """
    if not is_frozen(metadata):
        return _digest_of(_described_module(metadata, tensors))
    score = {name: value for name, value in metadata["score"].items() if name != "kind"}
    described = {
        "features": metadata["features"],
        "latent": metadata["latent"],
        "score": score,
        **{
            part: [_described(step, tensors) for step in metadata[part]]
            for part in ("preprocess", "encoder", "decoder")
        },
    }
    return _digest_of(described)


def is_frozen(metadata: Mapping[str, Any]) -> bool:
    """False for the file of a model that only torch can score: it has the state of the module, and
    no network from the features to the features."""
    module = metadata.get("module")
    has_state = isinstance(module, dict) and "state" in module
    return "encoder" in metadata or not has_state


def owned(metadata: Mapping[str, Any], identity: str) -> dict[str, Any]:
    """The metadata with its identity; thresholds that name no model get this one."""
    thresholds = [
        {**entry, "model": identity if entry.get("model") is None else entry["model"]}
        for entry in metadata.get("thresholds", [])
    ]
    return {**metadata, "identity": identity, "thresholds": thresholds}


def _described_module(
    metadata: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]
) -> dict[str, Any]:
    module = metadata["module"]
    arrays = {name: tensors[tensor] for name, tensor in module["state"].items()}
    return {
        "features": metadata["features"],
        "preprocess": [_described(step, tensors) for step in metadata["preprocess"]],
        "class": module["class"],
        "args": module["args"],
        "state": {name: _digest(array, array.dtype.str) for name, array in arrays.items()},
    }


def _digest_of(described: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _described(step: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    return {
        name: _digest(tensors[value]) if name in _TENSORS else value for name, value in step.items()
    }


def _digest(array: npt.NDArray[Any], dtype: str = "<f4") -> list[Any]:
    data = np.asarray(array, dtype, order="C").tobytes()
    return [list(array.shape), hashlib.sha256(data).hexdigest()]
