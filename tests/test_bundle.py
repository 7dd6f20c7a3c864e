"""The .vael file: what is written can be read, and what was damaged says how, in Python and C++."""

from __future__ import annotations

import copy
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaelocity
from vaelocity import BundleError, _core
from vaelocity.bundle import bundle_bytes, parse_bundle, read_bundle, write_atomically, write_bundle

MakeBundle = Callable[..., Path]
Metadata = dict[str, Any]
Tensors = dict[str, np.ndarray]

READERS: dict[str, Callable[[bytes], object]] = {
    "python": parse_bundle,
    "c++": lambda data: _core.Model.from_bytes(data, verify=False),
}
CODES = {"float32": "F32", "float64": "F64", "int64": "I64", "uint8": "U8"}


def sealed(metadata: object, tensors: Tensors, **entries: object) -> bytes:
    """A file with a right checksum around any content, as the format says; nothing is checked.

    entries: further lines of the header, or others instead of a tensor's own.
    """
    header: dict[str, Any] = {
        "__metadata__": {"checksum": "sha256:" + "0" * 64, "vaelocity": json.dumps(metadata)}
    }
    data = b""
    for name, array in tensors.items():
        bounds = [len(data), len(data) + array.nbytes]
        dtype = CODES[str(array.dtype)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": bounds}
        data += array.tobytes()
    text = json.dumps({**header, **entries}, separators=(",", ":")).encode()
    whole = len(text).to_bytes(8, "little") + text + data
    digest = hashlib.sha256(whole).hexdigest()
    return whole.replace(b"sha256:" + b"0" * 64, f"sha256:{digest}".encode(), 1)


@pytest.fixture(params=["point", "gaussian"])
def content(make_bundle: MakeBundle, request: pytest.FixtureRequest) -> tuple[Metadata, Tensors]:
    return read_bundle(make_bundle([5, 4, 2], gaussian=request.param == "gaussian"))


def error_of(read: Callable[[bytes], object], data: bytes) -> str:
    with pytest.raises(BundleError) as caught:
        read(data)
    return str(caught.value)


# writing and reading back


def test_everything_comes_back(content: tuple[Metadata, Tensors], tmp_path: Path) -> None:
    metadata, tensors = content
    path = tmp_path / "again.vael"
    # A transposed view lies in memory in another order than it is written in.
    turned = {name: np.asfortranarray(array) for name, array in tensors.items()}
    write_bundle(path, metadata, turned)
    found, arrays = read_bundle(path)
    assert found == metadata
    assert arrays.keys() == tensors.keys()
    for name, array in tensors.items():
        assert arrays[name].dtype == array.dtype
        assert np.array_equal(arrays[name], array, equal_nan=array.dtype == np.float32)
    assert vaelocity.load(path).metadata == metadata
    assert [entry.name for entry in tmp_path.iterdir() if entry.suffix != ".vael"] == []


def test_the_same_content_gives_the_same_bytes(content: tuple[Metadata, Tensors]) -> None:
    metadata, tensors = content
    # safetensors keeps its metadata in a table of random order: once would prove nothing.
    assert len({bundle_bytes(metadata, tensors) for _ in range(20)}) == 1
    backwards = dict(reversed(tensors.items()))
    assert bundle_bytes(metadata, backwards) == bundle_bytes(metadata, tensors)


def test_the_format_is_what_it_is_said_to_be(content: tuple[Metadata, Tensors]) -> None:
    """A file made from the description alone, in any order of tensors, is read by both."""
    metadata, tensors = content
    data = sealed(metadata, tensors)
    assert parse_bundle(data)[0] == metadata
    model = _core.Model.from_bytes(data)
    assert json.loads(model.metadata) == metadata
    zeroed = data.replace(model.checksum.encode(), b"0" * 64, 1)
    assert hashlib.sha256(zeroed).hexdigest() == model.checksum


def test_what_is_no_json_or_no_tensor_is_refused(content: tuple[Metadata, Tensors]) -> None:
    metadata, tensors = content
    with pytest.raises(ValueError, match="JSON"):
        bundle_bytes({**metadata, "provenance": {"loss": float("nan")}}, tensors)
    with pytest.raises(TypeError, match="tensors: more is int32, expected float32 or uint8"):
        bundle_bytes(metadata, {**tensors, "more": np.zeros(3, np.int32)})


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "m.vael"
    write_atomically(path, b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if fails == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_bundle_that_does_not_fit_together_leaves_the_old_file(
    content: tuple[Metadata, Tensors], tmp_path: Path
) -> None:
    metadata, tensors = content
    path = tmp_path / "m.vael"
    write_bundle(path, metadata, tensors)
    before = path.read_bytes()
    del tensors["encoder.0.bias"]
    with pytest.raises(BundleError, match=r"tensor encoder\.0\.bias is missing"):
        write_bundle(path, metadata, tensors)
    assert path.read_bytes() == before


# damage

DAMAGE = ("checksum mismatch: ", "truncated: ", "not a .vael file: ")


def test_a_flipped_bit_is_found_wherever_it_is(make_bundle: MakeBundle) -> None:
    data = make_bundle([5, 4, 2], gaussian=True).read_bytes()
    positions = np.random.default_rng(0).choice(8 * len(data), 1000, replace=False)
    for position in positions.tolist():
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        for reader, read in READERS.items():
            said = error_of(read, bytes(flipped))
            assert said.startswith(DAMAGE), (reader, position, said)


@pytest.mark.parametrize("reader", READERS)
def test_a_truncated_file_is_found_wherever_it_ends(make_bundle: MakeBundle, reader: str) -> None:
    data = make_bundle([5, 4, 2]).read_bytes()
    lengths = [*range(0, len(data), 13), len(data) - 1]
    for length in lengths:
        said = error_of(READERS[reader], data[:length])
        expected = "truncated: " if length > 10 else f"not a .vael file: only {length} bytes"
        assert said.startswith(expected), (length, said)


@pytest.mark.parametrize("reader", READERS)
def test_bytes_behind_the_end_are_found(make_bundle: MakeBundle, reader: str) -> None:
    data = make_bundle([5, 4, 2]).read_bytes()
    assert error_of(READERS[reader], data + b"\0").startswith("checksum mismatch")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a .vael file: only 0 bytes"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "does not begin like a safetensors file"),
        (b"score,label\n" * 50, "does not begin like a safetensors file"),
        (b"\x02" + bytes(7) + b"{}", "no checksum in its header"),
        (b"\x80\x04\x95\x10\x00\x00\x00\x00{}" + bytes(90), "truncated"),
    ],
)
def test_no_bundle_at_all(data: bytes, said: str, reader: str) -> None:
    assert said in error_of(READERS[reader], data)


