"""`vaelocity fit` with preprocessing, and what comes after it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_columns import NAMES, events

pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")

import vaelocity
from vaelocity.bundle import read_bundle
from vaelocity.cli import main

pytestmark = pytest.mark.usefixtures("one_torch_thread")

TINY = ("--latent", "2", "--hidden", "16", "--epochs", "3", "--batch-size", "256")
STEPS = (
    "--clip", "eta=-3:3", "--clip", "njets=:12", "--wrap", "phi", "--log1p", "pt,pt2",
    "--mask-zeros", "pt2", "--flag-missing", "met", "--impute", "njets=2",
)  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "events.parquet"
    columns = dict(zip(NAMES, events(20_000).T, strict=True))
    pq.write_table(pa.table(columns), path)
    return path


def test_fit_puts_the_steps_into_the_file(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = tmp_path / "m.vael", tmp_path / "scores.parquet"
    assert main(["fit", str(data), "-o", str(model), *TINY, *STEPS, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows"]["dropped"] == 0
    assert report["plan"]["preprocess"]["clip"] == {"eta": [-3, 3], "njets": [None, 12]}
    assert report["threshold"]["n"] == 2000
    metadata, _ = read_bundle(model)
    assert metadata["preprocess"][:-1] == [
        {"op": "missing", "flag": [4], "impute": [2], "values": [2]},
        {"op": "mask_zeros", "columns": [3]},
        {"op": "clip", "columns": [2, 5], "low": [None, -3], "high": [12, 3]},
        {"op": "wrap", "columns": [1]},
        {"op": "log1p", "columns": [0, 3]},
    ]
    assert main(["verify", str(model)]) == 0
    capsys.readouterr()
    scoring = ["score", str(model), str(data), "-o", str(out), "--json", "--fail-on", "flagged"]
    assert main(scoring) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["flagged"] == {"nan_or_inf": 0, "saturated": 0}
    found = pq.read_table(out).to_pydict()
    rows = events(20_000)
    lost = ~np.isfinite(rows[:, [2, 4]]).all(axis=1)
    assert np.array_equal(found["flags"], np.where(lost, 4, 0))
    assert report["missing"] == lost.sum()
    assert np.array_equal(np.float32(found["score"]), vaelocity.load(model).score(rows))
    capsys.readouterr()
    assert main(["inspect", str(model)]) == 0
    assert "log1p" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--clip", "eta"), "--clip eta: expected COLUMN=LOW:HIGH"),
        (("--clip", "eta=a:3"), "--clip eta=a:3: 'a' is no number"),
        (("--impute", "met"), "--impute met: expected COLUMN=VALUE"),
        (("--impute", "met=x"), "--impute met=x: 'x' is no number"),
        (("--wrap", "psi"), "wrap: no column 'psi'"),
        (("--flag-missing", "met"), "rows hold a NaN or an infinity"),
        (
            (
                "--mask-zeros",
                "pt2",
                "--model",
                "sparse",
                "--impute",
                "met=0",
                "--impute",
                "njets=0",
            ),
            "mask_zeros, flag: not for a SparseAutoencoder",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    data: Path, tmp_path: Path, options: tuple[str, ...], said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    impute = () if "rows hold" in said else ("--drop-nan",)
    assert main(["fit", str(data), "-o", str(tmp_path / "m.vael"), *TINY, *options, *impute]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "m.vael").exists()
