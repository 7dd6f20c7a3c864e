"""What every test may use: the folder of real data, and random networks frozen into bundles."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaelocity import _core
from vaelocity.bundle import write_bundle

KINDS = {False: ["reconstruction"], True: ["reconstruction", "kl", "mu2", "rz", "elbo"]}


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with adbench/, jets/, ...: VAELOCITY_DATA or ../shared/data; skips without it."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("VAELOCITY_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set VAELOCITY_DATA to its folder")
    return folder


def random_network(
    widths: list[int], gaussian: bool, activation: str, seed: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metadata and tensors of a mirrored network with widths [n_features, ..., latent]."""
    rng = np.random.default_rng(seed)
    d, latent = widths[0], widths[-1]
    tensors = {
        "preprocess.0.mean": rng.normal(size=d).astype(np.float32),
        "preprocess.0.scale": np.exp(0.3 * rng.normal(size=d)).astype(np.float32),
    }
    metadata: dict[str, Any] = {
        "format": 1,
        "module": {"class": "none", "args": {}},
        "features": [f"f{j}" for j in range(d)],
        "preprocess": [
            {"op": "standardize", "mean": "preprocess.0.mean", "scale": "preprocess.0.scale"}
        ],
        "latent": {"kind": "gaussian" if gaussian else "point", "size": latent},
        "score": {"kind": "reconstruction", "loss": "squared_error", "beta": 0.7},
        "thresholds": [],
        "provenance": {},
    }
    for part, sizes in (("encoder", widths), ("decoder", widths[::-1])):
        metadata[part] = []
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            last = i == len(sizes) - 2
            n = 2 * n_out if part == "encoder" and last and gaussian else n_out
            name = f"{part}.{i}"
            weight = rng.normal(size=(n, n_in)) / np.sqrt(n_in)
            tensors[f"{name}.weight"] = weight.astype(np.float32)
            tensors[f"{name}.bias"] = (0.1 * rng.normal(size=n)).astype(np.float32)
            step = {"op": "dense", "weight": f"{name}.weight", "bias": f"{name}.bias"}
            metadata[part].append({**step, "activation": "identity" if last else activation})
    return metadata, tensors


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Path]:
    """make_bundle(widths, gaussian=False, activation="relu", seed=0) -> path of a valid bundle."""

    def make(
        widths: list[int], gaussian: bool = False, activation: str = "relu", seed: int = 0
    ) -> Path:
        metadata, tensors = random_network(widths, gaussian, activation, seed)
        path = tmp_path / f"{'-'.join(map(str, widths))}-{activation}-{gaussian}-{seed}.vael"
        write_bundle(path, metadata, tensors)
        rows = np.random.default_rng(1).normal(size=(9, widths[0])).astype(np.float32)
        rows[0], rows[1], rows[2, 0], rows[3, -1] = 0, 1e30, np.nan, np.inf
        tensors["conformance.rows"] = rows
        names: dict[str, Any] = {"rows": "conformance.rows", "flags": {}, "scores": {}}
        for kind in KINDS[gaussian]:
            model = _core.Model.from_file(str(path), kind=kind, verify=False)
            for what, values in (("scores", model.score(rows)), ("flags", model.flags(rows))):
                names[what][kind] = f"conformance.{what}.{kind}"
                tensors[names[what][kind]] = values
        write_bundle(path, {**metadata, "conformance": names}, tensors)
        return path

    return make


@pytest.fixture
def poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch.empty and new_empty of the package hold NaN: what a kernel leaves out is seen."""
    torch = pytest.importorskip("torch")

    def poisoned(original: Callable[..., Any]) -> Callable[..., Any]:
        def empty(*args: Any, **kwargs: Any) -> Any:
            made = original(*args, **kwargs)
            if sys._getframe(1).f_globals.get("__name__", "").startswith("vaelocity."):
                made.fill_(torch.nan if made.is_floating_point() else 1)
            return made

        return empty

    monkeypatch.setattr(torch, "empty", poisoned(torch.empty))
    monkeypatch.setattr(torch.Tensor, "new_empty", poisoned(torch.Tensor.new_empty))
    return