@pytest.mark.parametrize("reader", READERS)
def test_a_safetensors_file_of_someone_else(reader: str) -> None:
    from safetensors.numpy import save

    plain = save({"weight": np.zeros((3, 3), np.float32)}, {"format": "pt"})
    assert "no checksum in its header" in error_of(READERS[reader], plain)
    empty = {"__metadata__": {"checksum": "sha256:" + "0" * 64}}
    assert "without vaelocity's metadata" in error_of(READERS[reader], sealed(0, {}, **empty))


def test_errors_name_the_file_and_what_the_system_says(tmp_path: Path) -> None:
    from vaelocity import models

    path = tmp_path / "broken.vael"
    path.write_bytes(b"no bundle at all")
    for load in (vaelocity.load, models.load, read_bundle):
        with pytest.raises(BundleError, match=r"broken\.vael: not a \.vael file: "):
            load(path)
        with pytest.raises(IsADirectoryError):
            load(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"none\.vael"):
            load(tmp_path / "none.vael")
    with pytest.raises(BundleError, match="cannot read the file: Is a directory"):
        _core.Model.from_file(str(tmp_path))


# files that are whole and wrong


def change(metadata: Metadata, path: str, value: object) -> Metadata:
    """A copy with the value at a path such as encoder/0/op replaced; ... removes it."""
    metadata = copy.deepcopy(metadata)
    *parents, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    at: Any = metadata
    for key in parents:
        at = at[key]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return metadata


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("format", 5, "written in format 5, this vaelocity reads up to format 4: upgrade"),
        ("format", 2**63 + 7, "written in format 9223372036854775815, this vaelocity reads up to"),
        ("format", "1", 'not a JSON object with an integer "format"'),
        ("format", ..., 'not a JSON object with an integer "format"'),
        ("preprocess/0/op", "whiten", "preprocess.0: no step"),
        ("preprocess", [], 'preprocess: expected one step "standardize"'),
        ("encoder/0/op", "mixture", "encoder.0: unknown step 'mixture'"),
        ("decoder/1/activation", "swishish", "decoder.1: unknown activation 'swishish'"),
        ("encoder/1/weight", "nowhere", "tensor nowhere is missing"),
        ("encoder/0/bias", ..., "bias"),
        ("encoder", [], "encoder: ends "),
        ("encoder", {"a": {"op": "dense"}}, "encoder: expected a list of steps"),
        ("decoder", ..., "decoder"),
        ("latent/kind", "round", "latent: unknown kind 'round'"),
        ("latent/size", 3, "expected"),
        ("latent/size", 0, "latent"),
        ("score/kind", "loudness", "score: unknown kind 'loudness'"),
        ("score/loss", "hinge", "score: unknown loss 'hinge'"),
        ("features", [], "features: "),
        ("features", "abcde", "features: expected a list of strings"),
        ("features/3", 3, "features: expected a list of strings"),
        ("score/beta", "1", "score: expected a finite number as beta, got "),
        ("score/beta", 1e300, "score: expected a finite number as beta, got "),
        ("features", ["a", "b"], "tensor preprocess.0.mean: got "),
        ("conformance/rows", "nowhere", "tensor nowhere is missing"),
    ],
)
def test_a_description_that_is_wrong(
    content: tuple[Metadata, Tensors], reader: str, path: str, value: object, said: str
) -> None:
    metadata, tensors = content
    found = error_of(READERS[reader], sealed(change(metadata, path, value), tensors))
    assert said.replace('"', "'") in found.replace('"', "'")


