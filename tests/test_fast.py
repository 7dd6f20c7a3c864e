"""Fast mode: AVX512_BF16's dot products, here on an emulation of them, against their definition
written in NumPy; and what a machine without them says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from building import run

import vaelocity
from vaelocity import BundleError, _core, fast
from vaelocity.benchmark import rounding
from vaelocity.bundle import read_bundle, write_bundle
from vaelocity.frozen import Unsupported, read
from vaelocity.narrowing import narrow

MakeBundle = Callable[..., Path]


def normal_rows(path: Path, n: int) -> np.ndarray:
    metadata, _ = read_bundle(path)
    shape = (n, len(metadata["features"]))
    return np.random.default_rng(4).normal(size=shape).astype(np.float32)


def emulated(build: Path, path: Path, rows: np.ndarray, folder: Path) -> np.ndarray:
    """The scores of the unit that is compiled for AVX512_BF16; every batch was compared there."""
    (folder / "rows").write_bytes(rows.tobytes())
    lines = run(build / "tests" / "cpp" / "test_fast", path, folder / "rows").split()
    return np.array([int(line, 16) for line in lines], np.uint32)


@pytest.fixture
def unit(sanitized: Path) -> Path:
    """A build whose unit of fast mode runs here, on the processor or on an emulation."""
    emulates = "VAELOCITY_EMULATE_AVX512:BOOL=ON" in (sanitized / "CMakeCache.txt").read_text()
    if not emulates and _core.why_not_fast() is not None:
        pytest.skip("no AVX512_BF16 here and no SIMDe: apt-get install libsimde-dev")
    return sanitized


@pytest.mark.parametrize(
    ("widths", "gaussian", "kind"),
    [
        ([37, 20, 9], False, "reconstruction"),
        ([64, 31, 15], True, "reconstruction"),
        ([33, 7, 3], True, "mu2"),
        ([1, 1], False, "reconstruction"),
    ],
)
def test_scores_are_those_of_the_definition(
    unit: Path,
    make_bundle: MakeBundle,
    tmp_path: Path,
    widths: list[int],
    gaussian: bool,
    kind: str,
) -> None:
    path = make_bundle(widths, gaussian, seed=7)
    metadata, tensors = read_bundle(path)
    metadata["score"]["kind"] = kind
    write_bundle(path, metadata, tensors)
    rows = normal_rows(path, 75)
    found = emulated(unit, path, rows, tmp_path)
    expected = fast.scores(read("n", path), rows)
    assert np.array_equal(found, expected.view(np.uint32))
    exact = vaelocity.load(path).score(rows)
    assert (np.abs(expected / exact - 1) < 0.1).all()
    assert not np.array_equal(expected, exact)


def test_weights_may_be_rounded_before_or_when_they_are_loaded(
    unit: Path, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    path, narrowed = make_bundle([19, 12, 5]), tmp_path / "n.vael"
    narrow(path, narrowed)
    rows = normal_rows(path, 40)
    both = [emulated(unit, each, rows, tmp_path) for each in (path, narrowed)]
    assert np.array_equal(*both)


def test_denormals_are_flushed_as_the_definition_says(
    unit: Path, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """Products, sums and operands around the smallest normal number, then large again."""
    path = make_bundle([32, 16], seed=2)
    metadata, tensors = read_bundle(path)
    for name in ("encoder.0.weight", "encoder.0.bias"):
        tensors[name] = np.ldexp(tensors[name], -125).astype(np.float32)
    tensors["decoder.0.weight"] = np.ldexp(tensors["decoder.0.weight"], 120).astype(np.float32)
    for key in ("conformance", "identity"):
        del metadata[key]
    write_bundle(path, metadata, tensors)
    network = read("n", path)
    rows = normal_rows(path, 40)
    found = emulated_without_promises(unit, path, rows, tmp_path)
    x = (rows - network.mean) * network.inverse_scale
    assert np.array_equal(found, fast.scores(network, rows).view(np.uint32))
    kept = x @ network.encoder[0].weight.T + network.encoder[0].bias
    assert (np.abs(kept[kept != 0]) < 2.0**-126).any()  # some are denormal where nothing flushes


def emulated_without_promises(
    build: Path, path: Path, rows: np.ndarray, folder: Path
) -> np.ndarray:
    """`emulated` of a file that has no conformance rows yet: they are the rows themselves."""
    metadata, tensors = read_bundle(path)
    scores = fast.scores(read("n", path), rows[:4])
    names = {"rows": "rows", "scores": {"reconstruction": "s"}, "flags": {"reconstruction": "f"}}
    more = {"rows": rows[:4], "s": scores, "f": np.zeros(4, np.uint8)}
    write_bundle(path, {**metadata, "conformance": names}, {**tensors, **more})
    return emulated(build, path, rows, folder)


def test_a_file_whose_promises_are_far_off_is_refused(
    unit: Path, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    path = make_bundle([19, 12, 5])
    metadata, tensors = read_bundle(path)
    tensors["conformance.scores.reconstruction"][6] *= np.float32(1.5)
    write_bundle(path, metadata, tensors)
    with pytest.raises(AssertionError, match="conformance row 6"):
        emulated(unit, path, normal_rows(path, 4), tmp_path)


# the definition in NumPy


def test_the_dot_product_adds_the_second_pair_first_and_rounds_twice() -> None:
    x = np.array([[1.0, 2.0**-24]], np.float32)
    w = np.array([[1.0, 1.0]], np.float32)
    total = np.array([1.0], np.float32)
    # 1 + 2^-24 rounds to 1, and 1 + 1 is 2; once rounded, 2 + 2^-24 is 2 as well.
    assert fast.dot(x, w, total) == 2.0
    # The other way about a half of the last place would be lost twice.
    x = np.array([[-1.0, 2.0**-24]], np.float32)
    assert fast.dot(x, w, total) == 0.0
    x = np.array([[2.0**-24, -1.0]], np.float32)
    assert fast.dot(x, w, total) == np.float32(2.0**-24)


def test_denormals_are_0_before_and_after() -> None:
    tiny = np.float32(2.0**-127)
    one, zero = np.ones((1, 2), np.float32), np.zeros(1, np.float32)
    assert fast.dot(np.full((1, 2), tiny), one, zero) == 0.0
    assert fast.dot(one, np.full((1, 2), -tiny), np.array([tiny])) == 0.0
    small = np.array([[2.0**-70, 0]], np.float32)
    assert fast.dot(small, small, zero) == 0.0  # 2^-140
    # The product alone is no result: it counts in full where the sum is large enough.
    expected = np.float32(2.0**-126 + 2.0**-140)
    assert fast.dot(small, small, np.array([2.0**-126], np.float32)) == expected


def test_both_ways_of_computing_a_layer_agree(make_bundle: MakeBundle) -> None:
    network = read("n", make_bundle([21, 10, 4]))
    x = normal_rows(network.path, 30)
    layer = network.encoder[0]
    usual = fast._products(x, layer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "_never_denormal", lambda *_: False)
        assert np.array_equal(usual, fast._products(x, layer))


def test_what_the_definition_does_not_know_is_refused(make_bundle: MakeBundle) -> None:
    path = make_bundle([5, 4, 2], activation="tanh")
    with pytest.raises(Unsupported, match="only dense layers with relu or identity"):
        fast.scores(read("n", path), normal_rows(path, 3))


# machines without it, and what does not go together


@pytest.mark.skipif(_core.why_not_fast() is None, reason="this machine has fast mode")
def test_a_machine_without_it_says_why(make_bundle: MakeBundle) -> None:
    path = make_bundle([5, 4, 2])
    assert vaelocity.load(path).isa != "avx512_bf16"
    with pytest.raises(BundleError, match=f"fast: {_core.why_not_fast()}"):
        vaelocity.load(path, fast=True)


def test_fast_mode_chooses_its_instruction_set_itself(make_bundle: MakeBundle) -> None:
    path = make_bundle([5, 4, 2])
    with pytest.raises(BundleError, match='fast: it chooses the instruction set itself, and "gen'):
        vaelocity.load(path, fast=True, isa="generic")
    with pytest.raises(ValueError, match="fast: backend 'cuda' takes none, got True"):
        vaelocity.load(path, backend="cuda", fast=True)  # type: ignore[call-overload]


# what it costs


def test_costs_count_what_differs(make_bundle: MakeBundle) -> None:
    path = make_bundle([12, 9, 3], seed=5)
    normal, anomalous = normal_rows(path, 20000), 1.3 * normal_rows(path, 500)[:, ::-1]
    network = read("n", path)
    found = rounding.costs(network, normal, np.ascontiguousarray(anomalous), fpr=0.1)
    names = [each["name"].split(" (")[0] for each in found]
    assert names == ["float32", "bfloat16 weights", "fast"]
    assert found[0]["by_float32"] == found[0]["by_own"] == [0, 0]
    for each in found[1:]:
        assert 0 < abs(each["auc_difference"]) < 0.01
        assert 0 < sum(each["by_float32"]) < 100
    with pytest.raises(ValueError, match="less than one above the cut"):
        rounding.costs(network, normal[:5], normal[:5])


def test_the_area_is_the_reports(make_bundle: MakeBundle) -> None:
    pytest.importorskip("scipy")
    from vaelocity.report.metrics import auc

    scores = np.random.default_rng(0).integers(0, 40, 300).astype(np.float32)
    expected = auc(scores[:200], scores[200:]).value
    assert rounding._auc(scores, 200) == pytest.approx(expected, rel=1e-12)
