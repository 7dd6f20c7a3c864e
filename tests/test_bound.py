"""The step `bound`: an output held within a range, in the file, the scorer and in training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from physics_networks import edges, network, promised
from test_preprocess import by_core, by_python, load

import vaelocity
from vaelocity import _core
from vaelocity.bundle import BundleError, bundle_bytes, read_bundle
from vaelocity.cli import main
from vaelocity.frozen_score import exact_features, exact_score

NAMES = ["pt", "eta", "phi"]
FIT: dict[str, Any] = {"epochs": 3, "batch_size": 64, "lr": 5e-3, "progress": False}


def events(n: int = 600, seed: int = 0) -> np.ndarray:
    """float32 [n, 3]: a momentum, a pseudorapidity, an angle."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-math.pi, math.pi, n)
    eta = 2.5 * np.tanh(rng.normal(size=n) + 0.5)
    return np.column_stack([20 * np.exp(rng.normal(size=n)), eta, angle]).astype(np.float32)


@pytest.mark.parametrize("latent", ["point", "gaussian"])
def test_the_same_bits_and_the_right_score(latent: str, tmp_path: Path) -> None:
    metadata, tensors = network(("mask_zeros",), latent=latent, bounded=True)
    kind = "reconstruction" if latent == "point" else "elbo"
    path = tmp_path / "m.vael"
    path.write_bytes(promised(metadata, tensors, [kind]))
    rows = np.concatenate([edges(19), edges(19)[::-1]])
    expected = None
    for isa in _core.available_isas():
        scorer = vaelocity.load(path, kind=kind, isa=isa)
        scores = scorer.score(rows).view(np.uint32)
        expected = scores if expected is None else expected
        assert np.array_equal(scores, expected)
        for n in (1, 2, 5, 17, 33):
            assert np.array_equal(scorer.score(rows[-n:]).view(np.uint32), expected[-n:])
        columns = [np.ascontiguousarray(column) for column in rows.T]
        assert np.array_equal(scorer.score(columns).view(np.uint32), expected)
    assert expected is not None
    found = expected.view(np.float32)
    usual = np.abs(np.where(np.isfinite(rows), rows, 1e9)).max(axis=1) < 100
    exact = exact_score(metadata, tensors, rows[usual], kind)
    np.testing.assert_allclose(found[usual], exact, rtol=1e-4, atol=1e-5)
    if kind == "reconstruction":
        parts = vaelocity.load(path).score_features(rows[usual])
        exact = exact_features(metadata, tensors, rows[usual])
        np.testing.assert_allclose(parts, exact, rtol=2e-4, atol=1e-5)
    without = {**metadata, "decoder": metadata["decoder"][:-1]}
    plain = load(bundle_bytes(without, tensors), kind).score(rows)
    assert not np.allclose(plain[usual], found[usual])


def test_the_bound_is_reached_and_not_passed() -> None:
    """An output of 1e30 is the bound away from the centre, to the last bit."""
    metadata, tensors = network(bounded=True)
    last = metadata["decoder"][1]
    tensors[last["weight"]][:] = 0
    rows = np.zeros((3, 19), np.float32)
    for sign in (1, -1):
        tensors[last["bias"]][:] = sign * 1e30
        model = load(bundle_bytes(metadata, tensors))
        x = (rows - tensors["mean"]) * (np.float32(1) / tensors["scale"])
        held = tensors["bound.w"] > 0
        y = sign * tensors["bound.w"] + tensors["bound.b"]
        expected = np.float32(0.5) * ((y - x) * (y - x))
        assert np.array_equal(model.features(rows)[:, held], expected[:, held])


@pytest.mark.parametrize("reader", [by_python, by_core])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bound.w": np.full(19, -1, np.float32)}, "decoder.2: "),
        ({"bound.w": np.full(19, np.inf, np.float32)}, "decoder.2: "),
        ({"bound.b": np.full(19, np.nan, np.float32)}, "decoder.2: "),
        ({"bound.w": np.ones(18, np.float32)}, "bound.w: got "),
    ],
)
def test_a_wrong_bound_is_named(reader: Any, change: dict[str, np.ndarray], said: str) -> None:
    metadata, tensors = network(bounded=True)
    with pytest.raises(BundleError, match=said):
        reader(metadata, {**tensors, **change})


