"""Preprocessing in the model file: what each step does, the same bits everywhere, both readers."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from physics_networks import COLUMNS, edges, network, promised

import vaelocity
from vaelocity import _core
from vaelocity.bundle import BundleError, bundle_bytes, parse_bundle
from vaelocity.export import qonnx_model
from vaelocity.frozen_score import exact_features, exact_score
from vaelocity.preprocess import prepared

ISAS = _core.available_isas()
NAMES = tuple(COLUMNS)
CHOICES = [
    (),
    *((name,) for name in NAMES),
    *(pair for pair in combinations(NAMES, 2) if "missing" in pair),
    NAMES,
]


def bits(scores: np.ndarray) -> np.ndarray:
    return scores.view(np.uint32)


def load(data: bytes, kind: str = "", isa: str = "") -> _core.Model:
    return _core.Model.from_bytes(data, kind=kind, isa=isa, verify=False)


def rejected(metadata: dict[str, Any], rows: np.ndarray) -> np.ndarray:
    step = metadata["preprocess"][0]
    dealt_with = [*step["flag"], *step["impute"]] if step["op"] == "missing" else []
    lost = ~np.isfinite(rows)
    lost[:, dealt_with] = False
    return lost.any(axis=1)


@pytest.mark.parametrize("steps", CHOICES, ids="-".join)
@pytest.mark.parametrize("latent", ["point", "gaussian"])
def test_scores_agree_with_float64(steps: tuple[str, ...], latent: str) -> None:
    metadata, tensors = network(steps, latent=latent)
    rows = edges(19)
    wrong = rejected(metadata, rows)
    ordinary = ~wrong & (np.where(np.isfinite(rows), np.abs(rows), 0) < 100).all(axis=1)
    for kind in ("reconstruction",) if latent == "point" else ("reconstruction", "mu2", "elbo"):
        model = load(bundle_bytes(metadata, tensors), kind)
        scores, flags = model.score(rows), model.flags(rows)
        assert np.array_equal(np.isnan(scores), wrong)
        assert np.array_equal(flags == 1, wrong)
        exact = exact_score(metadata, tensors, rows[ordinary], kind)
        x, _ = prepared(metadata, tensors, rows[ordinary])
        # The rounding of y ~ x, and of an angle of thousands, is one of x and not of the score.
        allowed = 1e-5 * (np.abs(exact) + 1) + 1e-5 * np.square(x).sum(axis=1)
        assert (np.abs(scores[ordinary] - exact) <= allowed).all(), kind
    assert ordinary.sum() > 20


@pytest.mark.parametrize("steps", CHOICES, ids="-".join)
@pytest.mark.parametrize("loss", ["squared_error", "bce_with_logits"])
def test_every_batch_size_position_layout_and_isa(steps: tuple[str, ...], loss: str) -> None:
    rows = edges(19)
    columns = [np.ascontiguousarray(column) for column in rows.T]
    expected = None
    for isa in ISAS:
        model = load(bundle_bytes(*network(steps, loss)), isa=isa)
        scores, flags = bits(model.score(rows)), model.flags(rows)
        expected = (scores, flags) if expected is None else expected
        assert np.array_equal(scores, expected[0])
        assert np.array_equal(flags, expected[1])
        for n in (1, 2, 3, 4, 7, 16, 17, 33):
            assert np.array_equal(bits(model.score(rows[:n])), scores[:n]), n
            assert np.array_equal(bits(model.score(rows[-n:])), scores[-n:]), n
            assert np.array_equal(model.flags(rows[-n:]), flags[-n:]), n
        assert np.array_equal(bits(model.score_columns(columns)), scores)
        assert np.array_equal(model.flags_columns(columns), flags)


def test_missing_values_follow_the_policy_of_their_column() -> None:
    metadata, tensors = network(("missing",))
    model = load(bundle_bytes(metadata, tensors))
    row = np.linspace(-1, 1, 19, dtype=np.float32)[None]
    for value in (np.nan, np.inf, -np.inf):
        rejects, flagged, imputed = row.copy(), row.copy(), row.copy()
        rejects[0, 2], flagged[0, 4], imputed[0, 0] = value, value, value
        assert np.isnan(model.score(rejects)[0])
        assert model.flags(rejects)[0] == 1
        assert np.isfinite(model.score(flagged)[0])
        assert model.flags(flagged)[0] == 4
        parts = model.features(flagged)[0]
        assert parts[4] == 0
        assert (np.delete(parts, 4) > 0).all()
        assert model.flags(imputed)[0] == 4
        same = row.copy()
        same[0, 0] = 2.5
        assert model.score(imputed)[0] == model.score(same)[0]
        assert model.flags(same)[0] == 0
        rejects[0, 4] = value
        assert model.flags(rejects)[0] == 1
    assert model.flags(row)[0] == 0


def test_a_missing_value_and_an_overflow_are_both_flagged() -> None:
    model = load(bundle_bytes(*network(("missing",))))
    row = np.full((1, 19), 3e38, np.float32)
    row[0, 4] = np.nan
    assert model.flags(row)[0] == 6
    assert model.score(row)[0] == np.finfo(np.float32).max


def test_an_absent_object_leaves_the_loss() -> None:
    """Its term is 0, and the network sees the same whatever its neighbour's sign of zero."""
    metadata, tensors = network(("mask_zeros",))
    model = load(bundle_bytes(metadata, tensors))
    rows = np.tile(np.linspace(0.5, 1, 19, dtype=np.float32), (3, 1))
    rows[0, 3:6], rows[1, 3:6], rows[2, 3:6] = 0, -0.0, 1e-40
    parts = model.features(rows)
    assert (parts[:2, 3:6] == 0).all()
    assert (parts[2, 3:6] > 0).all()
    scores = model.score(rows)
    assert scores[0] == scores[1] != scores[2]
    assert (model.flags(rows) == 0).all()
    exact = exact_features(metadata, tensors, rows)
    np.testing.assert_allclose(parts, exact, rtol=1e-4, atol=1e-6)


