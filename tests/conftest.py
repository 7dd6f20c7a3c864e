"""What every test may use: the folder of real data, and random networks frozen into bundles."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import image_networks
import numpy as np
import physics_networks
import pytest
import score_reference
from building import library, sanitized_library

from vaelocity import _core
from vaelocity.bundle import read_bundle, write_bundle
from vaelocity.narrowing import narrowed

_BENCH = Path(__file__).parents[1] / "bench"
KINDS = {False: ["reconstruction"], True: ["reconstruction", "kl", "mu2", "rz", "elbo"]}


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with adbench/, jets/, ...: VAELOCITY_DATA or ../shared/data; skips without it."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("VAELOCITY_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set VAELOCITY_DATA to its folder")
    return folder


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """module("race"): a file of bench/ or a folder in it, as its scripts import it."""
    before = set(sys.modules)
    for folder in (_BENCH / "instructions", _BENCH / "quality", _BENCH):
        monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(_BENCH) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """PyTorch computes with one thread, in fixtures of the module and in processes made by its
    tests as well.

    The models of tests are too small to share out: threads would wait for each other most of the
    time, above all where the machine has other work.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(before)


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


def with_conformance(path: Path, metadata: dict[str, Any], tensors: dict[str, np.ndarray]) -> Path:
    """Writes the bundle with conformance rows for every kind; returns the path."""
    write_bundle(path, metadata, tensors)
    shape = (9, len(metadata["features"]))
    rows = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    rows[0], rows[1], rows[2, 0], rows[3, -1] = 0, 1e30, np.nan, np.inf
    names: dict[str, Any] = {"rows": "conformance.rows", "flags": {}, "scores": {}}
    more = {"conformance.rows": rows}
    for kind in KINDS[metadata["latent"]["kind"] == "gaussian"]:
        model = _core.Model.from_file(str(path), kind=kind, verify=False)
        for what, values in (("scores", model.score(rows)), ("flags", model.flags(rows))):
            names[what][kind] = f"conformance.{what}.{kind}"
            more[names[what][kind]] = values
    write_bundle(path, {**metadata, "conformance": names}, {**tensors, **more})
    return path


@pytest.fixture
def image_bundles(tmp_path: Path) -> list[Path]:
    """Networks with convolutions, pools, norms and residual sums, in one and two dimensions."""
    drafts = {
        "small": image_networks.small(),
        "mixed": image_networks.mixed(),
        "point": image_networks.mixed("relu", gaussian=False),
        "signal": image_networks.signal(),
        "wide": image_networks.wide(),
    }
    return [with_conformance(tmp_path / f"{n}.vael", *d.content()) for n, d in drafts.items()]


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Path]:
    """make_bundle(widths, gaussian=False, activation="relu", seed=0) -> path of a valid bundle."""

    def make(
        widths: list[int], gaussian: bool = False, activation: str = "relu", seed: int = 0
    ) -> Path:
        metadata, tensors = random_network(widths, gaussian, activation, seed)
        path = tmp_path / f"{'-'.join(map(str, widths))}-{activation}-{gaussian}-{seed}.vael"
        return with_conformance(path, metadata, tensors)

    return make


@pytest.fixture(scope="session")
def exact_score() -> Callable[[Path, np.ndarray, str], np.ndarray]:
    """exact_score(path, rows, kind): the score in float64 NumPy, from the file alone."""
    return score_reference.score


@pytest.fixture
def bundles(make_bundle: Callable[..., Path]) -> list[Path]:
    """Networks of every activation, with widths on both sides of every vector's."""
    return [
        make_bundle([59, 64, 32, 16]),
        make_bundle([57, 32, 16, 3], gaussian=True, activation="tanh"),
        make_bundle([1, 1]),
        make_bundle([17, 5, 2], gaussian=True, activation="gelu"),
        make_bundle([130, 70, 20], activation="elu"),
        make_bundle([16, 33, 7], activation="sigmoid"),
        make_bundle([64, 31, 15], gaussian=True, activation="silu"),
        make_bundle([3, 100, 49], activation="leaky_relu"),
    ]


