"""The score in float64 NumPy, from a bundle alone."""

from __future__ import annotations

from collections.abc import Callable
from math import erf
from pathlib import Path

import numpy as np
import step_reference

from vaelocity.bundle import read_bundle

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(erf, otypes=[np.float64])(x / np.sqrt(2))),
}


def score(path: Path, rows: np.ndarray, kind: str) -> np.ndarray:
    """float64 [n]."""
    if kind == "reconstruction":
        return features(path, rows).sum(1)
    metadata, _ = read_bundle(path)
    mu, logvar = _latent(path, rows)
    if kind == "mu2":
        return (mu**2).sum(1)
    if kind == "rz":
        return (mu**2 / np.exp(logvar)).sum(1)
    kl = 0.5 * (mu**2 + np.expm1(logvar) - logvar).sum(1)
    return kl if kind == "kl" else features(path, rows).sum(1) + metadata["score"]["beta"] * kl


def features(path: Path, rows: np.ndarray) -> np.ndarray:
    """1/2 (y - x)^2 of every feature, float64 [n, d]."""
    mu, _ = _latent(path, rows)
    return 0.5 * (_layers(path, "decoder", mu) - _standardised(path, rows)) ** 2


def _standardised(path: Path, rows: np.ndarray) -> np.ndarray:
    _, tensors = read_bundle(path)
    scale = tensors["preprocess.0.scale"].astype(np.float64)
    return (rows.astype(np.float64) - tensors["preprocess.0.mean"]) / scale


def _latent(path: Path, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    metadata, _ = read_bundle(path)
    size = metadata["latent"]["size"]
    encoded = _layers(path, "encoder", _standardised(path, rows))
    return encoded[:, :size], encoded[:, size:]


def _layers(path: Path, part: str, x: np.ndarray) -> np.ndarray:
    metadata, tensors = read_bundle(path)
    return step_reference.run(metadata[part], tensors, x, FUNCTIONS)
