"""Files as the source of a stream when they change on the way, and what the stream then says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")
pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
import pyarrow as pa
import pyarrow.parquet as pq
from stream_ends import D, rows_of, table_of

import vaelocity
from vaelocity.cli import main


def changing(folder: Path) -> tuple[np.ndarray, list[str]]:
    """Rows, and files of 100 of them each: as they should be, then with columns in another order,
    a feature in double precision, one more column, and then without a feature."""
    rows = rows_of(500)
    whole = table_of(rows)
    double = whole.column("f3").cast(pa.float64())
    forms = [
        whole,
        whole.select(whole.column_names[::-1]),
        whole.set_column(whole.column_names.index("f3"), "f3", double),
        whole.append_column("more", pa.array(["x"] * 500)),
        whole.drop_columns(["f2"]),
    ]
    paths = [str(folder / f"{i}.parquet") for i in range(5)]
    for i, (form, path) in enumerate(zip(forms, paths, strict=True)):
        pq.write_table(form.slice(100 * i, 100), path)
    return rows, paths


def sources(paths: list[str]) -> list[str]:
    return [text for path in paths for text in ("-s", path)]


def test_files_whose_columns_change_are_scored_where_they_can_be(
    bundle: Path, tmp_path: Path
) -> None:
    rows, paths = changing(tmp_path)
    out = f"{tmp_path}/out.parquet"
    args = ["stream", str(bundle), *sources(paths[:4]), "-t", out, "--pass", "event"]
    assert main(args) == 0
    table = pq.read_table(out)
    assert table["event"].to_pylist() == table_of(rows)["event"].to_pylist()[:400]
    np.testing.assert_array_equal(table["score"], vaelocity.load(bundle).score(rows[:400]))


@pytest.mark.parametrize("sink", ["folder", "file"])
def test_a_file_without_a_feature_ends_the_stream_and_it_says_where(
    bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], sink: str
) -> None:
    """A folder keeps what came before; one file would be half a file, and is not written."""
    rows, paths = changing(tmp_path)
    out = tmp_path / ("out" if sink == "folder" else "out.parquet")
    address = f"{out}/" if sink == "folder" else str(out)
    args = ["stream", str(bundle), *sources([*paths, paths[0]]), "-t", address, "--pass", "event"]
    assert main(args) == 2
    *warnings, last = capfd.readouterr().err.splitlines()
    assert last.startswith(f"vaelocity: error: features: {paths[4]} has no column 'f2'; did you")
    assert any(line.endswith("broke off after 400 events") for line in warnings), warnings
    unwritten = f"warning: {out}: not written, for it would not be complete"
    assert (unwritten in warnings) == (sink == "file")
    if sink == "file":
        assert not out.exists()
        return
    table = pq.read_table(out)
    np.testing.assert_array_equal(table["score"], vaelocity.load(bundle).score(rows[:400]))


def test_several_files_of_every_kind_come_in_their_order(
    scorer: vaelocity.Scorer, bundle: Path, tmp_path: Path
) -> None:
    h5py = pytest.importorskip("h5py", reason="needs the extra vaelocity[io]")
    uproot = pytest.importorskip("uproot", reason="needs the extra vaelocity[io]")
    rows = rows_of(600)
    for i in range(2):
        part = rows[300 * i : 300 * (i + 1)]
        columns = {f"f{j}": part[:, j] for j in range(D)}
        with h5py.File(tmp_path / f"{i}.h5", "w") as file:
            for name, column in columns.items():
                file[name] = column
        with uproot.recreate(tmp_path / f"{i}.root") as file:
            file["t"] = columns
        np.save(tmp_path / f"{i}.npy", part)
    for suffix in ("h5", "root", "npy"):
        out = f"{tmp_path}/{suffix}.parquet"
        assert main(["stream", str(bundle), "-s", f"{tmp_path}/*.{suffix}", "-t", out]) == 0
        np.testing.assert_array_equal(pq.read_table(out)["score"], scorer.score(rows), suffix)
