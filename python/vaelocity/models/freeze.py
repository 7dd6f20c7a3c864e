"""Freezing: from a trained model of dense layers or convolutions to its .vael file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity import _core
from vaelocity.bundle import bundle_bytes, write_atomically
from vaelocity.edge_rows import edge_rows
from vaelocity.histogram import ScoreHistogram
from vaelocity.models.dense import DenseModel
from vaelocity.models.file_parts import Tensors, put_module, put_parts, put_state
from vaelocity.models.latent import LatentModel
from vaelocity.models.layers import LEAKY_RELU_SLOPE, Network
from vaelocity.models.steps import steps_of
from vaelocity.narrowing import narrowed
from vaelocity.preprocess import prepared, scorable
from vaelocity.threshold import Threshold

Floats = npt.NDArray[np.float32]

_ORDINARY = 30.0
"""Rows within so many deviations of the mean must score alike in torch and in C++. Further out a
latent logvar of hundreds makes exp(logvar) a matter of the last bit of its argument."""


def freeze(
    model: LatentModel,
    path: str | os.PathLike[str],
    kind: str,
    thresholds: Sequence[Threshold],
    conformance: Floats | None,
    histograms: Sequence[ScoreHistogram] = (),
    weights: str = "float32",
) -> None:
    """Write `model` to `path`; see `Model.save`.

    The scores promised in the file are those of the C++ scorer: they come out bit for bit on every
    machine, which torch's do not. Before, they are compared with torch's; before the weights are
    rounded, where they are.
    """
    metadata, tensors = describe(model, kind, thresholds)
    data_rows = _examples(model) if conformance is None else conformance
    rows = np.concatenate(
        [data_rows, edge_rows(tensors["preprocess.0.mean"], tensors["preprocess.0.scale"])]
    )
    kept, metadata["thresholds"] = metadata["thresholds"], []  # of the file as it will be
    draft = bundle_bytes(metadata, tensors)
    tensors["conformance.rows"] = rows
    kinds = model.frozen_kinds()
    for each in kinds:
        scorer = _core.Model.from_bytes(draft, each, verify=False)
        scores = scorer.score(rows)
        _check_agreement(model, metadata, tensors, each, scores)
        tensors[f"conformance.scores.{each}"] = scores
        tensors[f"conformance.flags.{each}"] = scorer.flags(rows)
    metadata["conformance"] = {
        "rows": "conformance.rows",
        "scores": {each: f"conformance.scores.{each}" for each in kinds},
        "flags": {each: f"conformance.flags.{each}" for each in kinds},
        "data_rows": len(data_rows),
    }
    if weights != "float32":
        metadata, tensors = narrowed(metadata, tensors)
    metadata["thresholds"] = kept
    put_parts(model, metadata, tensors, histograms, kinds)
    write_atomically(path, bundle_bytes(metadata, tensors))


def describe(
    model: LatentModel, kind: str, thresholds: Sequence[Threshold]
) -> tuple[dict[str, Any], Tensors]:
    """The file's JSON and tensors, without the conformance rows."""
    metadata, tensors = put_module(model, thresholds, model.frozen_kinds())
    steps = _dense_parts if isinstance(model, DenseModel) else _other_parts
    metadata |= steps(model, tensors)
    metadata |= {
        "latent": {"kind": model.latent_kind, "size": model.latent},
        "score": {
            "kind": kind,
            "loss": model.frozen_loss,
            "beta": getattr(model, "beta", 1.0),
        },
    }
    put_state(model, metadata, tensors, _elsewhere(model))
    if isinstance(model, DenseModel) and model.bounds:
        metadata["module"]["bounds"] = [[j, limit] for j, limit in model.bounds.items()]
    if isinstance(model, DenseModel) and model.batch_norm:
        for part in ("encoder", "decoder"):
            state = getattr(model, part).state_dict()
            # num_batches_tracked is an integer that nothing reads while the momentum is fixed.
            tensors |= {
                f"module.{part}.{name}": value.cpu().numpy()
                for name, value in state.items()
                if value.is_floating_point()
            }
    return metadata, tensors


def _elsewhere(model: LatentModel) -> list[str]:
    """What of the module's state the steps and the conformance rows hold. Convolutions are in the
    file twice: their steps have norms written out pixel by pixel, which training cannot go on
    from."""
    if not isinstance(model, DenseModel):
        return []
    return ["encoder", "decoder"] + ([] if model.scores_by_examples else ["examples"])


def _dense_parts(model: Any, tensors: Tensors) -> dict[str, Any]:
    parts = ("encoder", "decoder")
    found = {part: _dense_steps(getattr(model, part), part, tensors) for part in parts}
    if model.bounds:
        names = {what: f"decoder.bound.{what}" for what in ("weight", "bias")}
        tensors |= dict(zip(names.values(), model.decoder[-1].folded(), strict=True))
        found["decoder"].append({"op": "bound", **names})
    return found


def _other_parts(model: LatentModel, tensors: Tensors) -> dict[str, Any]:
    networks = zip(("encoder", "decoder"), model.frozen_networks(), strict=True)
    return {part: steps_of(module, part, shape, tensors) for part, (module, shape) in networks}


def _dense_steps(network: Network, part: str, tensors: Tensors) -> list[dict[str, Any]]:
    """The JSON of a network's layers; their folded weights go into `tensors`."""
    steps: list[dict[str, Any]] = []
    for i, layer in enumerate(network.dense()):
        names = {what: f"{part}.{i}.{what}" for what in ("weight", "bias")}
        for what, values in zip(("weight", "bias"), layer.folded(), strict=True):
            if not np.isfinite(values).all():
                raise ValueError(f"{names[what]} is not finite: this model cannot be saved")
            tensors[names[what]] = values
        step: dict[str, Any] = {"op": "dense", **names, "activation": layer.activation}
        if layer.activation == "leaky_relu":
            step["slope"] = LEAKY_RELU_SLOPE
        steps.append(step)
    return steps


# ---- Conformance


def _examples(model: LatentModel) -> Floats:
    """The training rows the model kept, every one once."""
    rows: Floats = model.examples.cpu().numpy()
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)]


def _check_agreement(
    model: LatentModel, metadata: dict[str, Any], tensors: Tensors, kind: str, scores: Floats
) -> None:
    """Raise ValueError unless `scores` of the conformance rows are torch's, up to float32 rounding.

    Tolerance: 1e-4 of the score or 1e-4, whichever is larger, plus 1e-6 ||x'||^2, the rounding of
    a reconstruction y ~ x' that is much closer to x' than x' is long.
    """
    rows = tensors["conformance.rows"]
    expected = model.score(rows, kind).astype(np.float64)
    finite = scorable(metadata, rows)
    with np.errstate(all="ignore"):
        x, _ = prepared(metadata, tensors, rows)
        ordinary = finite & (np.abs(x) <= _ORDINARY).all(axis=1)
        tolerance = 1e-4 * np.maximum(1, expected) + 1e-6 * np.square(x).sum(axis=1)
        wrong = ordinary & ~(np.abs(scores - expected) <= tolerance)
    wrong |= np.isnan(scores) == finite
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(
            f"the frozen scorer disagrees with torch on conformance row {i}: {kind} "
            f"{scores[i]:.9g}, torch {expected[i]:.9g}; nothing was written"
        )