@pytest.fixture
def physics_bundles(tmp_path: Path) -> list[Path]:
    """Every preprocessing step, loss and kind of latent space."""
    steps = tuple(physics_networks.COLUMNS)
    drafts = {
        "elbo": physics_networks.network(steps, "bce_with_logits", "gaussian", kind="elbo"),
        "huber": physics_networks.network(steps, "huber", delta=0.5),
        "embedding": physics_networks.network(("clip", "wrap"), "absolute_error", "embedding"),
        "output": physics_networks.network(("missing", "log1p"), latent="output"),
        "absent": physics_networks.network(("mask_zeros",), bounded=True),
    }
    paths = []
    for name, (metadata, tensors) in drafts.items():
        paths.append(tmp_path / f"{name}.vael")
        kinds = [metadata["score"]["kind"]]
        paths[-1].write_bytes(physics_networks.promised(metadata, tensors, kinds))
    return paths


@pytest.fixture
def narrow_pairs(
    make_bundle: Callable[..., Path], image_bundles: list[Path]
) -> list[tuple[Path, Path]]:
    """Models with bfloat16 weights, each beside one with the same weights in float32: odd widths
    and even ones, on both sides of a vector's."""
    wholes = [
        make_bundle([37, 20, 9]),
        make_bundle([17, 13, 3], gaussian=True, activation="tanh"),
        make_bundle([1, 1], seed=3),
        make_bundle([64, 33, 16], activation="gelu"),
        image_bundles[0],
    ]
    pairs = []
    for path in wholes:
        metadata, tensors = narrowed(*read_bundle(path))
        narrow = path.with_name(f"narrow-{path.name}")
        write_bundle(narrow, metadata, tensors)
        rounded = path.with_name(f"rounded-{path.name}")
        write_bundle(rounded, {k: v for k, v in metadata.items() if k != "weights"}, tensors)
        pairs.append((narrow, rounded))
    return pairs


@pytest.fixture
def few_bundles(
    make_bundle: Callable[..., Path],
    image_bundles: list[Path],
    physics_bundles: list[Path],
    narrow_pairs: list[tuple[Path, Path]],
) -> list[Path]:
    """Smaller ones than `bundles`, and every other kind of step, for emulators and sanitizers."""
    return [
        *physics_bundles,
        *(narrow for narrow, _ in narrow_pairs),
        *(path for path in image_bundles if path.stem != "signal"),
        make_bundle([37, 20, 9], activation="relu"),
        make_bundle([17, 13, 3], gaussian=True, activation="tanh"),
        make_bundle([1, 1]),
        make_bundle([17, 5, 2], gaussian=True, activation="gelu"),
        make_bundle([16, 33, 7], activation="sigmoid"),
        make_bundle([9, 8, 5], activation="elu"),
        make_bundle([10, 7, 2], gaussian=True, activation="silu"),
    ]


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an ordinary build: the static library, the C++ tests and the latency tool."""
    return library(
        tmp_path_factory.mktemp("plain"),
        "-DVAELOCITY_BUILD_BENCH=ON",
        f"-DCMAKE_INSTALL_PREFIX={tmp_path_factory.mktemp('prefix')}",
        "-DCMAKE_INSTALL_LIBDIR=lib",
    )


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build under the address and undefined-behaviour sanitizers. Where the machine has no
    AVX-512 but SIMDe is installed, with the AVX-512 unit run on an emulation of it."""
    options = []
    if "avx512" not in _core.available_isas() and Path("/usr/include/simde/x86/avx512.h").exists():
        options.append("-DVAELOCITY_EMULATE_AVX512=ON")
    return sanitized_library(tmp_path_factory.mktemp("sanitized"), "address,undefined", *options)


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
