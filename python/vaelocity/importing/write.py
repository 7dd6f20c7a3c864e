"""A network of another package into a .vael file, after its scores have been compared."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity import _core
from vaelocity.bundle import bundle_bytes, write_atomically
from vaelocity.bundle_parts import put_reference
from vaelocity.drift import Reference
from vaelocity.edge_rows import edge_rows
from vaelocity.importing.folding import Body, Layer, Sum
from vaelocity.importing.network import Network
from vaelocity.importing.operations import Conv, Norm, Pool
from vaelocity.scorer import Scorer, load
from vaelocity.structure import GAUSSIAN_KINDS, POINT_KINDS
from vaelocity.threshold import Threshold

Floats = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Original = Callable[[Floats], Sequence[npt.NDArray[Any]]]

_CONFORMANCE = 32
"""Rows of the example that the file keeps and promises scores for."""

_COMPARED = 4096
"""Rows of the example whose scores are compared with the original's."""


def write_network(
    network: Network,
    path: str | os.PathLike[str],
    example: Floats,
    original: Original,
    source: str,
    *,
    mean: npt.ArrayLike | None = None,
    scale: npt.ArrayLike | None = None,
    kind: str | None = None,
    beta: float = 1.0,
    feature_names: Sequence[str] | None = None,
    thresholds: Callable[[Scorer], Sequence[Threshold]] | None = None,
    usual: bool = True,
) -> Scorer:
    """Write the file and load it.

    Args:
        example: float32 [n, d], finite, in the units of the features: rows to compare scores with,
            to keep as conformance rows and to take the reference of `drift` and `explain` from.
        usual: whether the example is of usual events; made-up rows are no reference.
        original: standardised rows [n, d] to their reconstruction by the original, and of a VAE to
            its mu and logvar as well.
        source: what it was, for the file's provenance.
        mean, scale: [d], of the standardisation x' = (x - mean) / scale; None leaves rows as
            they are.
        kind: the file's score; None is "reconstruction".
        thresholds: of the scorer of the file, to be stored in it.

    Raises:
        ValueError: an argument that is wrong, or scores of any kind that differ from the original's
            by more than 1e-5 of the score plus 1e-6 of what it is a difference of: ||x'||^2, and of
            the latent space the sum of mu^2, |expm1(logvar)| and |logvar|. Nothing is written then.
    """
    d = network.n_features
    rows = example_rows(example, d)
    names = [f"x{j}" for j in range(d)] if feature_names is None else list(feature_names)
    if len(names) != d or len(set(names)) != d:
        raise ValueError(f"feature_names: expected {d} different names, got {names}")
    kinds = GAUSSIAN_KINDS if network.latent_kind == "gaussian" else POINT_KINDS
    kind = "reconstruction" if kind is None else kind
    if kind not in kinds:
        raise ValueError(f"kind: expected one of {', '.join(kinds)}, got {kind!r}")
    tensors: dict[str, npt.NDArray[Any]] = {
        "preprocess.0.mean": _column(mean, 0.0, d, "mean"),
        "preprocess.0.scale": _column(scale, 1.0, d, "scale"),
    }
    metadata = _describe(network, tensors, names, kind, beta, source)
    _compare(metadata, tensors, rows, original, kinds)
    _add_conformance(metadata, tensors, rows, kinds)
    if usual:
        put_reference(metadata, tensors, Reference.of(rows))
    if thresholds is not None:
        draft = _core.Model.from_bytes(bundle_bytes(metadata, tensors), kind, verify=False)
        metadata["thresholds"] = [found.to_dict() for found in thresholds(Scorer(draft))]
    write_atomically(path, bundle_bytes(metadata, tensors))
    return load(path)


def example_rows(
    example: Any,
    n_features: int | None = None,
    name: str = "example",
    shape: Sequence[int] | None = None,
) -> Floats:
    """The example as float32 [n, d], from rows of `shape` as well. Raises TypeError or ValueError
    where it is none."""
    rows = example.detach().cpu().numpy() if hasattr(example, "detach") else np.asarray(example)
    if rows.dtype.kind != "f":
        raise TypeError(f"{name}: expected floats [n, d], got {rows.dtype}")
    if shape is not None and rows.shape[1:] == tuple(shape):
        rows = rows.reshape(len(rows), prod(shape))
    if rows.ndim != 2 or 0 in rows.shape or (n_features and rows.shape[1] != n_features):
        wanted = n_features or "d"
        raise ValueError(f"{name}: expected rows [n, {wanted}], n > 0, got shape {rows.shape}")
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(rows, np.float32)
    if not np.isfinite(found).all():
        raise ValueError(f"{name}: a value is NaN or infinite, or beyond float32")
    return found


def _column(values: npt.ArrayLike | None, default: float, d: int, name: str) -> Floats:
    if values is None:
        return np.full(d, default, np.float32)
    found = np.asarray(values, np.float32)
    if found.shape != (d,) or not np.isfinite(found).all():
        raise ValueError(f"{name}: expected {d} finite numbers, got shape {found.shape}")
    return found


