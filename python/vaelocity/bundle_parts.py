"""Optional parts of a .vael file beside the model: score histograms and the drift reference.

Their tensors are named in the JSON: "score_histograms" has {kind: {array: tensor}}, "drift" has
{array: tensor}. The C++ reader passes over both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from vaelocity._core import BundleError
from vaelocity.drift import Reference
from vaelocity.histogram import ScoreHistogram

Array = npt.NDArray[Any]

__all__ = ["check_parts", "get_histogram", "get_reference", "put_histogram", "put_reference"]


def put_histogram(
    metadata: dict[str, Any], tensors: dict[str, Array], histogram: ScoreHistogram
) -> None:
    """Add or replace the histogram of a kind of score.

    Raises ValueError for a histogram without a kind, or of another model.
    """
    kind, identity = histogram.kind, metadata.get("identity")
    if kind is None:
        raise ValueError("histogram: it does not say of which kind its scores are")
    if None not in (histogram.model, identity) and histogram.model != identity:
        raise ValueError(f"histogram: it is of model {histogram.model}, the file's is {identity}")
    stored = metadata.setdefault("score_histograms", {})
    for name in stored.get(kind, {}).values():
        tensors.pop(name, None)
    arrays = {f"histogram.{kind}.{what}": array for what, array in histogram.to_arrays().items()}
    tensors.update(arrays)
    stored[kind] = {name.rpartition(".")[2]: name for name in arrays}


def get_histogram(
    metadata: Mapping[str, Any], tensors: Mapping[str, Array], kind: str
) -> ScoreHistogram | None:
    """The histogram of the scores of that kind, or None. Raises BundleError if it is damaged."""
    names = metadata.get("score_histograms", {}).get(kind)
    if names is None:
        return None
    try:
        arrays = _arrays(names, tensors)
        return ScoreHistogram.from_arrays(arrays, kind, metadata.get("identity"))
    except ValueError as error:
        raise BundleError(f"score_histograms: {kind}: {error}") from None


def put_reference(
    metadata: dict[str, Any], tensors: dict[str, Array], reference: Reference
) -> None:
    """Add or replace the drift reference."""
    arrays = {f"drift.{what}": array for what, array in reference.to_arrays().items()}
    tensors.update(arrays)
    metadata["drift"] = {name.rpartition(".")[2]: name for name in arrays}


def get_reference(metadata: Mapping[str, Any], tensors: Mapping[str, Array]) -> Reference | None:
    """The drift reference, or None. Raises BundleError if it is damaged."""
    if "drift" not in metadata:
        return None
    try:
        reference = Reference.from_arrays(_arrays(metadata["drift"], tensors))
    except ValueError as error:
        raise BundleError(f"drift: {error}") from None
    if reference.n_features != len(metadata["features"]):
        raise BundleError(
            f"drift: of {reference.n_features} features, the model has {len(metadata['features'])}"
        )
    return reference


def check_parts(metadata: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
    """Raise BundleError if a part is damaged."""
    for kind in metadata.get("score_histograms", {}):
        get_histogram(metadata, tensors, kind)
    get_reference(metadata, tensors)


def _arrays(names: Mapping[str, str], tensors: Mapping[str, Array]) -> dict[str, Array]:
    missing = [name for name in names.values() if name not in tensors]
    if missing:
        raise ValueError(f"tensor {missing[0]} is missing")
    return {what: tensors[name] for what, name in names.items()}
