"""`vaelocity export --onnx` and `--triton-repository`, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import KINDS

import vaelocity
from vaelocity.bundle import read_bundle, write_bundle
from vaelocity.cli import main
from vaelocity.export import onnx_model, triton_repository
from vaelocity.steps import ACTIVATIONS
from vaelocity.threshold import Threshold

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


@pytest.fixture
def bundle(make_bundle: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """bundle(gaussian=True, activation="relu", thresholds=False) -> jets.vael"""

    def make(gaussian: bool = True, activation: str = "relu", thresholds: bool = False) -> Path:
        metadata, tensors = read_bundle(make_bundle([11, 9, 4], gaussian, activation, 5))
        if thresholds:
            metadata["thresholds"] = [
                Threshold(kind, kind, 3.5, 0.1, 0.1, (0.05, 0.2), 100).to_dict()
                for kind in ("reconstruction", "kl")
            ]
        write_bundle(tmp_path / "jets.vael", metadata, tensors)
        return tmp_path / "jets.vael"

    return make


def events(n: int = 257) -> np.ndarray:
    return (2 * np.random.default_rng(1).normal(size=(n, 11))).astype(np.float32)


def run(model: bytes, rows: np.ndarray) -> dict[str, Any]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"rows": rows}), strict=True))


@pytest.mark.parametrize("kind", KINDS[True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_onnxruntime_gives_the_scores(
    activation: str, kind: str, bundle: Callable[..., Path]
) -> None:
    path, rows = bundle(activation=activation), events()
    found = run(onnx_model(path, kind=kind), rows)
    assert list(found) == ["score"]
    expected = vaelocity.load(path, kind=kind).score(rows)
    np.testing.assert_allclose(found["score"], expected, rtol=1e-5, atol=1e-6)


def test_images_pools_norms_and_residuals(image_bundles: list[Path]) -> None:
    for path in image_bundles:
        for kind in vaelocity.load(path).kinds:
            scorer = vaelocity.load(path, kind=kind)
            rows = np.random.default_rng(3).normal(size=(33, scorer.n_features)).astype(np.float32)
            found = run(onnx_model(path, kind=kind), rows)["score"]
            np.testing.assert_allclose(found, scorer.score(rows), rtol=2e-5, atol=1e-6)


def test_logvar_is_not_computed_where_no_one_asks(bundle: Callable[..., Path]) -> None:
    path = bundle()
    sizes = {}
    for kind in ("mu2", "kl"):
        graph = onnx.load_model_from_string(onnx_model(path, kind=kind)).graph
        sizes[kind] = sum(np.prod(each.dims) for each in graph.initializer)
    assert sizes["kl"] - sizes["mu2"] >= 4 * 9  # four rows of weights, of the layer before


def test_a_row_that_is_not_finite_and_one_that_saturates(bundle: Callable[..., Path]) -> None:
    path, rows = bundle(gaussian=False), events(8)
    rows[0, 3], rows[1, 0], rows[2, 10] = np.nan, np.inf, -np.inf
    rows[3] = 1e30 * np.where(np.arange(11) % 2, 1, -1)
    rows[4] = 0
    found = run(onnx_model(path, threshold=1.0), rows)
    scorer = vaelocity.load(path)
    expected = scorer.score(rows)
    assert np.isnan(expected[:3]).all()
    assert expected[3] == np.finfo(np.float32).max
    np.testing.assert_allclose(found["score"], expected, rtol=1e-5)
    np.testing.assert_array_equal(found["anomalous"], scorer.predict(rows, 1.0))
    assert found["anomalous"][:4].all()


def test_the_threshold_is_the_file_s_for_its_kind(bundle: Callable[..., Path]) -> None:
    path, rows = bundle(thresholds=True), events()
    for kind in ("reconstruction", "kl"):
        scorer = vaelocity.load(path, kind=kind)
        found = run(onnx_model(path, kind=kind), rows)
        far = np.abs(scorer.score(rows) - 3.5) > 1e-4
        assert far.all()
        np.testing.assert_array_equal(found["anomalous"], scorer.predict(rows))
    assert list(run(onnx_model(path, kind="mu2"), rows)) == ["score"]
    model = onnx.load_model_from_string(onnx_model(path))
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["vaelocity.model"] == scorer.fingerprint
    with pytest.raises(ValueError, match=r"expected one of the file's \('reconstruction'\)"):
        onnx_model(path, threshold="tight")


def test_a_triton_repository(bundle: Callable[..., Path], tmp_path: Path) -> None:
    path, rows = bundle(thresholds=True), events()
    repository = tmp_path / "models"
    files = triton_repository(path, repository, max_batch=512)
    assert [str(file.relative_to(repository)) for file in files] == [
        "jets/1/model.onnx", "jets/config.pbtxt",
    ]  # fmt: skip
    scores = run(files[0].read_bytes(), rows)["score"]
    expected = vaelocity.load(path).score(rows)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    config = files[1].read_text()
    for line in (
        'name: "jets"', 'backend: "onnxruntime"', "max_batch_size: 512", "dims: [ 11 ]",
        'name: "anomalous", data_type: TYPE_BOOL, dims: [ 1 ], reshape: { shape: [ ] }',
        "kind: KIND_CPU",
    ):  # fmt: skip
        assert line in config
    triton_repository(path, repository, version=2, device="gpu")
    assert (repository / "jets/1/model.onnx").exists()
    assert (repository / "jets/2/model.onnx").exists()
    for wrong in ({"name": "../x"}, {"device": "tpu"}, {"version": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            triton_repository(path, repository, **wrong)


def test_command(
    bundle: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = bundle(), tmp_path / "jets.onnx"
    assert main(["export", str(path), "--onnx", str(target), "--score-kind", "mu2"]) == 0
    assert run(target.read_bytes(), events())["score"].shape == (257,)
    assert main(["export", str(path), "--triton-repository", str(tmp_path / "r")]) == 0
    assert "tritonserver --model-repository=" in capsys.readouterr().out
    assert main(["export", str(path), "--onnx", str(target), "--cubin", "sm_90"]) == 2
    assert "one of them" in capsys.readouterr().err
    assert main(["export", str(path), "--header", "a.hpp", "--threshold", "1"]) == 2
    assert "--threshold: only with --onnx" in capsys.readouterr().err
