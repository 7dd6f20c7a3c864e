"""Fixed-point networks: the kernel against the reference in Python integers, bit for bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import with_conformance

import vaelocity
from vaelocity import _core, fixed
from vaelocity.bundle import read_bundle
from vaelocity.fixed import Format, analyse, box_of, quantise, reference
from vaelocity.fixed.kernel import pack

MODES = list(itertools.product(("TRN", "RND_CONV"), ("WRAP", "SAT")))
KINDS = ("reconstruction", "mu2")


@pytest.fixture
def path(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle([11, 9, 4], gaussian=True, seed=5)


def rows_of(n: int, seed: int = 0) -> np.ndarray:
    """Ordinary ones, then features at and beyond every edge of the formats."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 11)) * np.exp(rng.normal(size=(n, 1)))
    rows[n // 2 :] *= rng.choice([0.0, 1e-30, 3.0, 1e3, 1e30], size=(n - n // 2, 1))
    return rows.astype(np.float32)


def assert_same_bits(network: fixed.FixedNetwork, rows: np.ndarray) -> None:
    values, scores = network.run(rows)
    expected_values, expected_scores = reference(network, rows)
    np.testing.assert_array_equal(values, expected_values.astype(np.int64))
    np.testing.assert_array_equal(scores, expected_scores)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rounding", "overflow"), MODES)
@pytest.mark.parametrize(("width", "integer"), [(16, 6), (8, 3), (6, 8), (9, -1), (1, 1)])
def test_the_kernel_equals_the_definition(
    width: int, integer: int, rounding: str, overflow: str, kind: str, path: Path
) -> None:
    values = Format(width, integer, rounding, overflow)
    for sums in (None, values, Format(13, 4, rounding, overflow), Format(40, 20, rounding)):
        for score in (None, Format(18, 14, rounding, overflow, signed=False)):
            network = quantise(path, values, sums=sums, score=score, kind=kind)
            assert_same_bits(network, rows_of(37))


@pytest.mark.parametrize("isa", _core.available_isas())
def test_every_instruction_set(isa: str, path: Path) -> None:
    rows = rows_of(33, 1)
    for (rounding, overflow), sums in itertools.product(MODES, (None, Format(14, 5))):
        network = quantise(path, Format(12, 4, rounding, overflow), sums=sums)
        for found, expected in zip(pack(network, isa).run(rows), network.run(rows), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_rows_that_are_no_rows(path: Path) -> None:
    network = quantise(path, Format(12, 4))
    with pytest.raises(TypeError, match="rows: expected float32, got float64"):
        network.run(rows_of(3).astype(np.float64))
    with pytest.raises(ValueError, match=r"rows: expected shape \(n, 11\), got \(3, 5\)"):
        network.run(rows_of(3)[:, :5])
    with pytest.raises(ValueError, match="score: expected at most 53 bits"):
        replace(network, score_format=Format(60, 60)).run(rows_of(3))


def test_formats_that_differ_from_layer_to_layer(path: Path) -> None:
    layers = [Format(10, 4, "RND_CONV"), Format(7, 3), Format(12, 2, "TRN", "SAT"), Format(9, 5)]
    weights = Format(5, 1, "RND_CONV", "SAT")
    network = quantise(path, Format(14, 5, "RND_CONV", "SAT"), weights=weights, layers=layers)
    assert_same_bits(network, rows_of(50, 2))


def test_wide_formats_come_close_to_the_float_score(path: Path) -> None:
    rows = np.random.default_rng(3).normal(size=(64, 11)).astype(np.float32)
    for kind in KINDS:
        exact = vaelocity.load(path, kind=kind).score(rows)
        network = quantise(path, Format(24, 8, "RND_CONV", "SAT"), kind=kind)
        np.testing.assert_allclose(network.score(rows), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_no_number_gives_nan(bad: float, path: Path) -> None:
    network, rows = quantise(path, Format(16, 6)), rows_of(20)
    before = network.score(rows)
    rows[7, 3] = bad
    after = network.score(rows)
    assert np.isnan(after[7])
    np.testing.assert_array_equal(np.delete(after, 7), np.delete(before, 7))


def test_assignment_of_every_value_of_small_formats() -> None:
    """Against the definition in words: nearest, ties to even, or floor; then modulo or clipped."""
    for (rounding, overflow), signed in itertools.product(MODES, (True, False)):
        format = Format(4, 2, rounding, overflow, signed)
        for raw in range(-200, 200):
            number = raw / 2**5 / format.step
            whole = int(np.floor(number)) if rounding == "TRN" else round(number)
            low, high = (-8, 7) if signed else (0, 15)
            if overflow == "SAT":
                expected = min(max(whole, low), high)
            else:
                expected = next(v for v in range(low, high + 1) if (v - whole) % 16 == 0)
            assert format.assign(np.array([raw], object), 5)[0] == expected
            assert format.quantise(raw / 2**5) == expected


def one_layer(tmp_path: Path, make_bundle: Callable[..., Path]) -> Path:
    """mu = x: two features, neither scaled nor shifted."""
    metadata, tensors = read_bundle(make_bundle([2, 2], gaussian=True))
    del metadata["conformance"]
    tensors["preprocess.0.mean"][:], tensors["preprocess.0.scale"][:] = 0, 1
    tensors["encoder.0.weight"][:2], tensors["encoder.0.bias"][:2] = np.eye(2), 0
    return with_conformance(tmp_path / "one.vael", metadata, tensors)


def test_the_wrap_around_of_an_unsaturated_sum_of_squares(
    tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    """ap_ufixed<18,14> holds up to 16383.9375: 127^2 + 16^2 = 16385 comes out as 1."""
    path = one_layer(tmp_path, make_bundle)
    rows = np.array([[127, 16], [127, 15], [100, 79]], np.float32)
    score = Format(18, 14, signed=False)
    wrapping = quantise(path, Format(16, 8), score=score, kind="mu2")
    np.testing.assert_array_equal(wrapping.score(rows), [1, 16354, 16241])
    found = wrapping.intervals[-1]
    assert (found.name, found.overflows, found.integer) == ("score", True, 16)
    assert found.range == (0, 2 * 128**2)
    saturating = quantise(path, Format(16, 8), score=replace(score, overflow="SAT"), kind="mu2")
    np.testing.assert_array_equal(saturating.score(rows), [16383.9375, 16354, 16241])
    enough = replace(score, width=20, integer=16)
    right = quantise(path, Format(16, 8), score=enough, kind="mu2")
    np.testing.assert_array_equal(right.score(rows), [16385, 16354, 16241])
    assert not right.intervals[-1].overflows


@pytest.mark.parametrize(("rounding", "overflow"), MODES)
def test_no_sum_leaves_its_interval_and_the_proposed_bits_suffice(
    rounding: str, overflow: str, path: Path
) -> None:
    """With the bits that the analysis asks for, wrapping and saturating sums are the same."""
    values = Format(10, 4, rounding, overflow)
    network = quantise(path, values, kind="mu2")
    sums = network.intervals[::2]
    assert [found.name for found in sums] == ["encoder.0 sum", "encoder.1 sum", "score"]
    assert not any(found.overflows for found in sums)
    needed = [replace(layer, sum_format=replace(layer.sum_format, overflow="SAT"))
              for layer in network.layers]  # fmt: skip
    saturating = replace(network, layers=tuple(needed))
    rows = rows_of(200, 4)
    np.testing.assert_array_equal(network.run(rows)[0], saturating.run(rows)[0])
    for at, layer in enumerate(network.layers):
        tight = replace(layer.sum_format, width=layer.sum_format.width - 1,
                        integer=layer.sum_format.integer - 1)  # fmt: skip
        layers = list(network.layers)
        layers[at] = replace(layer, sum_format=tight)
        assert analyse(replace(network, layers=tuple(layers)))[2 * at].overflows


def test_an_interval_is_reached_where_nothing_depends_on_anything(
    tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    network = quantise(one_layer(tmp_path, make_bundle), Format(8, 4), kind="mu2")
    corners = np.array(list(itertools.product([-8, 7.9375], repeat=2)), np.float32)
    values, scores = network.run(corners)
    assert (values.min(), values.max()) == (network.intervals[1].low, network.intervals[1].high)
    assert scores.max() == network.intervals[-1].range[1]


def test_the_box_of_the_data_gives_narrower_intervals(path: Path) -> None:
    network = quantise(path, Format(16, 6))
    rows = np.random.default_rng(5).normal(size=(100, 11)).astype(np.float32)
    scaled = (rows - network.mean) * network.inverse_scale
    box = box_of(network.input_format.quantise(scaled))
    pairs = list(zip(analyse(network, box), network.intervals, strict=True))
    assert all(narrow.integer <= wide.integer for narrow, wide in pairs)
    assert pairs[0][0].integer < pairs[0][1].integer


def test_text_of_a_format() -> None:
    assert Format.parse("16,6") == Format(16, 6, "TRN", "WRAP")
    assert Format.parse("18,14,SAT", signed=False) == Format(18, 14, "TRN", "SAT", False)
    whole = Format(9, -1, "RND_CONV", "SAT")
    assert Format.parse(str(whole)) == Format.parse("ap_fixed<9,-1,AP_RND_CONV,AP_SAT>") == whole
    assert not Format.parse("ap_ufixed<18, 14>").signed
    for bad in ("16", "16,6,ROUND", "ap_fixed<16,6", "16,6>", "0,1", "63,1", "8,-60", ""):
        with pytest.raises(ValueError, match=r"(format|width|integer): expected"):
            Format.parse(bad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": Format(33, 6)}, r"values: expected at most 32 bits, got ap_fixed<33,6"),
        ({"score": Format(60, 60)}, "score: expected at most 53 bits"),
        ({"sums": Format(60, 40)}, r"encoder.0 sum: expected at most 62 bits on the way"),
        ({"layers": [Format(8, 4)]}, "layers: expected 4 formats, got 1"),
        ({"kind": "kl"}, "kind: expected reconstruction or mu2, got kl"),
    ],
)
def test_what_cannot_be_had_is_said(arguments: dict, message: str, path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        quantise(path, **{"values": Format(24, 4), **arguments})


def test_an_activation_without_a_fixed_point_form(make_bundle: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"encoder\.0: expected identity or relu, got tanh"):
        quantise(make_bundle([5, 4, 3], activation="tanh"), Format(8, 4))


@pytest.mark.parametrize("width", [14, 15, 16, 18])
def test_sums_beyond_32_bits_are_exact(width: int, make_bundle: Callable[..., Path]) -> None:
    """Rows that make every product of an output as large as can be, of one sign."""
    path = make_bundle([40, 9, 4], seed=3)
    values, weights = Format(width, 6, "RND_CONV", "SAT"), Format(16, 0)
    network = quantise(path, values, weights=weights, score=Format(50, 30, signed=False))
    chunks = [interval.chunk for interval in network.intervals[:1]]
    assert chunks == {14: [20], 15: [10], 16: [3], 18: [0]}[width]
    signs = np.sign(network.layers[0].weight.astype(np.float64))
    rows = 1e9 * np.concatenate([signs, -signs, signs * (np.arange(40) % 3 - 1)])
    assert_same_bits(network, rows.astype(np.float32))
