"""Named thresholds of one model: found together, and stored in its file without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from vaelocity.bundle import read_bundle, write_bundle
from vaelocity.bundle_parts import put_histogram
from vaelocity.histogram import ScoreHistogram
from vaelocity.threshold import Threshold, threshold_for

__all__ = ["store_thresholds", "working_points"]


def working_points(
    points: Mapping[str, float | str],
    scores: npt.ArrayLike | None = None,
    *,
    input_rate: float | str | None = None,
    **arguments: Any,
) -> list[Threshold]:
    """Thresholds of one sample by name: {"loose": "20 Hz", "medium": "10 Hz", "tight": 1e-6}.

    Args:
        points: text is a rate and needs `input_rate`, a number is a false-positive rate.
        scores, arguments: as for `threshold_for`.

    Raises:
        ValueError: what `threshold_for` raises, with the name of the point.
    """
    found = []
    for name, asked in points.items():
        wanted: dict[str, Any] = {"rate" if isinstance(asked, str) else "fpr": asked}
        try:
            found.append(
                threshold_for(scores, **wanted, input_rate=input_rate, name=name, **arguments)
            )
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return found


def store_thresholds(
    path: str | os.PathLike[str],
    thresholds: Sequence[Threshold],
    output: str | os.PathLike[str] | None = None,
    *,
    histogram: ScoreHistogram | None = None,
    first: bool = False,
) -> None:
    """Put thresholds into a .vael file; its model, and so its identity, stay what they are.

    A threshold of the same name and kind is replaced where it stands, others are appended.

    Args:
        path: the file.
        thresholds: for this model.
        output: where to write; None replaces `path`.
        histogram: the scores they were found in, to be stored with them.
        first: put them in front: the first of a kind is what `Scorer.predict` takes by default.

    Raises:
        OSError, BundleError: as `read_bundle`.
        ValueError: a threshold or a histogram of another model, a kind the model does not have, two
            thresholds of one name.
    """
    metadata, tensors = read_bundle(path)
    kinds = list(metadata.get("conformance", {}).get("scores", [metadata["score"]["kind"]]))
    seen = set()
    for threshold in thresholds:
        _check(threshold, metadata.get("identity"), kinds)
        key = (threshold.kind, threshold.name)
        if key in seen:
            raise ValueError(f"thresholds: {threshold.name} more than once for {threshold.kind}")
        seen.add(key)
    if histogram is not None:
        put_histogram(metadata, tensors, histogram)
    metadata["thresholds"] = _placed(metadata.get("thresholds", []), thresholds, first)
    write_bundle(path if output is None else output, metadata, tensors)


def _check(threshold: Threshold, identity: str | None, kinds: Sequence[str]) -> None:
    if threshold.kind not in kinds:
        raise ValueError(
            f"thresholds: {threshold.name} is for {threshold.kind} scores, the model has "
            f"{', '.join(kinds)}"
        )
    if threshold.model is not None and identity is not None and threshold.model != identity:
        raise ValueError(
            f"thresholds: {threshold.name} is for model {threshold.model}, the file's is {identity}"
        )


def _placed(
    stored: Sequence[Mapping[str, Any]], thresholds: Sequence[Threshold], first: bool
) -> list[dict[str, Any]]:
    new = {(t.kind, t.name): t.to_dict() for t in thresholds}
    kept = [dict(entry) for entry in stored]
    if first:
        return [*new.values(), *(e for e in kept if (e["kind"], e["name"]) not in new)]
    replaced = [new.pop((entry["kind"], entry["name"]), entry) for entry in kept]
    return [*replaced, *new.values()]
