"""`vaelocity score`: its files, its flags, its thresholds, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
from cli_runs import NAMES, Run, error_of, events

import vaelocity

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def read_back(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npy":
        records = np.load(path)
        return {name: records[name] for name in records.dtype.names}
    table = {
        ".parquet": lambda: pq.read_table(path),
        ".csv": lambda: pyarrow.csv.read_csv(path),
        ".arrow": lambda: pyarrow.feather.read_table(path),
    }[path.suffix]()
    return {name: table[name].to_numpy() for name in table.column_names}


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".arrow", ".npy"])
@pytest.mark.parametrize("batch", [333, 65536])
def test_score_writes_what_the_scorer_says(
    run: Run, folder: Path, bundle: Path, tmp_path: Path, suffix: str, batch: int
) -> None:
    path = tmp_path / f"scores{suffix}"
    ran = run(
        "score", bundle, folder / "mixed.parquet", "-o", path, "--batch-size", batch,
        "--label", "process",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    found = read_back(path)
    assert list(found) == ["row", "score", "flags", "anomalous", "label"]
    scorer = vaelocity.load(bundle)
    table = pq.read_table(folder / "mixed.parquet")
    rows = np.column_stack([table[name].to_numpy() for name in NAMES])
    np.testing.assert_array_equal(found["row"], np.arange(2200))
    np.testing.assert_array_equal(found["score"].astype(np.float32), scorer.score(rows))
    np.testing.assert_array_equal(found["anomalous"].astype(bool), scorer.predict(rows))
    np.testing.assert_array_equal(found["flags"], 0)
    assert found["label"].tolist() == table["process"].to_pylist()


def test_score_streams_csv_to_stdout(run: Run, folder: Path, bundle: Path) -> None:
    ran = run("score", bundle, folder / "mixed.parquet", "-o", "-", "--batch-size", "1000")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0] == '"row","score","flags","anomalous"'
    assert len(lines) == 2201
    assert "2,200" in ran.err


def test_score_finds_columns_by_name_and_nameless_ones_by_place(
    run: Run, folder: Path, bundle: Path, tmp_path: Path
) -> None:
    rows = events(50, seed=5)
    columns = dict(zip(NAMES, rows.T, strict=True))
    turned = {"extra": np.zeros(50), **dict(reversed(columns.items()))}
    pq.write_table(pa.table(turned), tmp_path / "turned.parquet")
    np.save(tmp_path / "bare.npy", rows)
    expected = vaelocity.load(bundle).score(rows)
    for name in ("turned.parquet", "bare.npy"):
        assert run("score", bundle, tmp_path / name, "-o", tmp_path / "s.npy").code == 0
        np.testing.assert_array_equal(np.load(tmp_path / "s.npy")["score"], expected)
    np.save(tmp_path / "bare.npy", rows[:, :5])
    error = error_of(run("score", bundle, tmp_path / "bare.npy", "-o", tmp_path / "t.npy"))
    assert "6 features, the data have 5 columns" in error
    del turned["f2"]
    pq.write_table(pa.table(turned), tmp_path / "turned.parquet")
    error = error_of(run("score", bundle, tmp_path / "turned.parquet", "-o", tmp_path / "t.npy"))
    assert "'f2'" in error
    assert not (tmp_path / "t.npy").exists()


def test_rows_with_nan_are_flagged_counted_and_never_lost(
    run: Run, bundle: Path, tmp_path: Path
) -> None:
    rows = events(100, seed=6)
    rows[3, 1], rows[4, 0], rows[5] = np.nan, -np.inf, 3e38
    np.save(tmp_path / "rows.npy", rows)
    args = ("score", bundle, tmp_path / "rows.npy", "-o", tmp_path / "s.npy")
    ran = run(*args, "--json", "--top", "4")
    assert ran.code == 0
    assert ran.json["flagged"] == {"nan_or_inf": 2, "saturated": 1}
    assert "3 of 100 rows are flagged" in ran.err
    found = np.load(tmp_path / "s.npy")
    np.testing.assert_array_equal(np.flatnonzero(found["flags"]), [3, 4, 5])
    np.testing.assert_array_equal(found["flags"], vaelocity.load(bundle).flags(rows))
    assert found["anomalous"][[3, 4, 5]].all()
    # NaN scores are reported as flagged, not ranked; the saturated one is the highest.
    assert ran.json["top"][0]["row"] == 5
    assert not {3, 4} & {event["row"] for event in ran.json["top"]}
    assert run(*args, "--fail-on", "flagged").code == 1
    assert run(*args, "--fail-on", "anomalous").code == 1
    np.save(tmp_path / "rows.npy", rows[10:20])
    assert run(*args, "--fail-on", "flagged").code == 0
    assert run(*args, "--fail-on", "anomalous", "--threshold", "1e30").code == 0


def test_top_lists_the_highest_scores_with_their_largest_features(
    run: Run, folder: Path, bundle: Path, tmp_path: Path
) -> None:
    rows = events(5000, seed=7)
    rows[1234, 4] += 50
    np.save(tmp_path / "rows.npy", rows)
    args = ("score", bundle, tmp_path / "rows.npy", "-o", tmp_path / "s.npy", "--top", "7")
    found = run(*args, "--batch-size", "100", "--json").json["top"]
    score = np.load(tmp_path / "s.npy")["score"]
    assert [event["row"] for event in found] == np.argsort(-score, kind="stable")[:7].tolist()
    assert [event["score"] for event in found] == pytest.approx(np.sort(score)[::-1][:7].tolist())
    assert found[0]["row"] == 1234
    parts = vaelocity.load(bundle).score_features(rows[1234:1235])[0]
    assert found[0]["features"][0]["name"] == NAMES[int(parts.argmax())]
    assert found[0]["features"][0]["share"] == pytest.approx(parts.max() / parts.sum(), rel=1e-5)
    shown = run(*args)
    assert "1234" in shown.out
    assert "share of the reconstruction error" in shown.out


def test_threshold_and_kind_can_be_chosen(
    run: Run, folder: Path, vae: Path, bundle: Path, tmp_path: Path
) -> None:
    data, path = folder / "normal.parquet", tmp_path / "s.npy"
    ran = run("score", vae, data, "-o", path, "--json")
    assert (ran.json["kind"], ran.json["threshold_name"]) == ("kl", "fpr=0.01")
    by_name = run("score", vae, data, "-o", path, "--json", "--threshold", "fpr=0.01").json
    assert by_name["anomalous"] == ran.json["anomalous"]
    scores = np.load(path)["score"]
    value = float(np.median(scores))
    by_value = run("score", vae, data, "-o", path, "--json", "--threshold", value).json
    assert by_value["anomalous"] == (scores > np.float32(value)).sum()
    other = run("score", vae, data, "-o", path, "--json", "--kind", "mu2", "--top", "2")
    assert other.json["kind"] == "mu2"
    assert other.json["anomalous"] is None
    assert len(other.json["top"]) == 2
    assert "no threshold for mu2" in other.err
    assert np.load(path).dtype.names == ("row", "score", "flags")
    rows = np.column_stack([pq.read_table(data)[name].to_numpy() for name in NAMES])
    np.testing.assert_array_equal(
        np.load(path)["score"], vaelocity.load(vae, kind="mu2").score(rows)
    )
    assert "kl" in error_of(run("score", bundle, data, "-o", path, "--kind", "kl"))
    missing = run("score", vae, path, "-o", path, "--kind", "mu2")  # no threshold, either: one line
    assert "6 of the model's 6 features are missing" in error_of(missing)
    assert "fpr=0.01" in error_of(run("score", vae, data, "-o", path, "--threshold", "half"))


def test_score_says_in_one_line_what_is_wrong(
    run: Run, folder: Path, bundle: Path, tmp_path: Path
) -> None:
    data = folder / "normal.parquet"
    assert ".parquet" in error_of(run("score", bundle, data, "-o", tmp_path / "s.txt"))
    assert "choose one" in error_of(run("score", bundle, data, "-o", "-", "--json"))
    assert "'-o'" in error_of(run("score", bundle, data))
    header = ",".join(NAMES) + "\n"
    (tmp_path / "empty.csv").write_text(header)
    error_of(run("score", bundle, tmp_path / "empty.csv", "-o", tmp_path / "s.csv"))
    (tmp_path / "bad.csv").write_text(
        ",".join(NAMES) + "\n" + "1,2,3,4,5,6\n" * 9 + "1,2,x,4,5,6\n"
    )
    error_of(run("score", bundle, tmp_path / "bad.csv", "-o", tmp_path / "s.csv"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.csv", "empty.csv"]
