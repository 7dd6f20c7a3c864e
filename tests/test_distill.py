"""A student whose one output is its score, from training to the scorer and out of it again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from building import run, tool
from ring import middle, ring
from test_export import FLAGS, MAIN

import vaelocity
from vaelocity import _core, models
from vaelocity.bundle import read_bundle
from vaelocity.export import cpp_header, onnx_model

ROWS = ring(1024, seed=0)
TEST, CENTRE = ring(300, seed=1), middle(300)


@pytest.fixture(scope="module")
def teacher() -> models.DenoisingAutoencoder:
    teacher = models.DenoisingAutoencoder(2, latent=16, hidden=(32,))
    return teacher.fit(ROWS, epochs=40, batch_size=64, lr=5e-3, progress=False)


def taught(teacher: models.DenoisingAutoencoder) -> models.OutputStudent:
    student = models.distill(
        teacher, ROWS, score="output", hidden=(15,), epochs=40, batch_size=64, lr=5e-3,
        progress=False,
    )  # fmt: skip
    assert isinstance(student, models.OutputStudent)
    return student


def test_it_learns_the_score_and_freezes_to_its_encoder(
    teacher: models.DenoisingAutoencoder, tmp_path: Path
) -> None:
    student = taught(teacher)
    rows = np.concatenate([TEST, CENTRE])
    wanted = np.log1p(teacher.score(rows) / np.median(teacher.score(ROWS)))
    assert np.corrcoef(wanted, student.score(rows))[0, 1] > 0.9
    path = tmp_path / "student.vael"
    student.save(path)
    metadata, _ = read_bundle(path)
    assert metadata["format"] == 3
    assert metadata["latent"] == {"kind": "output", "size": 1}
    assert metadata["decoder"] == []
    frozen = vaelocity.load(path)
    assert frozen.kind == "output"
    np.testing.assert_allclose(frozen.score(rows), student.score(rows), rtol=1e-4, atol=1e-5)
    for isa in _core.available_isas():
        assert np.array_equal(vaelocity.load(path, isa=isa).score(rows), frozen.score(rows)), isa
    again = models.load(path)
    assert np.array_equal(again.score(rows), student.score(rows))
    with pytest.raises(TypeError, match="a Student has learned a score alone"):
        again.reconstruct(rows)


def test_its_header_and_its_graph(teacher: models.DenoisingAutoencoder, tmp_path: Path) -> None:
    path = tmp_path / "student.vael"
    taught(teacher).save(path)
    rows = np.concatenate([TEST, CENTRE])[:200]
    expected = vaelocity.load(path).score(rows)
    (tmp_path / "student.hpp").write_text(cpp_header(path))
    (tmp_path / "rows").write_bytes(rows.tobytes())
    source = tmp_path / "main.cpp"
    body = '  std::FILE *file = std::fopen(argv[1], "rb");\n  print(file, 2, student::score);\n}\n'
    source.write_text(f'#include "student.hpp"\n{MAIN}int main(int, char **argv) {{\n{body}')
    run(tool("g++"), *FLAGS, "-march=native", source, "-o", tmp_path / "main")
    lines = run(tmp_path / "main", tmp_path / "rows").splitlines()
    assert lines == [f"{bits} 0" for bits in expected.view(np.uint32)]
    pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(onnx_model(path), providers=["CPUExecutionProvider"])
    found = session.run(["score"], {"rows": rows})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_student_of_cicada_has_its_shape(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(64, 252)).astype(np.float32)
    teacher = models.Autoencoder(252, latent=4).fit(rows, epochs=1, progress=False)
    student = models.distill(teacher, rows, score="output", hidden=(15,), epochs=1, progress=False)
    student.save(tmp_path / "cicada.vael")
    _, tensors = read_bundle(tmp_path / "cicada.vael")
    shapes = [tensors[f"encoder.{i}.weight"].shape for i in range(2)]
    assert shapes == [(15, 252), (1, 15)]


def test_it_prepares_columns_as_its_teacher_does(tmp_path: Path) -> None:
    rows = np.exp(2 * ROWS).astype(np.float32)
    teacher = models.Autoencoder(2, latent=1, hidden=(16,))
    teacher.preprocess(log1p=[0, 1], clip={0: (0, 9)}, mask_zeros=[1])
    teacher.fit(rows, epochs=2, progress=False)
    student = models.distill(teacher, rows, score="output", epochs=2, progress=False)
    path = tmp_path / "student.vael"
    student.save(path)
    ops = [step["op"] for step in read_bundle(path)[0]["preprocess"]]
    assert ops == ["clip", "log1p", "standardize"]
    found = vaelocity.load(path).score(rows)
    np.testing.assert_allclose(found, student.score(rows), rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_an_error(teacher: models.DenoisingAutoencoder) -> None:
    with pytest.raises(ValueError, match="score: expected mu2 or output, got 'kl'"):
        models.distill(teacher, ROWS, score="kl")
    with pytest.raises(ValueError, match="latent: a student with one output has none, got 4"):
        models.distill(teacher, ROWS, score="output", latent=4)
