"""IDX files, plain or gzipped: the format that MNIST and its like come in."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from vaelocity.data.numpy_files import LABEL
from vaelocity.data.source import AnyArray, ArraySource, DataError, Options, Source, index_names

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def open_idx(path: Path, options: Options) -> Source:
    """Rows [n, ...], an image of h x w pixels being h * w features x0_0 ... in C order.

    The labels of *images-idx3-ubyte are taken from *labels-idx1-ubyte beside it, where that is.
    """
    array = read_idx(path)
    if array.ndim < 2:
        raise DataError(
            f"{path}: it has shape {array.shape}, which is labels; "
            f"expected the rows they belong to, [n, ...]"
        )
    source = ArraySource(
        path=path, names=index_names(array.shape[1:]), n_rows=len(array), array=array
    )
    beside = path.with_name(
        path.name.replace("images", "labels").replace(f"idx{array.ndim}", "idx1")
    )
    if beside != path and beside.exists():
        labels = read_idx(beside)
        if labels.shape != (len(array),):
            raise DataError(
                f"{beside}: labels of shape {labels.shape} for the {len(array)} rows of {path}"
            )
        source.columns, source.extras, source.label = {LABEL: labels}, [LABEL], LABEL
    return source


def read_idx(path: Path) -> AnyArray:
    """The array of the file: two zero bytes, the type, the number of dimensions, the dimensions as
    big-endian int32, the values (yann.lecun.com/exdb/mnist). Raises DataError if it is none."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise DataError(f"{path}: it does not begin as an IDX file does: {content[:4].hex()}")
    kind, n_dimensions = np.dtype(_TYPES[content[2]]), content[3]
    start = 4 + 4 * n_dimensions
    if len(content) < start:
        raise DataError(f"{path}: it ends within its header of {start} bytes")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", n_dimensions, 4))
    expected = start + int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if len(content) != expected:
        raise DataError(f"{path}: {shape} needs {expected} bytes, but it has {len(content)}")
    return np.frombuffer(content, kind, offset=start).reshape(shape)