@pytest.mark.parametrize("reader", READERS)
def test_tensors_that_are_wrong(content: tuple[Metadata, Tensors], reader: str) -> None:
    metadata, tensors = content
    read = READERS[reader]
    weight = tensors["encoder.0.weight"]
    for other, said in (
        (weight.T.copy(), "[5, 4], expected"),
        (weight.ravel(), "[20], expected"),
        (weight.astype(np.float64), "64[4, 5], expected"),
        (np.zeros((4, 5), np.uint8), "8[4, 5], expected"),
    ):
        found = error_of(read, sealed(metadata, {**tensors, "encoder.0.weight": other}))
        assert found.startswith("tensor encoder.0.weight: got ")
        assert said in found
    zero = {**tensors, "preprocess.0.scale": np.zeros(5, np.float32)}
    assert "scale" in error_of(read, sealed(metadata, zero))
    zero["preprocess.0.scale"] = np.full(5, 1e-39, np.float32)  # its inverse is infinite
    assert "scale" in error_of(read, sealed(metadata, zero))
    zero = {**tensors, "preprocess.0.mean": np.full(5, np.nan, np.float32)}
    assert "mean" in error_of(read, sealed(metadata, zero))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 40]},
        {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]},
        {"dtype": "F32", "shape": [1 << 62, 4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]},
        {"dtype": "Q7", "shape": [4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4]},
        {"shape": "four", "dtype": 4, "data_offsets": {}},
        17,
    ],
)
def test_a_table_of_tensors_that_lies(
    content: tuple[Metadata, Tensors], reader: str, entry: object
) -> None:
    metadata, tensors = content
    data = sealed(metadata, tensors, **{"encoder.0.bias": entry})
    assert error_of(READERS[reader], data).startswith(("tensor", "truncated"))


def places(value: object, path: str = "") -> Iterator[str]:
    """The path of every value inside."""
    items: list[tuple[Any, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, inner in items:
        yield f"{path}{key}"
        yield from places(inner, f"{path}{key}/")


def test_no_value_of_the_description_is_trusted(content: tuple[Metadata, Tensors]) -> None:
    """Whatever stands where, both readers read the file or both refuse it, and never crash."""
    metadata, tensors = content
    # C++ does not read these: nothing that it scores depends on them. See test_working_points.
    metadata = {k: v for k, v in metadata.items() if k not in ("identity", "thresholds")}
    odd: list[object] = [..., None, True, -1, 10**30, 1e300, 0.5, "", "x", [], {}, [[]], [1] * 5]
    refused = 0
    for path in places(metadata):
        for value in odd:
            data = sealed(change(metadata, path, value), tensors)
            said = {reader: _refusal(read, data) for reader, read in READERS.items()}
            refused += said["c++"] is not None
            # C++ looks only at the conformance rows of the kind it is asked for.
            if not path.startswith("conformance"):
                assert (said["python"] is None) == (said["c++"] is None), (path, value, said)
    assert refused > 100


def _refusal(read: Callable[[bytes], object], data: bytes) -> str | None:
    try:
        read(data)
    except BundleError as error:
        return str(error)
    return None
