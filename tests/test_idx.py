"""IDX files: MNIST as it is published, every type of value, labels beside images, damage."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from vaelocity.data import DataError, read

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx(values: np.ndarray, kind: str = "u1") -> bytes:
    """`values` as the content of an IDX file."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, CODES[kind], values.ndim, *values.shape)
    return header + values.astype(kind).tobytes()


def test_mnist(data_dir: Path) -> None:
    table = read(data_dir / "mnist" / "t10k-images-idx3-ubyte.gz", n_rows=500)
    assert table.rows.shape == (500, 784)
    assert table.feature_names[29] == "x1_1"
    assert table.labels is not None
    assert table.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # The first test digit is a seven: its upper half has a stroke across, its corners nothing.
    image = table.rows[0].reshape(28, 28)
    assert image.max() == 255
    assert (image[7, 7:12] > 0).all()
    assert image[0].sum() == 0


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("zipped", [False, True])
def test_types(tmp_path: Path, kind: str, zipped: bool) -> None:
    values = np.arange(24).reshape(4, 2, 3)
    content = idx(values, kind)
    path = tmp_path / ("a.idx.gz" if zipped else "a.idx")
    path.write_bytes(gzip.compress(content) if zipped else content)
    table = read(path)
    assert table.feature_names == ["x0_0", "x0_1", "x0_2", "x1_0", "x1_1", "x1_2"]
    np.testing.assert_array_equal(table.rows, values.reshape(4, 6))
    assert table.labels is None


def test_labels_beside_images(tmp_path: Path) -> None:
    images = tmp_path / "few-images-idx3-ubyte"
    images.write_bytes(idx(np.arange(12).reshape(3, 2, 2)))
    labels = tmp_path / "few-labels-idx1-ubyte"
    labels.write_bytes(idx(np.array([4, 0, 9])))
    table = read(images)
    assert table.labels is not None
    assert table.labels.tolist() == [4, 0, 9]
    labels.write_bytes(idx(np.array([4, 0])))
    with pytest.raises(DataError, match=r"labels-idx1-ubyte: labels of shape \(2,\) for the 3 row"):
        read(images)


def test_damage(tmp_path: Path) -> None:
    content = idx(np.arange(12).reshape(3, 4))
    path = tmp_path / "a.idx"
    for damaged, said in (
        (content[:-1], r"\(3, 4\) needs 24 bytes, but it has 23"),
        (content + b"\0", r"needs 24 bytes, but it has 25"),
        (content[:9], "ends within its header of 12 bytes"),
        (b"\0\0\x07" + content[3:], "does not begin as an IDX file does: 00000702"),
        (b"", "is empty"),
        (gzip.compress(content)[:-9], "cannot be read as idx"),
        (idx(np.arange(3)), r"shape \(3,\), which is labels"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=said):
            read(path)
