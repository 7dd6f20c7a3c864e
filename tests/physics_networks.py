"""Small networks with preprocessing, losses and latent spaces of every kind."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from vaelocity import _core
from vaelocity.bundle import bundle_bytes

Content = tuple[dict[str, Any], dict[str, np.ndarray]]

COLUMNS: dict[str, dict[str, Any]] = {
    "missing": {"op": "missing", "flag": [1, 4, 17], "impute": [0, 5], "values": [2.5, 0.0]},
    "mask_zeros": {"op": "mask_zeros", "columns": [3, 4, 5, 16]},
    "clip": {"op": "clip", "columns": [2, 3, 18], "low": [-2.5, None, 0], "high": [2.5, 4, None]},
    "wrap": {"op": "wrap", "columns": [6, 7, 15]},
    "log1p": {"op": "log1p", "columns": [0, 3, 8, 17]},
}


def network(
    steps: tuple[str, ...] = (),
    loss: str = "squared_error",
    latent: str = "point",
    d: int = 19,
    bounded: bool = False,
    **score: Any,
) -> Content:
    """A network d-11-4 of kind `latent`, with the preprocessing steps of COLUMNS that are named;
    bounded: some columns of its output are held within a range."""
    rng = np.random.default_rng(3)
    tensors: dict[str, np.ndarray] = {
        "mean": (0.1 * rng.normal(size=d)).astype(np.float32),
        "scale": np.exp(0.3 * rng.normal(size=d)).astype(np.float32),
    }

    def dense(n_in: int, n_out: int, activation: str) -> dict[str, Any]:
        name = f"t{len(tensors)}"
        weight = rng.normal(size=(n_out, n_in)) / np.sqrt(n_in)
        tensors[f"{name}.w"] = weight.astype(np.float32)
        tensors[f"{name}.b"] = (0.1 * rng.normal(size=n_out)).astype(np.float32)
        names = {"weight": f"{name}.w", "bias": f"{name}.b"}
        return {"op": "dense", **names, "activation": activation}

    size = 1 if latent == "output" else 4
    ends = 2 * size if latent == "gaussian" else size
    encoder = [dense(d, 11, "relu"), dense(11, ends, "identity")]
    decoder = [dense(size, 11, "relu"), dense(11, size if latent == "embedding" else d, "identity")]
    if bounded:
        limit = np.where(np.arange(d) % 3 == 1, np.exp(rng.normal(size=d)), 0)
        tensors["bound.w"] = limit.astype(np.float32)
        tensors["bound.b"] = np.where(limit > 0, 0.3 * rng.normal(size=d), 0).astype(np.float32)
        decoder.append({"op": "bound", "weight": "bound.w", "bias": "bound.b"})
    own = {"output": "output", "embedding": "latent_reconstruction"}
    metadata: dict[str, Any] = {
        "features": [f"f{j}" for j in range(d)],
        "preprocess": [
            *(copy.deepcopy(COLUMNS[name]) for name in steps),
            {"op": "standardize", "mean": "mean", "scale": "scale"},
        ],
        "encoder": encoder,
        "latent": {"kind": latent, "size": size},
        "decoder": [] if latent == "output" else decoder,
        "score": {"kind": own.get(latent, "reconstruction"), "loss": loss, "beta": 0.7, **score},
        "thresholds": [],
    }
    return metadata, tensors


def with_convolution(metadata: dict[str, Any], tensors: dict[str, np.ndarray]) -> Content:
    """The network with a convolution as its first step."""
    d = len(metadata["features"])
    kernel = np.array([[[[0.3, 1.0, -0.2]]]], np.float32)
    step = {"op": "conv", "weight": "conv.w", "bias": "conv.b", "input": [1, 1, d]}
    step |= {"stride": [1, 1], "padding": [0, 1]}
    more = {"conv.w": kernel, "conv.b": np.array([0.1], np.float32)}
    return {**metadata, "encoder": [step, *metadata["encoder"]]}, {**tensors, **more}


def promised(metadata: dict[str, Any], tensors: dict[str, np.ndarray], kinds: list[str]) -> bytes:
    """The file, with `edges` as its conformance rows."""
    rows = edges(len(metadata["features"]))
    names: dict[str, Any] = {"rows": "rows", "scores": {}, "flags": {}}
    draft, more = bundle_bytes(metadata, tensors), {"rows": rows}
    for kind in kinds:
        model = _core.Model.from_bytes(draft, kind=kind, verify=False)
        more[f"scores.{kind}"], more[f"flags.{kind}"] = model.score(rows), model.flags(rows)
        names["scores"][kind], names["flags"][kind] = f"scores.{kind}", f"flags.{kind}"
    return bundle_bytes({**metadata, "conformance": names}, {**tensors, **more})


def edges(d: int) -> np.ndarray:
    """Zeros of both signs, saturated, subnormal and missing values, and ordinary rows: [n, d]."""
    rng = np.random.default_rng(4)
    rows = (3 * rng.normal(size=(41, d))).astype(np.float32)
    rows[0], rows[1] = 0.0, -0.0
    rows[2], rows[3], rows[4] = 1e-40, -1e-40, 3e38
    rows[5] = -3e38
    rows[6, 1 % d], rows[7, 5 % d], rows[8, 0] = np.nan, np.nan, np.inf
    rows[9, 1::3] = -np.inf
    rows[10, 2 % d] = np.nan
    rows[11] = np.nan
    rows[12], rows[13] = np.float32(np.pi), np.float32(-np.pi)
    rows[14:20, 3:6] = 0
    rows[20] = 1e6
    return rows
