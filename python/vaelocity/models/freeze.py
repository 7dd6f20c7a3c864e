"""Between a trained model and its .vael file."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vaelocity import _core
from vaelocity.bundle import BundleError, bundle_bytes, read_bundle, write_atomically
from vaelocity.bundle_parts import get_histogram, get_reference, put_histogram, put_reference
from vaelocity.histogram import ScoreHistogram
from vaelocity.identity import identity_of
from vaelocity.models.autoencoder import Autoencoder
from vaelocity.models.base import EXAMPLES, Model
from vaelocity.models.dense import DenseModel
from vaelocity.models.layers import LEAKY_RELU_SLOPE, Network
from vaelocity.models.vae import VAE
from vaelocity.threshold import Threshold

Floats = npt.NDArray[np.float32]
Tensors = dict[str, npt.NDArray[Any]]

CLASSES: dict[str, type[DenseModel]] = {"Autoencoder": Autoencoder, "VAE": VAE}

_ORDINARY = 30.0
"""Rows within so many deviations of the mean must score alike in torch and in C++. Further out a
latent logvar of hundreds makes exp(logvar) a matter of the last bit of its argument."""


def freeze(
    model: Model,
    path: str | os.PathLike[str],
    kind: str,
    thresholds: Sequence[Threshold],
    conformance: Floats | None,
    histograms: Sequence[ScoreHistogram] = (),
) -> None:
    """Write `model` to `path`; see `Model.save`.

    The scores promised in the file are those of the C++ scorer: they come out bit for bit on every
    machine, which torch's do not. Before, they are compared with torch's.
    """
    if not isinstance(model, DenseModel):
        raise TypeError(f"model: a {type(model).__name__} has no frozen form")
    metadata, tensors = describe(model, kind, thresholds)
    data_rows = _examples(model) if conformance is None else conformance
    rows = np.concatenate([data_rows, edge_rows(tensors)])
    draft = bundle_bytes(metadata, tensors)
    tensors["conformance.rows"] = rows
    for each in model.kinds:
        scorer = _core.Model.from_bytes(draft, each, verify=False)
        scores = scorer.score(rows)
        _check_agreement(model, each, rows, scores)
        tensors[f"conformance.scores.{each}"] = scores
        tensors[f"conformance.flags.{each}"] = scorer.flags(rows)
    metadata["conformance"] = {
        "rows": "conformance.rows",
        "scores": {each: f"conformance.scores.{each}" for each in model.kinds},
        "flags": {each: f"conformance.flags.{each}" for each in model.kinds},
        "data_rows": len(data_rows),
    }
    _put_parts(model, metadata, tensors, histograms)
    write_atomically(path, bundle_bytes(metadata, tensors))


def describe(
    model: DenseModel, kind: str, thresholds: Sequence[Threshold]
) -> tuple[dict[str, Any], Tensors]:
    """The file's JSON and tensors, without the conformance rows."""
    _check_thresholds(model, thresholds)
    tensors: Tensors = {
        "preprocess.0.mean": model.scaler.mean.cpu().numpy(),
        "preprocess.0.scale": model.scaler.scale.cpu().numpy(),
    }
    metadata = {
        "module": {"class": type(model).__name__, "args": model.arguments()},
        "features": model.feature_names,
        "preprocess": [
            {"op": "standardize", "mean": "preprocess.0.mean", "scale": "preprocess.0.scale"}
        ],
        "encoder": _dense_steps(model.encoder, "encoder", tensors),
        "latent": {"kind": model.latent_kind, "size": model.latent},
        "decoder": _dense_steps(model.decoder, "decoder", tensors),
        "score": {"kind": kind, "loss": "squared_error", "beta": getattr(model, "beta", 1.0)},
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
    if model.batch_norm:
        for part in ("encoder", "decoder"):
            state = getattr(model, part).state_dict()
            # num_batches_tracked is an integer that nothing reads while the momentum is fixed.
            tensors |= {
                f"module.{part}.{name}": value.cpu().numpy()
                for name, value in state.items()
                if value.is_floating_point()
            }
    return metadata, tensors


def _put_parts(
    model: DenseModel,
    metadata: dict[str, Any],
    tensors: Tensors,
    histograms: Sequence[ScoreHistogram],
) -> None:
    """The score histograms and the drift reference, where there are any."""
    metadata["identity"] = identity_of(metadata, tensors)
    kinds = [histogram.kind for histogram in histograms]
    if len(set(kinds)) != len(kinds) or not set(kinds) <= set(model.kinds):
        raise ValueError(f"histograms: expected one of each of {model.kinds} at most, got {kinds}")
    for histogram in histograms:
        put_histogram(metadata, tensors, histogram)
    if model.reference is not None:
        put_reference(metadata, tensors, model.reference)


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


def _check_thresholds(model: DenseModel, thresholds: Sequence[Threshold]) -> None:
    seen = set()
    for threshold in thresholds:
        if not isinstance(threshold, Threshold):
            raise TypeError(f"thresholds: expected Threshold, got {type(threshold).__name__}")
        if threshold.kind not in model.kinds:
            raise ValueError(
                f"thresholds: {threshold.name} is for {threshold.kind!r} scores, which "
                f"{type(model).__name__} does not have"
            )
        if (threshold.kind, threshold.name) in seen:
            raise ValueError(f"thresholds: {threshold.name} more than once for {threshold.kind}")
        seen.add((threshold.kind, threshold.name))


# ---- Conformance


def _examples(model: DenseModel) -> Floats:
    """The training rows the model kept, every one once."""
    rows: Floats = model.examples.cpu().numpy()
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)]