def test_clip_keeps_a_huge_value_from_the_score() -> None:
    model = load(bundle_bytes(*network(("clip",))))
    rows = np.ones((3, 19), np.float32)
    rows[0, 2], rows[1, 2], rows[2, 2] = 2.5, 3e38, 2.5001
    assert len(set(model.score(rows).tolist())) == 1


def one_feature(step: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """What a step makes of x: the output of a network that hands its one feature on."""
    metadata: dict[str, Any] = {
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
    one = np.ones(1, np.float32)
    tensors = {"zero": np.zeros(1, np.float32), "one": one, "w": one[None]}
    every = [
        load(bundle_bytes(metadata, tensors), isa=isa).score(x[:, None].astype(np.float32))
        for isa in ISAS
    ]
    assert all(np.array_equal(bits(other), bits(every[0])) for other in every)
    return every[0]


def test_log1p_is_close_odd_and_monotone() -> None:
    patterns = np.arange(0, 0x7F800000, 40009, dtype=np.uint32).view(np.float32)
    for x in (patterns, -patterns):
        got = one_feature({"op": "log1p"}, x)
        exact = np.copysign(np.log1p(np.abs(x).astype(np.float64)), x.astype(np.float64))
        ulp = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
        assert (np.abs(got - exact) / ulp).max() <= 2
        assert (np.diff(np.abs(got)) >= 0).all()
    x = np.float32([0, 1e-45, 1e-40, 3.4028235e38])
    got = one_feature({"op": "log1p"}, x)
    assert np.array_equal(got[:3], x[:3])
    assert got[3] == pytest.approx(np.log(np.float64(x[3])), rel=1e-7)
    assert np.array_equal(one_feature({"op": "log1p"}, -x), -got)


def test_wrap_brings_an_angle_into_its_range_and_leaves_one_that_is_there() -> None:
    pi = np.float32(np.pi)
    rng = np.random.default_rng(0)
    inside = rng.uniform(-pi, pi, 5000).astype(np.float32)
    inside = np.concatenate([inside, [-pi, np.nextafter(pi, np.float32(0)), 0, 1e-40]])
    inside = inside.astype(np.float32)
    assert np.array_equal(one_feature({"op": "wrap"}, inside), inside)
    # At the seam, too: turns and a half, and the floats beside them.
    seams = np.float32(np.pi * np.arange(-317, 318, 2))
    seams = np.concatenate([seams + np.spacing(seams) * np.float32(k) for k in range(-3, 4)])
    x = np.concatenate([rng.uniform(-1000, 1000, 5000), [pi, 4 * pi, -3 * pi], seams])
    x = x.astype(np.float32)
    got = one_feature({"op": "wrap"}, x)
    assert ((got >= -pi) & (got < pi)).all()
    # As directions: at the seam -pi and pi are one.
    assert np.abs(np.exp(1j * got.astype(np.float64)) - np.exp(1j * x.astype(np.float64))).max() < (
        2.0**-21
    )
    assert one_feature({"op": "wrap"}, np.float32([pi]))[0] == -pi
    far = one_feature({"op": "wrap"}, np.float32([3e38, -3e38, 2**20]))
    assert ((far >= -pi) & (far < pi)).all()
    assert far[0] == far[2]


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.sampled_from(NAMES)),
    st.sampled_from(["squared_error", "absolute_error", "huber", "bce_with_logits"]),
    st.integers(0, 2**31),
)
def test_any_steps_and_any_row_agree_with_float64(names: set[str], loss: str, seed: int) -> None:
    metadata, tensors = network(tuple(name for name in NAMES if name in names), loss)
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(5, 19)) * 10 ** rng.uniform(-3, 2)).astype(np.float32)
    rows[rng.random(rows.shape) < 0.2] = 0
    rows[rng.random(rows.shape) < 0.05] = np.nan
    model = load(bundle_bytes(metadata, tensors))
    wrong = rejected(metadata, rows)
    scores = model.score(rows)
    assert np.array_equal(np.isnan(scores), wrong)
    exact = exact_score(metadata, tensors, rows[~wrong])
    x, _ = prepared(metadata, tensors, rows[~wrong])
    allowed = 1e-5 * (np.abs(exact) + 1) + 1e-5 * np.square(x).sum(axis=1)
    assert (np.abs(scores[~wrong] - exact) <= allowed).all()


