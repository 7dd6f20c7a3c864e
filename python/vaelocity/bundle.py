"""The .vael file: tensors and JSON in one safetensors file, with a checksum over every byte.

`__metadata__` of the safetensors header holds two strings. "vaelocity" is JSON: format version,
features, steps, score, identity, thresholds, score histograms, drift reference, conformance rows,
provenance. "checksum" is "sha256:" and 64 hexadecimal digits: SHA-256 of the whole file with those
digits read as zeros.

The C++ reader of the same file is csrc/src/score/bundle_file.cpp; this module needs NumPy and
safetensors, not torch. What the JSON must say about the tensors is checked in
`vaelocity.structure`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity._core import BundleError
from vaelocity.bfloat16 import from_bits, to_bits
from vaelocity.identity import identity_of, is_frozen, owned
from vaelocity.preprocess import only_standardized
from vaelocity.steps import narrow_weights, only_dense
from vaelocity.structure import check_structure

__all__ = [
    "FORMAT",
    "BundleError",
    "bundle_bytes",
    "parse_bundle",
    "read_bundle",
    "write_atomically",
    "write_bundle",
]

FORMAT = 4
"""The newest format. A file is written in the oldest one that can hold it, byte for byte as before:
4 has bfloat16 weights; 3 has steps of `preprocess` beside standardize, losses beside the squared
error, latent spaces that are an embedding or an output, and the step bound; 2 has steps other than
dense."""

DTYPES = ("float32", "uint8", "uint32", "uint64", "float64", "int64")
"""Of tensors: float32 and uint8 are what scoring reads, the others hold histograms and the state
of models without a frozen scorer. Where the JSON says `"weights": "bfloat16"`, the weights of dense
steps and convolutions are float32 arrays of such values here, and bfloat16 in the file."""

_CODES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16, "BOOL": np.bool_,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8,
}  # fmt: skip
"""Of safetensors; bfloat16 as its bits."""

Array = npt.NDArray[Any]

_LENGTH_BYTES = 8  # safetensors: the header's length, unsigned little-endian
_ALIGNMENT = 8  # safetensors: the header is padded with spaces to a multiple of this
_MARK = b'"checksum":"sha256:'
_ZEROS = b"0" * 64


def write_bundle(
    path: str | os.PathLike[str], metadata: Mapping[str, Any], tensors: Mapping[str, Array]
) -> None:
    """Write a .vael file; a reader sees the old file or the whole new one, never a part.

    Args:
        path: where to; an existing file is replaced.
        metadata: the JSON; "format" and "identity" are filled in, and the identity of thresholds
            that have none. NaN and inf are not JSON.
        tensors: arrays of one of the dtypes in DTYPES and of any memory order; the names the JSON
            mentions.

    Raises:
        BundleError: metadata and tensors do not fit together; nothing is written.
        TypeError: a tensor of another dtype.
        ValueError: metadata that are not JSON.
    """
    write_atomically(path, bundle_bytes(metadata, tensors))


def bundle_bytes(metadata: Mapping[str, Any], tensors: Mapping[str, Array]) -> bytes:
    """The file that `write_bundle` writes. The same content gives the same bytes."""
    from safetensors.numpy import save

    for name, array in tensors.items():
        if array.dtype.name not in DTYPES:
            raise TypeError(f"tensors: {name} is {array.dtype}, expected {' or '.join(DTYPES)}")
    metadata = {**metadata}
    metadata.pop("identity", None)
    check_structure(metadata, tensors)
    metadata = {**metadata, "format": _format_of(metadata)}
    metadata = owned(metadata, identity_of(metadata, tensors))
    check_structure(metadata, tensors)
    entries = {
        "checksum": f"sha256:{_ZEROS.decode()}",
        "vaelocity": json.dumps(metadata, allow_nan=False),
    }
    # safetensors copies memory as it lies, so a transposed view would be written wrong.
    contiguous = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    narrow = narrow_weights(metadata)
    contiguous |= {name: to_bits(contiguous[name]) for name in narrow}
    zeroed = _canonical(save(contiguous, entries), narrow)
    at = zeroed.index(_MARK) + len(_MARK)
    digest = hashlib.sha256(zeroed).hexdigest().encode()
    return zeroed[:at] + digest + zeroed[at + len(digest) :]


def _format_of(metadata: Mapping[str, Any]) -> int:
    """The oldest format that can hold it."""
    if "weights" in metadata:
        return 4
    loss = metadata.get("score", {}).get("loss", "squared_error")
    latent = metadata.get("latent", {}).get("kind", "point")
    plain = loss == "squared_error" and latent in ("point", "gaussian")
    steps = [*metadata.get("encoder", ()), *metadata.get("decoder", ())]
    bounded = any(step["op"] == "bound" for step in steps)
    if bounded or not (plain and only_standardized(metadata)):
        return 3
    return 1 if only_dense(metadata) else 2


def _canonical(data: bytes, narrow: Sequence[str]) -> bytes:
    """The same file with its metadata entries sorted: safetensors writes them in random order. The
    tensors `narrow` were given as bits, and are called what they are."""
    size = int.from_bytes(data[:_LENGTH_BYTES], "little")
    header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + size])
    for name in narrow:
        header[name]["dtype"] = "BF16"
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text + data[_LENGTH_BYTES + size :]


def read_bundle(
    path: str | os.PathLike[str], frozen: bool = True
) -> tuple[dict[str, Any], dict[str, Array]]:
    """The metadata and the tensors of a .vael file, everything verified but the scores.

    Args:
        path: the file.
        frozen: refuse a model without a frozen scorer; False reads it like any other.

    Raises:
        OSError: the file cannot be read.
        BundleError: it is no .vael file, truncated, damaged (checksum), newer than this version,
            its metadata and tensors do not fit together, or it has no frozen scorer; the message
            says which.
    """
    data = Path(path).read_bytes()
    try:
        return parse_bundle(data, frozen)
    except BundleError as error:
        raise BundleError(f"{os.fspath(path)}: {error}") from None


def parse_bundle(data: bytes, frozen: bool = True) -> tuple[dict[str, Any], dict[str, Array]]:
    """`read_bundle` of a file that is in memory already."""
    from safetensors import SafetensorError, deserialize

    header = _verified_header(data)
    metadata = _metadata(header)
    try:
        tensors = {name: _array(entry) for name, entry in deserialize(data)}  # type: ignore[no-untyped-call]
    except (SafetensorError, KeyError, ValueError) as error:
        raise BundleError(f"tensor table: {error}") from None
    check_structure(metadata, tensors)
    _check_narrow(header, metadata)
    if frozen and not is_frozen(metadata):
        raise BundleError(
            f"a {metadata['module']['class']} model, which has no frozen scorer: load it with "
            "vaelocity.models.load"
        )
    return metadata, tensors


def _array(entry: Mapping[str, Any]) -> Array:
    """A tensor of the table; of bfloat16 the float32 of the same values."""
    array = np.frombuffer(entry["data"], _CODES[entry["dtype"]]).reshape(entry["shape"])
    return from_bits(array) if entry["dtype"] == "BF16" else array.copy()


def _check_narrow(header: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Raise BundleError unless just those weights are bfloat16 of which the JSON says so."""
    narrow = narrow_weights(metadata)
    others = [name for name in header if name not in ("__metadata__", *narrow)]
    # The steps first, in their order: that of the header is safetensors' own.
    for name in (*narrow, *others):
        dtype = header[name]["dtype"]
        if (dtype == "BF16") != (name in narrow):
            wanted = "BF16" if name in narrow else "another dtype"
            raise BundleError(f"tensor {name}: got {dtype}, expected {wanted}")


