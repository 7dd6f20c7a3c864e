"""Exports of what is beside standardised features, the squared error and a point or gaussian latent
space: the header gives the library's bits, ONNX its scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from building import clang, run, tool
from physics_networks import COLUMNS, edges, network, promised
from test_export import FLAGS, MAIN

import vaelocity
from vaelocity import _core
from vaelocity.export import cpp_header, onnx_model

LOSSES = ("squared_error", "absolute_error", "huber", "bce_with_logits")
STEPS = tuple(COLUMNS)

# (preprocessing, loss, latent space, kind of score)
CASES: list[tuple[tuple[str, ...], str, str, str]] = [
    *(((), loss, "point", "reconstruction") for loss in LOSSES[1:]),
    *((STEPS, loss, "gaussian", "elbo") for loss in LOSSES),
    *(((step,), "squared_error", "point", "reconstruction") for step in STEPS),
    *((STEPS, "squared_error", "gaussian", kind) for kind in ("mu2", "kl", "rz")),
    (("missing", "log1p"), "squared_error", "output", "output"),
    ((), "squared_error", "output", "output"),
    *((("mask_zeros",), loss, "embedding", "latent_reconstruction") for loss in LOSSES),
]


@pytest.fixture
def files(tmp_path: Path) -> list[tuple[Path, str]]:
    """A model file and a kind of score for each of CASES."""
    found = []
    for i, (steps, loss, latent, kind) in enumerate(CASES):
        path = tmp_path / f"m{i}.vael"
        more: dict[str, Any] = {"delta": 0.5} if loss == "huber" else {}
        path.write_bytes(promised(*network(steps, loss, latent, **more), [kind]))
        found.append((path, kind))
    path = tmp_path / f"m{len(CASES)}.vael"
    path.write_bytes(promised(*network(("mask_zeros", "wrap"), bounded=True), ["reconstruction"]))
    return [*found, (path, "reconstruction")]


def rows_for() -> np.ndarray:
    """Ordinary rows, and those at the edges: float32 [200, 19]."""
    rng = np.random.default_rng(5)
    rows = (2 * rng.normal(size=(200, 19))).astype(np.float32)
    rows[rng.random(rows.shape) < 0.1] = 0
    rows[rng.random(rows.shape) < 0.01] = np.nan
    edge = edges(19)
    rows[: len(edge)] = edge
    return rows


@pytest.mark.parametrize("compiler", ["g++", "clang++", "sanitizers"])
def test_the_header_gives_the_librarys_bits(
    compiler: str, files: list[tuple[Path, str]], tmp_path: Path
) -> None:
    rows = rows_for()
    (tmp_path / "rows").write_bytes(rows.tobytes())
    includes, calls, expected = [], [], []
    for i, (path, kind) in enumerate(files):
        header = tmp_path / f"net{i}.hpp"
        header.write_text(cpp_header(path, kind=kind))
        includes.append(f'#include "{header}"')
        calls += [
            f"  if (m{i}::verify() != 0) return {i + 2};",
            "  std::rewind(file);",
            f"  print(file, m{i}::n_features, m{i}::score);",
        ]
        model = _core.Model.from_file(str(path), kind=kind)
        scores, flags = model.score(rows).view(np.uint32), model.flags(rows)
        expected += [f"{score} {flag}" for score, flag in zip(scores, flags, strict=True)]
        assert {0, 1} <= set(flags.tolist())
    body = [MAIN, "int main(int, char **argv) {", '  std::FILE *file = std::fopen(argv[1], "rb");']
    source = tmp_path / "main.cpp"
    source.write_text("\n".join([*includes, *body, *calls, "  return 0;\n}\n"]))
    tools = {
        "g++": ("g++", "-march=native"),
        "clang++": ("clang++", "-march=native"),
        "sanitizers": ("g++", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    }
    name, *more = tools[compiler]
    program = clang() if name == "clang++" else tool(name)
    run(program, *FLAGS, *more, source, "-o", tmp_path / "main")
    assert run(tmp_path / "main", tmp_path / "rows").splitlines() == expected


def onnx_scores(model: bytes, rows: np.ndarray) -> np.ndarray:
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["score"], {"rows": rows})[0])


def test_onnxruntime_gives_the_scores(files: list[tuple[Path, str]]) -> None:
    pytest.importorskip("onnx")
    rows = rows_for()
    for path, kind in files:
        expected = vaelocity.load(path, kind=kind).score(rows)
        found = onnx_scores(onnx_model(path, kind=kind), rows)
        assert np.array_equal(np.isnan(found), np.isnan(expected))
        usual = ~np.isnan(expected) & (np.abs(np.nan_to_num(rows, posinf=0, neginf=0)) < 100).all(1)
        assert usual.sum() > 100
        np.testing.assert_allclose(found[usual], expected[usual], rtol=1e-4, atol=2e-5)
        largest = np.finfo(np.float32).max
        assert (np.abs(found[~np.isnan(found)]) <= largest).all()


def one_column(step: dict[str, Any], folder: Path) -> Path:
    """A file whose score is its one feature after `step`."""
    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
    metadata = {
        "features": ["x"],
        "preprocess": [
            {**step, "columns": [0]},
            {"op": "standardize", "mean": "zero", "scale": "one"},
        ],
        "encoder": [{"op": "dense", "weight": "w", "bias": "zero"}],
        "latent": {"kind": "output", "size": 1},
        "decoder": [],
        "score": {"kind": "output"},
    }
    path = folder / f"{step['op']}.vael"
    path.write_bytes(promised(metadata, {"zero": zero, "one": one, "w": one[None]}, ["output"]))
    return path


def test_steps_in_onnx_are_as_exact_as_float32(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    wide = (rng.normal(size=(4000, 1)) * 10.0 ** rng.uniform(-40, 38, (4000, 1))).astype(np.float32)
    path = one_column({"op": "log1p"}, tmp_path)
    found, exact = onnx_scores(onnx_model(path), wide), vaelocity.load(path).score(wide)
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    pi = np.float32(np.pi)
    angles = rng.uniform(-1000, 1000, 4000).astype(np.float32)
    angles[:6] = [pi, -pi, np.nextafter(pi, np.float32(0)), 3e38, -3e38, 0]
    path = one_column({"op": "wrap"}, tmp_path)
    found = onnx_scores(onnx_model(path), angles[:, None])
    exact = vaelocity.load(path).score(angles[:, None])
    assert ((found >= -pi) & (found < pi)).all()
    assert np.array_equal(found[np.abs(angles) < pi], angles[np.abs(angles) < pi])
    # A float32 of 2^20 and more says nothing about an angle.
    apart = np.abs(found - exact)[np.abs(angles) < 2**20]
    assert np.minimum(apart, 2 * np.pi - apart).max() < 1e-6
    clip = {"op": "clip", "low": [-1.0], "high": [2.0]}
    path = one_column(clip, tmp_path)
    assert np.array_equal(onnx_scores(onnx_model(path), wide), np.clip(wide[:, 0], -1, 2))
