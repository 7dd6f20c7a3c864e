"""From a trained model that has no frozen form to its file: the state of its module."""

from __future__ import annotations

import os
from collections.abc import Sequence

from vaelocity.bundle import bundle_bytes, write_atomically
from vaelocity.histogram import ScoreHistogram
from vaelocity.models.base import Model
from vaelocity.models.file_parts import put_module, put_parts, put_state
from vaelocity.threshold import Threshold


def store(
    model: Model,
    path: str | os.PathLike[str],
    thresholds: Sequence[Threshold],
    histograms: Sequence[ScoreHistogram],
) -> None:
    """Write `model` to `path`, for `models.load`; see `Model.save`."""
    if model.own_networks:
        raise ValueError(
            f"a {type(model).__name__} with networks of its own cannot be made again from its "
            "arguments: make it a subclass with arguments() of its own, and give that to "
            "models.load(path, classes=[...])"
        )
    metadata, tensors = put_module(model, thresholds, model.kinds)
    put_state(model, metadata, tensors, elsewhere=())
    put_parts(model, metadata, tensors, histograms, model.kinds)
    write_atomically(path, bundle_bytes(metadata, tensors))
