"""What the file of a trained model holds whether it is frozen or not, written and read back."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vaelocity import _core
from vaelocity.bundle_parts import get_histogram, get_reference, put_histogram, put_reference
from vaelocity.histogram import ScoreHistogram
from vaelocity.identity import identity_of
from vaelocity.models.base import Model
from vaelocity.models.columns import ColumnScaler
from vaelocity.threshold import Threshold

Tensors = dict[str, npt.NDArray[Any]]

_WRITTEN_ANEW = ("vaelocity", "torch", "python", "created")

_STATE = "module.state."


def put_module(
    model: Model, thresholds: Sequence[Threshold], kinds: Sequence[str]
) -> tuple[dict[str, Any], Tensors]:
    """Features, preprocessing, thresholds, provenance, and how to make the module again.

    kinds: of the scores that the file's identity stands for, the only ones of which it may have
    thresholds.
    """
    _check_thresholds(model, thresholds, kinds)
    tensors: Tensors = {
        "preprocess.0.mean": model.scaler.mean.cpu().numpy(),
        "preprocess.0.scale": model.scaler.scale.cpu().numpy(),
    }
    metadata: dict[str, Any] = {
        "module": {"class": type(model).__name__, "args": model.arguments()},
        "features": model.feature_names,
        "preprocess": [
            *(model.scaler.steps if isinstance(model.scaler, ColumnScaler) else ()),
            {"op": "standardize", "mean": "preprocess.0.mean", "scale": "preprocess.0.scale"},
        ],
        "thresholds": [threshold.to_dict() for threshold in thresholds],
        "provenance": {
            "vaelocity": _core.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **model.provenance,
            "history": model.history,
        },
    }
    return metadata, tensors


def put_state(
    model: Model, metadata: dict[str, Any], tensors: Tensors, elsewhere: Sequence[str]
) -> None:
    """The module's state but for the parts that the file holds elsewhere.

    Raises ValueError for weights that are not finite.
    """
    names = {}
    for name, tensor in model.state_dict().items():
        if name.partition(".")[0] in (*elsewhere, "scaler", "fitted"):
            continue
        # The rows a model kept may have gaps, where the model is one that takes them.
        if name != "examples" and not torch.isfinite(tensor).all():
            raise ValueError(f"{name} is not finite: this model cannot be saved")
        names[name] = _STATE + name
        tensors[names[name]] = tensor.cpu().numpy()
    if names:
        metadata["module"]["state"] = names


def put_parts(
    model: Model,
    metadata: dict[str, Any],
    tensors: Tensors,
    histograms: Sequence[ScoreHistogram],
    kinds: Sequence[str],
) -> None:
    """The identity, the score histograms and the drift reference, where there are any; kinds: see
    `put_module`."""
    metadata["identity"] = identity_of(metadata, tensors)
    given = [histogram.kind for histogram in histograms]
    if len(set(given)) != len(given) or not set(given) <= set(kinds):
        raise ValueError(f"histograms: expected one of each of {kinds} at most, got {given}")
    for histogram in histograms:
        put_histogram(metadata, tensors, histogram)
    if model.reference is not None:
        put_reference(metadata, tensors, model.reference)


def _check_thresholds(model: Model, thresholds: Sequence[Threshold], kinds: Sequence[str]) -> None:
    seen = set()
    for threshold in thresholds:
        if not isinstance(threshold, Threshold):
            raise TypeError(f"thresholds: expected Threshold, got {type(threshold).__name__}")
        if threshold.kind not in kinds:
            name = type(model).__name__
            owner = f"a file of {name}" if threshold.kind in model.kinds else name
            raise ValueError(
                f"thresholds: {threshold.name} is for {threshold.kind!r} scores, which {owner} "
                "does not have"
            )
        if (threshold.kind, threshold.name) in seen:
            raise ValueError(f"thresholds: {threshold.name} more than once for {threshold.kind}")
        seen.add((threshold.kind, threshold.name))


# ---- Back


@torch.no_grad()
def get_module(model: Model, metadata: dict[str, Any], tensors: Tensors) -> None:
    """The inverse of `put_module`, for a new module of the file's class and arguments."""
    *before, step = metadata["preprocess"]
    if before:
        model.scaler = ColumnScaler(model.n_features, before)
    model.scaler.mean.copy_(torch.from_numpy(tensors[step["mean"]]))
    model.scaler.scale.copy_(torch.from_numpy(tensors[step["scale"]]))
    model.fitted.fill_(True)
    provenance = dict(metadata["provenance"])
    model.history = provenance.pop("history")
    for name in _WRITTEN_ANEW:
        provenance.pop(name)
    model.provenance = provenance
    model.thresholds = [Threshold.from_dict(entry) for entry in metadata["thresholds"]]
    model.initialised = True


def get_state(model: Model, metadata: dict[str, Any], tensors: Tensors) -> None:
    """The inverse of `put_state`. Raises RuntimeError if the tensors do not fit the module."""
    names = metadata["module"].get("state", {})
    state = {name: torch.from_numpy(np.asarray(tensors[tensor])) for name, tensor in names.items()}
    unknown = sorted(set(state) - set(model.state_dict()))
    if unknown:
        raise RuntimeError(f"the module has no {unknown[0]}")
    model.load_state_dict(model.state_dict() | state)


def get_parts(model: Model, metadata: dict[str, Any], tensors: Tensors) -> None:
    """The inverse of `put_parts`."""
    for kind in metadata.get("score_histograms", {}):
        histogram = get_histogram(metadata, tensors, kind)
        assert histogram is not None
        model.histograms[kind] = histogram
    model.reference = get_reference(metadata, tensors)