def _verified_header(data: bytes) -> Any:
    """The safetensors header, after the checksum over all of `data` has been found right."""
    begin = _LENGTH_BYTES
    if len(data) < begin + 2:
        raise BundleError(f"not a .vael file: only {len(data)} bytes")
    if data[begin : begin + 1] != b"{":
        raise BundleError("not a .vael file: it does not begin like a safetensors file")
    size = int.from_bytes(data[:begin], "little")
    if size > len(data) - begin:
        raise BundleError(
            f"truncated: the header alone promises {size} bytes, the file has {len(data)}"
        )
    end = begin + size
    try:
        header = json.loads(data[begin:end])
    except (ValueError, RecursionError):
        header = None  # damaged, which the checksum below says, or no .vael file
    promised = _promised_size(header)
    if promised > len(data) - end:
        raise BundleError(
            f"truncated: {promised} bytes of tensors promised, {len(data) - end} present"
        )
    _verify_checksum(data, begin, end)
    if header is None:
        raise BundleError("not a .vael file: its header is not JSON")
    return header


def _promised_size(header: Any) -> int:
    """Where the last tensor ends, as far as the header can be read; 0 if it cannot."""
    if not isinstance(header, dict):
        return 0
    ends = [0]
    for name, entry in header.items():
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        if name != "__metadata__" and isinstance(offsets, list) and offsets:
            ends.append(offsets[-1] if isinstance(offsets[-1], int) else 0)
    return max(ends)


def _verify_checksum(data: bytes, begin: int, end: int) -> None:
    mark = data.find(_MARK, begin, end)
    at = mark + len(_MARK)
    if mark < 0 or at + len(_ZEROS) > end:
        raise BundleError("not a .vael file: no checksum in its header")
    digest = hashlib.sha256(data[:at])
    digest.update(_ZEROS)
    digest.update(memoryview(data)[at + len(_ZEROS) :])
    if digest.hexdigest().encode() != data[at : at + len(_ZEROS)]:
        raise BundleError("checksum mismatch: the file was changed or damaged after it was written")


def _metadata(header: Any) -> dict[str, Any]:
    entries = header.get("__metadata__") if isinstance(header, dict) else None
    text = entries.get("vaelocity") if isinstance(entries, dict) else None
    if not isinstance(text, str):
        raise BundleError("not a .vael file: a safetensors file without vaelocity's metadata")
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        metadata = None
    version = metadata.get("format") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(version, int) or isinstance(version, bool):
        raise BundleError('metadata: not a JSON object with an integer "format"')
    if version > FORMAT:
        raise BundleError(
            f"written in format {version}, this vaelocity reads up to format {FORMAT}: "
            "upgrade vaelocity"
        )
    return metadata


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` beside `path` and move it there: no reader sees half of it, nor does a crash
    leave half of it. The file's permissions follow the umask, as those of any new file."""
    target = Path(path)
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
