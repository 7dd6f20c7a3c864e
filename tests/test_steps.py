"""Steps other than dense: the scorer's bits are those of NumPy, and bad steps are named."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import image_networks
import numpy as np
import pytest
import step_reference
from image_networks import Draft

import vaelocity
from vaelocity import _core
from vaelocity.bundle import bundle_bytes, parse_bundle, read_bundle, write_bundle
from vaelocity.frozen_layers import ACTIVATIONS, layer_of

ISAS = _core.available_isas()
FINITE = {
    "mnist": image_networks.mnist,
    "cicada": image_networks.cicada,
    "mixed": image_networks.mixed,
    "relu": lambda: image_networks.mixed("relu", gaussian=False),
    "wide": image_networks.wide,
}


def bits(scores: np.ndarray) -> np.ndarray:
    return scores.view(np.uint32)


def rows_of(n: int, d: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize("name", FINITE)
def test_the_bits_are_those_of_numpy(name: str) -> None:
    """One row by one row, and in a batch: two kernels, each on every instruction set."""
    metadata, tensors = FINITE[name]().content()
    data = bundle_bytes(metadata, tensors)
    rows = rows_of(5, len(metadata["features"]))
    expected = bits(step_reference.reconstruction_bits(metadata, tensors, rows))
    for isa in ISAS:
        model = _core.Model.from_bytes(data, isa=isa, verify=False)
        one_by_one = [model.score(rows[i : i + 1])[0] for i in range(len(rows))]
        assert np.array_equal(bits(np.array(one_by_one)), expected), isa
        assert np.array_equal(bits(model.score(np.tile(rows, (7, 1)))), np.tile(expected, 7)), isa


@pytest.mark.parametrize("name", ["mnist", "cicada", "wide", "signal"])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_the_reference_agrees_with_one_written_otherwise(name: str, part: str) -> None:
    """Products of whole windows in float64 against sums tap by tap: a mistake in the reference
    could go unnoticed where the kernels make the same one. Both know convolutions and pools."""
    metadata, tensors = getattr(image_networks, name)().content()
    layers = [layer_of(step, tensors) for step in metadata[part]]
    width = len(metadata["features"]) if part == "encoder" else metadata["latent"]["size"]
    values = rows_of(4, width).astype(np.float64)
    exact = {key: lambda x, f=f: f(x, 0.01) for key, f in ACTIVATIONS.items()}
    found = step_reference.run(metadata[part], tensors, values, exact)
    for layer in layers:
        values = layer(values)
    np.testing.assert_allclose(found, values, rtol=1e-12, atol=1e-12)


def test_every_batch_size_position_and_layout(image_bundles: list[Path]) -> None:
    for path in image_bundles:
        for kind in vaelocity.load(path).kinds:
            expected = None
            for isa in ISAS:
                scorer = vaelocity.load(path, kind=kind, isa=isa)
                rows = rows_of(67, scorer.n_features)
                scores = bits(scorer.score(rows))
                expected = scores if expected is None else expected
                assert np.array_equal(scores, expected), (path, kind, isa)
                for n in (1, 2, 3, 4, 5, 11, 15, 16, 17, 31, 33, 48, 66):
                    assert np.array_equal(bits(scorer.score(rows[:n])), expected[:n]), (path, n)
                    assert np.array_equal(bits(scorer.score(rows[-n:])), expected[-n:]), (path, n)
                columns = [np.ascontiguousarray(column) for column in rows.T]
                assert np.array_equal(bits(scorer.score(columns)), expected), (path, "columns")
                assert np.array_equal(bits(scorer.score(rows, threads=3)), expected)


def test_scores_agree_with_float64(
    image_bundles: list[Path], exact_score: Callable[..., np.ndarray]
) -> None:
    for path in image_bundles:
        for kind in vaelocity.load(path).kinds:
            scorer = vaelocity.load(path, kind=kind)
            rows = rows_of(20, scorer.n_features)
            exact = exact_score(path, rows, kind)
            error = np.abs(scorer.score(rows) - exact) / (np.abs(exact) + np.abs(exact).mean())
            assert error.max() < 1e-5, (path, kind, error.max())


def test_a_nan_in_the_middle_is_not_pooled_away() -> None:
    """An infinity less an infinity, first or last in the window; the largest number of it is 0."""
    draft = Draft(4, 1)
    e = draft.encoder.shaped(1, 1, 4)
    e.conv(1, (1, 2)).pool("max_pool", (1, 3)).dense(1)
    draft.decoder.dense(4)
    metadata, tensors = draft.content()
    tensors["preprocess.0.mean"][:], tensors["preprocess.0.scale"][:] = 0, 1
    tensors["encoder.0.weight"][:] = [-1e38, 1e38]
    tensors["encoder.0.bias"][:] = 0
    rows = np.tile(np.float32([[1e30, 1e30, 0, 0], [0, 0, -1e30, -1e30]]), (20, 1))
    for isa in ISAS:
        model = _core.Model.from_bytes(bundle_bytes(metadata, tensors), isa=isa, verify=False)
        assert (model.flags(rows) == 2).all()
        assert [model.flags(rows[i : i + 1])[0] for i in range(2)] == [2, 2]
        assert model.flags(0 * rows).max() == 0


# ---- The file


def test_files_of_dense_steps_stay_in_format_1(make_bundle: Callable[..., Path]) -> None:
    assert read_bundle(make_bundle([5, 3]))[0]["format"] == 1
    assert parse_bundle(bundle_bytes(*image_networks.signal().content()))[0]["format"] == 2


def test_the_identity_knows_every_entry_of_a_step() -> None:
    metadata, tensors = image_networks.mixed().content()
    own = parse_bundle(bundle_bytes(metadata, tensors))[0]["identity"]
    other = copy.deepcopy(metadata)
    other["encoder"][7]["epsilon"] = 1e-3
    assert parse_bundle(bundle_bytes(other, tensors))[0]["identity"] != own
    assert parse_bundle(bundle_bytes(metadata, tensors))[0]["identity"] == own


def read_by_python(metadata: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    bundle_bytes(metadata, tensors)


def read_by_core(metadata: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaelocity.bundle.check_structure", lambda *_: None)
        data = bundle_bytes(metadata, tensors)
    _core.Model.from_bytes(data, verify=False)


@pytest.mark.parametrize("reader", [read_by_python, read_by_core])
@pytest.mark.parametrize(
    ("part", "number", "key", "value", "said"),
    [
        ("encoder", 0, "op", "median_pool", "encoder.0: unknown step .median_pool."),
        ("encoder", 0, "input", [2, 9, 6], r"encoder.0: an input \[2, ?9, ?6\] of a row 126 wide"),
        ("encoder", 0, "input", [2, 63], r"encoder.0: expected \[channels, height, width\]"),
        ("encoder", 0, "input", [2, 9, -7], "encoder.0: input: expected an integer from 1"),
        ("encoder", 0, "kernel", [3], "encoder.0: expected two integers as kernel"),
        ("encoder", 0, "kernel", [30, 2], "encoder.0: the window does not fit into an image 2 x 9"),
        ("encoder", 0, "padding", [2, 1], "encoder.0: padding must be at most half the kernel"),
        ("encoder", 0, "padding", [1, 0.5], "encoder.0: padding: expected an integer from 0"),
        ("encoder", 1, "stride", [0, 1], "encoder.1: stride: expected an integer from 1 to 1024"),
        ("encoder", 1, "stride", ..., "stride"),
        ("encoder", 1, "weight", "encoder.3.weight", "tensor encoder.3.weight: got "),
        ("encoder", 1, "bias", "encoder.3.bias", "tensor encoder.3.bias: got "),
        ("encoder", 5, "from", 4, "encoder.5: from: expected an integer from -1 to 3, got 4"),
        ("encoder", 5, "from", 0, "encoder.5: adds 72 values to 156"),
        ("encoder", 7, "epsilon", 0, "encoder.7: epsilon must be positive"),
        ("encoder", 7, "epsilon", "small", "epsilon"),
        ("encoder", 8, "groups", 5, "encoder.8: 5 groups do not divide 52 values"),
        ("decoder", 4, "output_padding", [3, 1], "decoder.4: output_padding must be less than"),
        ("decoder", 4, "activation", "loud", "decoder.4: unknown activation .loud."),
        ("decoder", 8, "weight", "decoder.0.weight", "tensor decoder.0.weight: got "),
    ],
)
def test_what_a_step_says_wrong_is_named(
    reader: Callable[..., None], part: str, number: int, key: str, value: object, said: str
) -> None:
    metadata, tensors = image_networks.mixed().content()
    reader(metadata, tensors)
    step = metadata[part][number]
    if value is ...:
        del step[key]
    else:
        step[key] = value
    with pytest.raises(vaelocity.BundleError, match=said):
        reader(metadata, tensors)


def test_a_window_with_too_many_products_to_list_is_refused() -> None:
    draft = Draft(250_000, 1)
    draft.encoder.shaped(1, 500, 500).pool(
        "max_pool", (300, 300), stride=[1, 1], padding=[150, 150]
    )
    draft.encoder.dense(1)
    draft.decoder.dense(250_000)
    with pytest.raises(vaelocity.BundleError, match=r"encoder\.0: \d+ products to list, at most"):
        _core.Model.from_bytes(bundle_bytes(*draft.content()), verify=False)


def refused_by_core(draft: Draft, said: str) -> None:
    with pytest.raises(vaelocity.BundleError, match=said):
        _core.Model.from_bytes(bundle_bytes(*draft.content()), verify=False)


@pytest.mark.parametrize("n", [70, 2050])
def test_values_that_would_fill_the_memory_are_refused(n: int) -> None:
    """Residual sums have no weights: a file of 21 MB asked for 275 GB, counted in ints."""
    draft = Draft(1, 1)
    e = draft.encoder.dense(1 << 20).layer_norm()
    for _ in range(n):
        e.residual(0)
    for i in range(n):
        e.residual(2 + i)
    e.dense(1)
    draft.decoder.dense(1)
    refused_by_core(draft, r"the network keeps \d+ values of a row at once, at most 67108864")


def test_lists_are_bounded_for_the_whole_network() -> None:
    draft = Draft(1, 1)
    e = draft.encoder.dense(1 << 20).shaped(1, 1 << 10, 1 << 10)
    for _ in range(17):
        e.pool("max_pool", (1, 1), stride=[1, 1])
    e.dense(1)
    draft.decoder.dense(1)
    refused_by_core(draft, r"encoder\.1\d: \d+ products to list, at most 16777216")


def test_what_cannot_take_the_steps_says_so(image_bundles: list[Path]) -> None:
    path = image_bundles[1]
    from vaelocity.cuda.plan import network

    with pytest.raises(vaelocity.BundleError, match="fused kernel of a GPU takes dense steps only"):
        network(*read_bundle(path))


def test_thresholds_are_stored_beside_any_step(image_bundles: list[Path], tmp_path: Path) -> None:
    metadata, tensors = read_bundle(image_bundles[1])
    write_bundle(tmp_path / "again.vael", metadata, tensors)
    assert (tmp_path / "again.vael").read_bytes() == image_bundles[1].read_bytes()


def test_inspect_shows_the_steps(
    image_bundles: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from vaelocity.cli import main

    assert main(["inspect", str(image_bundles[1]), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    widths = "126-72-120-60-156-156-156-52-52-52-3-21-21-21-21-612-720-30-90-126"
    assert found["network"] == widths
    assert main(["inspect", str(image_bundles[1])]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "encoder conv 2x9x4 to 5x6x4, window 3x3, stride 2x1 leaky_relu" in shown
    assert "encoder max_pool 5x6x4 to 5x3x4, window 2x3, stride 2x1 leaky_relu" in shown
    assert "decoder residual 21 to 21 leaky_relu" in shown
