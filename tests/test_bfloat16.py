"""bfloat16 weights: half the bytes in the file, and the scores of float32 weights of the same
values, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_bundle import READERS, error_of, sealed

import vaelocity
from vaelocity import BundleError, _core
from vaelocity.bfloat16 import from_bits, rounded, to_bits
from vaelocity.bundle import bundle_bytes, parse_bundle, read_bundle, write_bundle
from vaelocity.narrowing import narrow, narrowed
from vaelocity.threshold import Threshold

MakeBundle = Callable[..., Path]


def header_of(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + size])
    return header


# the numbers


def test_every_bfloat16_is_its_own_rounding() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    values = from_bits(bits)
    number = ~np.isnan(values)
    assert np.array_equal(to_bits(values)[number], bits[number])
    assert np.isnan(rounded(values[~number])).all()


def test_rounding_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    bits = np.random.default_rng(0).integers(0, 1 << 32, 1 << 16, dtype=np.uint32)
    halves = np.arange(1 << 12, dtype=np.uint32) << 16 | 0x8000  # ties
    values = np.concatenate([bits, halves, halves - 1, halves + 1]).view(np.float32)
    values = values[~np.isnan(values)]
    expected = torch.from_numpy(values).bfloat16().float().numpy()
    assert np.array_equal(rounded(values).view(np.uint32), expected.view(np.uint32))


# the scores


def test_scores_are_those_of_float32_weights_of_the_same_values(
    narrow_pairs: list[tuple[Path, Path]],
) -> None:
    for narrow_path, rounded_path in narrow_pairs:
        for kind in vaelocity.load(narrow_path).kinds:
            for isa in _core.available_isas():
                mine = vaelocity.load(narrow_path, kind=kind, isa=isa)
                theirs = vaelocity.load(rounded_path, kind=kind, isa=isa)
                rows = np.random.default_rng(1).normal(size=(75, mine.n_features))
                rows = rows.astype(np.float32)
                expected = theirs.score(rows).view(np.uint32)
                assert np.array_equal(mine.score(rows).view(np.uint32), expected)
                for n in (1, 2, 3, 4, 7, 33):
                    found = mine.score(rows[:n]).view(np.uint32)
                    assert np.array_equal(found, expected[:n]), (narrow_path.name, kind, isa, n)


def test_a_model_and_its_float32_twin_have_one_identity(
    narrow_pairs: list[tuple[Path, Path]],
) -> None:
    for narrow_path, rounded_path in narrow_pairs:
        mine, theirs = vaelocity.load(narrow_path), vaelocity.load(rounded_path)
        assert mine.identity == theirs.identity
        assert mine.fingerprint != theirs.fingerprint
        mine.verify()


# the file


def test_weights_take_half_the_bytes_and_the_rest_is_as_before(make_bundle: MakeBundle) -> None:
    path = make_bundle([40, 64, 8])
    before = path.read_bytes()
    metadata, tensors = parse_bundle(before)
    data = bundle_bytes(*narrowed(metadata, tensors))
    header = header_of(data)
    assert json.loads(header["__metadata__"]["vaelocity"])["format"] == 4
    for name, entry in header.items():
        if name != "__metadata__":
            weight = name.endswith("weight")
            assert entry["dtype"] == ("BF16" if weight else header_of(before)[name]["dtype"])
    saved = 2 * sum(array.size for name, array in tensors.items() if name.endswith("weight"))
    assert abs(len(before) - len(data) - saved) < 200  # what the header says is longer


def test_everything_comes_back(make_bundle: MakeBundle, tmp_path: Path) -> None:
    narrow(make_bundle([9, 7, 2], gaussian=True), tmp_path / "n.vael")
    metadata, tensors = read_bundle(tmp_path / "n.vael")
    write_bundle(tmp_path / "again.vael", metadata, tensors)
    assert (tmp_path / "again.vael").read_bytes() == (tmp_path / "n.vael").read_bytes()
    again = bundle_bytes(*narrowed(metadata, tensors))
    assert again == (tmp_path / "n.vael").read_bytes()


def test_a_file_that_needs_no_newer_format_has_none(make_bundle: MakeBundle) -> None:
    assert read_bundle(make_bundle([5, 3]))[0]["format"] == 1


def test_thresholds_and_histograms_of_the_other_model_are_left_out(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    path = make_bundle([6, 4, 2])
    metadata, tensors = read_bundle(path)
    scorer = vaelocity.load(path)
    rows = np.random.default_rng(0).normal(size=(1000, 6)).astype(np.float32)
    metadata["thresholds"] = [scorer.threshold_for(rows, fpr=0.1).to_dict()]
    write_bundle(path, metadata, tensors)
    made = narrow(path, tmp_path / "n.vael")
    assert made.thresholds == {}
    assert made.identity != scorer.identity
    with pytest.raises(ValueError, match="model"):
        made.predict(rows, Threshold.from_dict(metadata["thresholds"][0] | {"model": "0" * 64}))


@pytest.mark.parametrize("reader", READERS)
def test_readers_refuse_weights_that_are_not_what_the_file_says(
    make_bundle: MakeBundle, reader: str
) -> None:
    metadata, tensors = narrowed(*read_bundle(make_bundle([5, 4, 2])))
    metadata["format"] = 4
    said = error_of(READERS[reader], sealed(metadata, tensors))
    assert "tensor encoder.0.weight: got F32" in said
    said = error_of(READERS[reader], sealed({**metadata, "weights": "int4"}, tensors))
    assert 'weights: expected "bfloat16", got' in said
    data = bundle_bytes(metadata, tensors)
    halves = {n: e for n, e in header_of(data).items() if e.get("dtype") == "BF16"}
    assert set(halves) == {f"{part}.{i}.weight" for part in ("encoder", "decoder") for i in (0, 1)}
    plain = {name: value for name, value in metadata.items() if name != "weights"}
    body = np.frombuffer(data[8 + int.from_bytes(data[:8], "little") :], np.uint8)
    entries = {n: e for n, e in header_of(data).items() if n != "__metadata__"}
    first = min(entries, key=lambda name: entries[name]["data_offsets"][0])
    said = error_of(READERS[reader], sealed(plain, {first: body}, **entries))
    assert "coder.0.weight: got BF16" in said


def test_a_writer_refuses_weights_that_are_no_bfloat16(make_bundle: MakeBundle) -> None:
    metadata, tensors = read_bundle(make_bundle([5, 4, 2]))
    with pytest.raises(BundleError, match=r"tensor encoder\.0\.weight: a weight is no bfloat16"):
        bundle_bytes({**metadata, "weights": "bfloat16"}, tensors)


def test_a_weight_beyond_bfloat16_is_refused(make_bundle: MakeBundle, tmp_path: Path) -> None:
    path = make_bundle([5, 4, 2])
    metadata, tensors = read_bundle(path)
    tensors["encoder.0.weight"][0, 0] = np.finfo(np.float32).max
    metadata.pop("identity")
    write_bundle(path, metadata, tensors)
    with pytest.raises(ValueError, match=r"tensor encoder\.0\.weight: a weight is beyond"):
        narrow(path, tmp_path / "n.vael")
    assert not (tmp_path / "n.vael").exists()


# where models are made and used


def test_a_trained_model_is_saved_with_bfloat16_weights(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from vaelocity import models

    rows = np.random.default_rng(0).normal(size=(256, 12)).astype(np.float32)
    model = models.Autoencoder(12, latent=3, hidden=(8,))
    model.fit(rows, epochs=1, progress=False)
    model.save(tmp_path / "whole.vael")
    model.save(tmp_path / "narrow.vael", weights="bfloat16")
    expected = narrow(tmp_path / "whole.vael", tmp_path / "expected.vael")
    scorer = vaelocity.load(tmp_path / "narrow.vael")
    assert scorer.identity == expected.identity
    assert np.array_equal(scorer.score(rows), expected.score(rows))
    thresholds = [scorer.threshold_for(rows, fpr=0.1)]
    model.save(tmp_path / "narrow.vael", thresholds=thresholds, weights="bfloat16")
    assert list(vaelocity.load(tmp_path / "narrow.vael").thresholds) == [thresholds[0].name]
    with pytest.raises(ValueError, match=r"for model|another model"):
        model.save(tmp_path / "whole.vael", thresholds=thresholds)
    again = models.load(tmp_path / "narrow.vael").score(rows)
    np.testing.assert_allclose(again, scorer.score(rows), rtol=1e-4)
    with pytest.raises(ValueError, match="weights: expected float32 or bfloat16, got 'int8'"):
        model.save(tmp_path / "no.vael", weights="int8")


def test_an_export_widens_the_weights(narrow_pairs: list[tuple[Path, Path]]) -> None:
    from vaelocity.export import cpp_header

    texts = []
    for path in narrow_pairs[0]:
        checksum = vaelocity.load(path).fingerprint
        texts.append(
            cpp_header(path, namespace="same").replace(checksum[:12], "").replace(checksum[12:], "")
        )
    assert texts[0] == texts[1]