def _describe(
    network: Network,
    tensors: dict[str, npt.NDArray[Any]],
    names: list[str],
    kind: str,
    beta: float,
    source: str,
) -> dict[str, Any]:
    return {
        "module": {"class": "imported", "args": {"source": source}},
        "features": names,
        "preprocess": [
            {"op": "standardize", "mean": "preprocess.0.mean", "scale": "preprocess.0.scale"}
        ],
        "encoder": _steps(network.encoder, "encoder", tensors),
        "latent": {"kind": network.latent_kind, "size": network.latent},
        "decoder": _steps(network.decoder, "decoder", tensors),
        "score": {"kind": kind, "loss": "squared_error", "beta": float(np.float32(beta))},
        "thresholds": [],
        "provenance": {
            "vaelocity": _core.__version__,
            "python": platform.python_version(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "source": source,
            "history": {},
        },
    }


def _steps(
    layers: Sequence[Layer], part: str, tensors: dict[str, npt.NDArray[Any]]
) -> list[dict[str, Any]]:
    steps = []
    for i, layer in enumerate(layers):
        step: dict[str, Any] = {"op": layer.body.op}
        if not isinstance(layer.body, Pool | Sum):
            for what in ("weight", "bias"):
                step[what] = _put(tensors, f"{part}.{i}.{what}", getattr(layer.body, what))
        step |= {**_numbers(layer.body), "activation": layer.activation}
        if layer.activation == "leaky_relu":
            step["slope"] = layer.slope
        steps.append(step)
    return steps


def _put(tensors: dict[str, npt.NDArray[Any]], name: str, values: Float64) -> str:
    with np.errstate(over="ignore"):
        tensors[name] = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(tensors[name]).all():
        raise ValueError(f"{name} is not finite: this network cannot be saved")
    return name


def _numbers(body: Body) -> dict[str, Any]:
    """What a step says beside its tensors: see vaelocity.steps."""
    if isinstance(body, Sum):
        return {"from": body.source}
    if isinstance(body, Norm):
        return {"epsilon": body.epsilon, "groups": body.groups}
    if not isinstance(body, Conv | Pool):
        return {}
    said: dict[str, Any] = {"input": list(body.input)}
    said |= {"stride": list(body.stride), "padding": list(body.padding)}
    if isinstance(body, Pool):
        said["kernel"] = list(body.kernel)
    elif body.output_padding is not None:
        said["output_padding"] = list(body.output_padding)
    return said


def _compare(
    metadata: dict[str, Any],
    tensors: dict[str, npt.NDArray[Any]],
    rows: Floats,
    original: Original,
    kinds: Sequence[str],
) -> None:
    draft, rows = bundle_bytes(metadata, tensors), rows[:_COMPARED]
    x = (rows - tensors["preprocess.0.mean"]) * (np.float32(1) / tensors["preprocess.0.scale"])
    y, *latent = (np.asarray(each).reshape(len(x), -1) for each in original(x))
    if y.shape != x.shape:
        raise ValueError(f"outputs: expected a reconstruction {x.shape}, got {y.shape}")
    expected = _expected(x, y, latent, metadata["score"]["beta"])
    for kind in kinds:
        exact, size = expected[kind]
        scores = _core.Model.from_bytes(draft, kind, verify=False).score(rows)
        wrong = ~(np.abs(scores - exact) <= 1e-5 * np.abs(exact) + 1e-6 * size)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise ValueError(
                f"the frozen network disagrees with the original on row {i} of the example: {kind} "
                f"{scores[i]:.9g}, original {exact[i]:.9g}; nothing was written"
            )


def _expected(
    x: npt.NDArray[Any], y: npt.NDArray[Any], latent: Sequence[npt.NDArray[Any]], beta: float
) -> dict[str, tuple[Float64, Float64]]:
    """Of every kind the scores [n], and the size of what they are differences of."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    found = {"reconstruction": (0.5 * np.square(y - x).sum(axis=1), np.square(x).sum(axis=1))}
    if not latent:
        return found
    mu, logvar = (each.astype(np.float64) for each in latent)
    square, excess = np.square(mu), np.expm1(logvar)
    kl = 0.5 * (square + excess - logvar).sum(axis=1)
    size = 0.5 * (square + np.abs(excess) + np.abs(logvar)).sum(axis=1)
    rz = (square * np.exp(-logvar)).sum(axis=1)
    mu2 = square.sum(axis=1)
    reconstruction, of_rows = found["reconstruction"]
    # mu itself is a sum of products: its square is known as well as its largest part.
    found |= {"kl": (kl, size + 1), "mu2": (mu2, mu2 + 1), "rz": (rz, rz + np.exp(-logvar).sum(1))}
    found["elbo"] = (reconstruction + beta * kl, of_rows + beta * (size + 1))
    return found


def _add_conformance(
    metadata: dict[str, Any],
    tensors: dict[str, npt.NDArray[Any]],
    example: Floats,
    kinds: Sequence[str],
) -> None:
    draft = bundle_bytes(metadata, tensors)
    kept = example[:_CONFORMANCE]
    edges = edge_rows(tensors["preprocess.0.mean"], tensors["preprocess.0.scale"])
    rows = np.concatenate([kept, edges])
    tensors["conformance.rows"] = rows
    for kind in kinds:
        model = _core.Model.from_bytes(draft, kind, verify=False)
        tensors[f"conformance.scores.{kind}"] = model.score(rows)
        tensors[f"conformance.flags.{kind}"] = model.flags(rows)
    metadata["conformance"] = {
        "rows": "conformance.rows",
        "scores": {kind: f"conformance.scores.{kind}" for kind in kinds},
        "flags": {kind: f"conformance.flags.{kind}" for kind in kinds},
        "data_rows": len(kept),
    }