def test_a_gpu_computes_it_layer_by_layer() -> None:
    torch = pytest.importorskip("torch")
    from vaelocity.cuda.layers import Layers

    metadata, tensors = network(bounded=True)
    z = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    y = Layers(metadata["decoder"], tensors)(torch.from_numpy(z)).numpy()
    plain = Layers(metadata["decoder"][:-1], tensors)(torch.from_numpy(z)).numpy()
    bound = tensors["bound.w"]
    held = np.where(bound > 0, bound * np.tanh(plain) + tensors["bound.b"], plain)
    np.testing.assert_allclose(y, held, rtol=1e-5, atol=1e-6)


# ---- Training


@pytest.mark.parametrize("family", ["Autoencoder", "VAE", "DenoisingAutoencoder"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_file_scores_as_the_model_that_was_trained(
    family: str, batch_norm: bool, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from vaelocity import models

    model = getattr(models, family)(3, 2, (8,), batch_norm=batch_norm, feature_names=NAMES)
    model.bound({"phi": math.pi, 1: 2.5}).preprocess(wrap=["phi"])
    model.fit(events(), **FIT)
    path = tmp_path / "m.vael"
    model.save(path)
    metadata, tensors = read_bundle(path)
    step = metadata["decoder"][-1]
    assert step["op"] == "bound"
    scale = tensors["preprocess.0.scale"]
    np.testing.assert_allclose(tensors[step["weight"]] * scale, [0, 2.5, math.pi], rtol=1e-6)
    rows = np.concatenate([events(300, seed=1), 100 * events(300, seed=2)])
    made = model.reconstruct(rows)
    assert (np.abs(made[:, 1]) <= 2.5 * (1 + 1e-6)).all()
    assert (np.abs(made[:, 2]) <= math.pi * (1 + 1e-6)).all()
    for kind in model.frozen_kinds():
        scores = vaelocity.load(path, kind=kind).score(rows[:300])
        np.testing.assert_allclose(scores, model.score(rows[:300], kind), rtol=2e-4, atol=2e-5)
    again = models.load(path)
    assert isinstance(again, type(model))
    assert again.bounds == {1: 2.5, 2: float(np.float32(math.pi))}
    assert np.array_equal(again.score(rows), model.score(rows))
    again.fit(events(), **FIT).save(path)
    assert read_bundle(path)[0]["decoder"][-1]["op"] == "bound"


def test_gradients_go_through_it() -> None:
    torch = pytest.importorskip("torch")
    from vaelocity import models

    model = models.Autoencoder(3, 2, (8,), feature_names=NAMES).bound({"phi": math.pi})
    model.double()
    z = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model.decoder, (z,))
    assert model.step_without_graph(None) is None
    assert model.bound({}).step_without_graph(None) is not None


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"psi": 1.0}, "bound: no column 'psi'"),
        ({"phi": 0.0}, "bound: expected positive limits, got 0.0"),
        ({"phi": math.inf}, "bound: expected finite numbers, got inf"),
        ({"phi": 1.0, 2: 1.0}, "names a column twice"),
    ],
)
def test_what_is_wrong_is_named(limits: dict[str | int, float], said: str) -> None:
    pytest.importorskip("torch")
    from vaelocity import models

    with pytest.raises(ValueError, match=said):
        models.Autoencoder(3, 2, (8,), feature_names=NAMES).bound(limits)


def test_where_it_cannot_be() -> None:
    pytest.importorskip("torch")
    from vaelocity import models

    with pytest.raises(ValueError, match="bound: the output of a OutputStudent is no feature"):
        models.OutputStudent(3, (8,)).bound({0: 1.0})
    model = models.Autoencoder(3, 2, (8,)).fit(events(), **FIT)
    with pytest.raises(RuntimeError, match="bound: the model was fitted already"):
        model.bound({0: 1.0})


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pq = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    data, model = tmp_path / "data.parquet", tmp_path / "m.vael"
    rows = events(20_000)
    pq.write_table(pa.table(dict(zip(NAMES, rows.T, strict=True))), data)
    tiny = ["--epochs", "1", "--hidden", "8", "--latent", "2", "--json"]
    fit = ["fit", str(data), "-o", str(model), *tiny]
    assert main([*fit, "--bound", "phi=pi", "--bound", "eta=2.5"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["plan"]["bounds"] == {"phi": math.pi, "eta": 2.5}
    assert read_bundle(model)[0]["decoder"][-1]["op"] == "bound"
    assert main(["verify", str(model)]) == 0
    assert main(["inspect", str(model)]) == 0
    assert "bound" in capsys.readouterr().out
    for wrong, said in (("phi", "expected COLUMN=LIMIT"), ("phi=x", "'x' is no number")):
        assert main([*fit, "--bound", wrong]) == 2
        assert said in capsys.readouterr().err
