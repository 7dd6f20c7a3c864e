"""`vaelocity fit`: what it trains on, what is in the file, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import pyarrow as pa
import pyarrow.parquet as pq
from cli_runs import NAMES, TINY, Run, error_of, events

import vaelocity

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_fit_warns_of_a_collapsed_posterior(run: Run, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.vael"
    ran = run(
        "fit", folder / "normal.parquet", "-o", path, *TINY, "--model", "vae", "--beta", "1000"
    )
    assert ran.code == 0, ran.err
    assert "warning: the posterior collapsed" in ran.err
    assert path.exists()


def test_event_numbers_are_told_of_and_left_out(run: Run, tmp_path: Path) -> None:
    """Files of events have numbers beside the features, in order or not; a count is a feature."""
    rows = events(2000, seed=3)
    columns = dict(zip(NAMES, rows.T, strict=True))
    rising, mixed = np.arange(2000), np.random.default_rng(0).permutation(2000) + 10**6
    count = np.random.default_rng(1).poisson(3, 2000)
    table = pa.table({"event": rising, **columns, "lumi": mixed, "jets": count})
    data, path = tmp_path / "numbered.parquet", tmp_path / "m.vael"
    pq.write_table(table, data)
    ran = run("fit", data, "-o", path, *TINY)
    assert ran.code == 0, ran.err
    told = [line for line in ran.err.splitlines() if "as event numbers are" in line]
    assert [line.removeprefix("warning: ").partition(":")[0] for line in told] == ["event", "lumi"]
    assert "--exclude event leaves it out" in told[0]
    ran = run("fit", data, "-o", path, *TINY, "--exclude", "event, lumi")
    assert (ran.code, "as event numbers are" in ran.err) == (0, False)
    assert vaelocity.load(path).feature_names == [*NAMES, "jets"]
    ran = run("fit", data, "-o", path, *TINY, "--exclude", "lumi", "--features", "lumi,f1,f0")
    assert vaelocity.load(path).feature_names == ["f1", "f0"]
    said = error_of(run("fit", data, "-o", path, *TINY, "--exclude", "evnt"))
    assert "--exclude evnt: expected columns of the data, such as event, f0" in said


def test_fit_stores_a_threshold_from_rows_it_did_not_train_on(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.vael"
    ran = run("fit", folder / "normal.parquet", "-o", path, *TINY, "--json", "--fpr", "0.02")
    assert ran.code == 0, ran.err
    found = ran.json
    assert found["rows"] == {
        "training": 8000, "stopping": 1000, "threshold": 1000, "others": 0, "dropped": 0,
    }  # fmt: skip
    scorer = vaelocity.load(path)
    assert found["fingerprint"] == scorer.fingerprint
    assert found["features"] == scorer.feature_names == NAMES
    (stored,) = scorer.thresholds.values()
    assert stored.value == found["threshold"]["value"]
    assert stored.n == 1000
    low, high = stored.interval
    assert low <= 0.02 <= high
    fresh = scorer.score(events(20000, seed=9)) > stored.value
    assert 0.005 < fresh.mean() < 0.05


def test_fit_stores_no_threshold_that_the_held_out_rows_cannot_bear(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.vael"
    args = ("fit", folder / "mixed.parquet", "-o", path, *TINY, "--label", "process", "--json")
    ran = run(*args)
    assert ran.code == 0
    assert ran.json["threshold"] is None
    assert "220 held-out rows are too few for a threshold" in ran.err
    assert vaelocity.load(path).thresholds == {}
    assert "needs 1,000 held-out rows" in error_of(run(*args, "--fpr", "0.01"))
    assert run(*args, "--fpr", "0.05").json["threshold"]["fpr"] == 0.05


def test_fit_twice_with_a_seed_gives_the_same_weights(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    paths = [tmp_path / "a.vael", tmp_path / "b.vael", tmp_path / "c.vael"]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        assert run("fit", folder / "normal.parquet", "-o", path, *TINY, "--seed", seed).code == 0
    rows = events(100, seed=3)
    a, b, c = (vaelocity.load(path).score(rows) for path in paths)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_fit_trains_on_the_normal_class_and_never_on_the_label(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.vael"
    args = ("fit", folder / "mixed.parquet", "-o", path, *TINY, "--label", "process", "--json")
    ran = run(*args, "--normal", "background")
    assert ran.code == 0, ran.err
    found = ran.json
    assert sum(found["rows"][part] for part in ("training", "stopping", "threshold")) == 2000
    assert found["rows"]["others"] == 200
    assert found["features"] == NAMES
    assert found["auc"]["signal"]["value"] > 0.9
    error = error_of(run(*args, "--normal", "signl"))
    assert "signl" in error
    assert "background, signal" in error


def test_fit_takes_the_features_it_is_given(run: Run, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.vael"
    data = folder / "normal.parquet"
    ran = run("fit", data, "-o", path, *TINY, "--latent", "1", "--features", "f3, f1,f0")
    assert ran.code == 0, ran.err
    assert vaelocity.load(path).feature_names == ["f3", "f1", "f0"]


def test_fit_summary_says_what_was_done(run: Run, folder: Path, tmp_path: Path) -> None:
    ran = run("fit", folder / "normal.parquet", "-o", tmp_path / "m.vael", *TINY)
    assert ran.code == 0
    assert "8,000 to train, 1,000 to stop by, 1,000 for the threshold" in ran.out
    assert "95 % interval" in ran.out
    assert "m.vael" in ran.out
    assert ran.err == ""


def test_fit_refuses_rows_with_nan_unless_told_to_drop_them(run: Run, tmp_path: Path) -> None:
    rows = events(1000, seed=4)
    rows[[7, 70], 2] = np.nan
    rows[700, 1] = np.inf
    np.save(tmp_path / "nan.npy", rows)
    path = tmp_path / "m.vael"
    args = ("fit", tmp_path / "nan.npy", "-o", path, *TINY, "--fpr", "0")
    error = error_of(run(*args))
    assert "3 of 1,000 rows" in error
    assert "row 7 " in error
    assert "--drop-nan" in error
    assert not path.exists()
    ran = run(*args, "--drop-nan", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["rows"]["dropped"] == 3


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--features", "f0,f9"), "f9"),
        (("--label", "proces"), "did you mean 'process'"),
        (("--fpr", "0.001"), "--fpr 0.001 needs 10,000 held-out rows"),
        (("--validation", "1"), "--validation 1"),
        (("--hidden", "64,x"), "--hidden 64,x"),
        (("--activation", "relux"), "relux"),
        (("--score-kind", "kl"), "--score-kind kl"),
        (("--beta", "2"), "--beta is for --model vae"),
        (("--level", "2"), "--level is for --model denoising"),
        (("--penalty", "2"), "--penalty is for --model sparse"),
        (("--model", "sparse", "--batch-norm"), "--batch-norm is not for --model sparse"),
        (("--normal", "background"), "--normal needs --label"),
        (("--epochs", "0"), "--epochs"),
        (("--lr", "-1"), "lr"),
        (("--lr", "1e30", "--batch-size", "1000"), "training diverged in epoch 1"),
    ],
)
def test_fit_says_in_one_line_what_is_wrong(
    run: Run, folder: Path, tmp_path: Path, extra: tuple[str, ...], said: str
) -> None:
    data = folder / ("mixed.parquet" if "--label" in extra else "normal.parquet")
    error = error_of(run("fit", data, "-o", tmp_path / "m.vael", *extra))
    assert said in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (("--model", "denoising", "--level", "0.5"), "DenoisingAutoencoder"),
        (("--model", "sparse", "--penalty", "0.02"), "SparseAutoencoder"),
    ],
)
def test_fit_trains_other_families(
    run: Run, folder: Path, tmp_path: Path, options: tuple[str, ...], name: str
) -> None:
    path = tmp_path / "m.vael"
    ran = run("fit", folder / "normal.parquet", "-o", path, *TINY, *options)
    assert ran.code == 0, ran.err
    module = vaelocity.load(path).metadata["module"]
    assert module["class"] == name
    assert module["args"]["level" if "level" in options[2] else "penalty"] == float(options[3])