def edge_rows(tensors: Tensors) -> Floats:
    """Rows at the edges: zeros, the mean and one deviation around it, huge and tiny numbers, a
    NaN, infinities. float32 [11, n_features]."""
    mean, scale = tensors["preprocess.0.mean"], tensors["preprocess.0.scale"]
    d = len(mean)
    alternating = np.where(np.arange(d) % 2 == 0, 1, -1).astype(np.float32)
    largest = np.finfo(np.float32).max
    with np.errstate(over="ignore"):
        rows = np.stack(
            [
                np.zeros(d, np.float32),
                mean,
                np.clip(mean + scale, -largest, largest),
                np.clip(mean - alternating * scale, -largest, largest),
                np.full(d, 1e30, np.float32),
                alternating * np.float32(-1e30),
                alternating * largest,
                alternating * np.float32(1e-40),
                *np.tile(mean, (3, 1)),
            ]
        ).astype(np.float32)
    rows[-3, d // 2] = np.nan
    rows[-2, 0] = np.inf
    rows[-1, d - 1] = -np.inf
    return rows


def _check_agreement(model: DenseModel, kind: str, rows: Floats, scores: Floats) -> None:
    """Raise ValueError unless `scores` are torch's, up to float32 rounding.

    Tolerance: 1e-4 of the score or 1e-4, whichever is larger, plus 1e-6 ||x'||^2, the rounding of
    a reconstruction y ~ x' that is much closer to x' than x' is long.
    """
    expected = model.score(rows, kind).astype(np.float64)
    finite = np.isfinite(rows).all(axis=1)
    mean, scale = model.scaler.mean.cpu().numpy(), model.scaler.scale.cpu().numpy()
    with np.errstate(all="ignore"):
        x = (rows.astype(np.float64) - mean) / scale
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


# ---- Back


def load(path: str | os.PathLike[str]) -> DenseModel:
    """The trainable model of a .vael file, on the CPU, with its history and thresholds.

    It scores as the model that was saved, bit for bit on one machine. The optimizer's state is not
    in the file: `fit` goes on with a fresh one.

    Raises:
        OSError: the file cannot be read.
        BundleError: it is damaged (see `read_bundle`), or no model of this package.
    """
    metadata, tensors = read_bundle(path)
    try:
        return _rebuilt(metadata, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(f"{os.fspath(path)}: no model can be made of it: {error}") from error


def _rebuilt(metadata: dict[str, Any], tensors: Tensors) -> DenseModel:
    name = metadata["module"]["class"]
    if name not in CLASSES:
        raise BundleError(f"module: unknown class {name!r}")
    model = CLASSES[name](**metadata["module"]["args"])
    with torch.no_grad():
        step = metadata["preprocess"][0]
        model.scaler.mean.copy_(torch.from_numpy(tensors[step["mean"]]))
        model.scaler.scale.copy_(torch.from_numpy(tensors[step["scale"]]))
        for part in ("encoder", "decoder"):
            _restore(getattr(model, part), part, metadata[part], tensors)
        names = metadata["conformance"]
        rows = tensors[names["rows"]][: names["data_rows"]]
        if len(rows):
            kept = np.linspace(0, len(rows) - 1, EXAMPLES).round().astype(int)
            model.examples.copy_(torch.from_numpy(rows[kept]))
        model.fitted.fill_(True)
    provenance = dict(metadata["provenance"])
    model.history = provenance.pop("history")
    for written_anew in ("vaelocity", "torch", "python", "created"):
        provenance.pop(written_anew)
    model.provenance = provenance
    for kind in metadata.get("score_histograms", {}):
        histogram = get_histogram(metadata, tensors, kind)
        assert histogram is not None
        model.histograms[kind] = histogram
    model.reference = get_reference(metadata, tensors)
    model.thresholds = [Threshold.from_dict(entry) for entry in metadata["thresholds"]]
    model.initialised = True
    return model.eval()


def _restore(
    network: Network, part: str, steps: Sequence[dict[str, Any]], tensors: Tensors
) -> None:
    """The layers' weights: unfolded ones where the file has them."""
    layers = network.dense()
    if len(layers) != len(steps):
        raise BundleError(f"{part}: {len(steps)} layers, the module's arguments say {len(layers)}")
    prefix = f"module.{part}."
    state = {
        name.removeprefix(prefix): torch.from_numpy(values)
        for name, values in tensors.items()
        if name.startswith(prefix)
    }
    if state:
        own = network.state_dict()
        network.load_state_dict(own | state)
        return
    for layer, step in zip(layers, steps, strict=True):
        layer.set_folded(tensors[step["weight"]], tensors[step["bias"]])