# ---- The file


def test_the_format_is_the_oldest_that_holds_the_file() -> None:
    assert parse_bundle(bundle_bytes(*network()))[0]["format"] == 1
    assert parse_bundle(bundle_bytes(*network(("log1p",))))[0]["format"] == 3
    assert parse_bundle(bundle_bytes(*network(latent="output")))[0]["format"] == 3
    assert parse_bundle(bundle_bytes(*network(loss="huber")))[0]["format"] == 3


def test_the_identity_knows_every_entry_of_a_step() -> None:
    identities = set()
    for change in (None, ("clip", "low", [-2, None, 0]), ("missing", "values", [2.5, 1.0])):
        metadata, tensors = network(NAMES)
        for step in metadata["preprocess"]:
            if change and step["op"] == change[0]:
                step[change[1]] = change[2]
        identities.add(parse_bundle(bundle_bytes(metadata, tensors))[0]["identity"])
    assert len(identities) == 3


def test_conformance_rows_are_replayed(tmp_path: Path) -> None:
    metadata, tensors = network(NAMES, "bce_with_logits", "gaussian")
    path = tmp_path / "m.vael"
    path.write_bytes(promised(metadata, tensors, ["reconstruction", "mu2", "elbo"]))
    for isa in ISAS:
        for kind in ("reconstruction", "mu2", "elbo"):
            scorer = vaelocity.load(path, kind=kind, isa=isa)
            assert scorer.score(edges(19)).shape == (41,)
    content, arrays = parse_bundle(path.read_bytes())
    arrays["scores.mu2"][3] += 1
    path.write_bytes(bundle_bytes(content, arrays))
    with pytest.raises(BundleError, match="conformance row 3"):
        vaelocity.load(path, kind="mu2")


def by_python(metadata: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    bundle_bytes(metadata, tensors)


def by_core(metadata: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaelocity.bundle.check_structure", lambda *_: None)
        data = bundle_bytes(metadata, tensors)
    load(data)


@pytest.mark.parametrize("reader", [by_python, by_core])
@pytest.mark.parametrize(
    ("number", "key", "value", "said"),
    [
        (0, "flag", [1, 0], "preprocess.0: expected ascending numbers of columns below 19 as flag"),
        (0, "flag", [19], "preprocess.0: expected ascending numbers"),
        (0, "flag", [-1], "preprocess.0: expected ascending numbers"),
        (0, "flag", 3, "preprocess.0: expected ascending numbers"),
        (0, "flag", [0], "preprocess.0: column 0 is both flagged and imputed"),
        (0, "values", [1.0], "preprocess.0: expected one number for each column as values"),
        (0, "values", [1.0, None], "preprocess.0: expected a finite number as values"),
        (0, "values", [1.0, 1e39], "preprocess.0: expected a finite number as values"),
        (1, "columns", [], "preprocess.1: names no column"),
        (1, "more", 1, "preprocess.1: unknown key"),
        (1, "op", "whiten", "preprocess.1: no step"),
        (2, "low", [3, None, 0], "preprocess.2: low is above high for column 2"),
        (3, "op", "mask_zeros", "preprocess.3: no step"),
        (5, "weight", "mean", "preprocess.5: unknown key"),
    ],
)
def test_a_bad_step_is_named(reader: Any, number: int, key: str, value: Any, said: str) -> None:
    metadata, tensors = network(NAMES)
    metadata["preprocess"][number][key] = value
    with pytest.raises(BundleError, match=said):
        reader(metadata, tensors)


@pytest.mark.parametrize("reader", [by_python, by_core])
def test_unknown_keys_are_not_passed_over(reader: Any) -> None:
    for part, where in (("encoder", "encoder.1"), ("decoder", "decoder.0")):
        metadata, tensors = network()
        metadata[part][int(where[-1])]["gain"] = 2
        with pytest.raises(BundleError, match=f"{where}: unknown key"):
            reader(metadata, tensors)
    for key in ("latent", "score"):
        metadata, tensors = network()
        metadata[key]["gain"] = 2
        with pytest.raises(BundleError, match=f"{key}: unknown key"):
            reader(metadata, tensors)


def test_what_knows_no_preprocessing_says_so(tmp_path: Path) -> None:
    metadata, tensors = network(("log1p",))
    path = tmp_path / "m.vael"
    path.write_bytes(promised(metadata, tensors, ["reconstruction"]))
    pytest.importorskip("onnx")
    with pytest.raises(BundleError, match="the QONNX graph takes no preprocessing but"):
        qonnx_model(path)


def test_the_core_refuses_the_threshold_of_another_model() -> None:
    metadata, tensors = network()
    entry = vaelocity.Threshold("t", "reconstruction", 1.5, 0.01, 0.01, (0.005, 0.02), 1000)
    metadata["thresholds"] = [{**entry.to_dict(), "model": "0" * 64}]
    for reader in (by_python, by_core):
        with pytest.raises(BundleError, match="threshold t: it is for model 000000000000"):
            reader(metadata, tensors)
