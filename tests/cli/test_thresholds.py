"""The commands threshold, overlap, drift and faults, from the arguments to the files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
import pyarrow as pa
import pyarrow.parquet as pq
from cli_runs import Run

import vaelocity
from vaelocity.bundle import read_bundle, write_bundle
from vaelocity.bundle_parts import get_histogram, put_reference
from vaelocity.drift import Reference
from vaelocity.faults import rate_changes

NAMES = [f"f{j}" for j in range(5)]


def events(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)


def write(path: Path, rows: np.ndarray, names: list[str] = NAMES, **more: Any) -> Path:
    pq.write_table(pa.table({**dict(zip(names, rows.T, strict=True)), **more}), path)
    return path


@pytest.fixture
def model(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle([5, 8, 2], gaussian=True)


@pytest.fixture
def held(tmp_path: Path) -> Path:
    return write(tmp_path / "held.parquet", events(40_000, 1))


def test_a_rate_becomes_a_named_threshold_in_the_file(
    run: Run, model: Path, held: Path, tmp_path: Path
) -> None:
    output = tmp_path / "m2.vael"
    ran = run(
        "threshold", model, held, "--rate", "10 kHz", "--input-rate", "1 MHz",
        "--name", "tight", "-o", output, "--json", "--threads", "1",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    (found,) = ran.json["thresholds"]
    scorer = vaelocity.load(output)
    stored = scorer.thresholds["tight"]
    assert stored.to_dict() == found
    assert stored.model == scorer.identity == vaelocity.load(model).identity
    assert stored.input_rate == 1e6
    assert 9.8e3 <= (stored.rate or 0) <= 10e3
    accepted = np.count_nonzero(scorer.predict(events(40_000, 1), "tight"))
    assert accepted == stored.achieved * 40_000
    histogram = get_histogram(*read_bundle(output), "reconstruction")
    assert histogram == scorer.histogram(events(40_000, 1))
    assert vaelocity.load(model).thresholds == {}, "the first file is as it was"
    # Without DATA the histogram in the file answers.
    again = run("threshold", output, "--rate", "10 kHz", "--bunches", "89", "--json").json
    assert again["thresholds"][0]["achieved"] == pytest.approx(1e4 / (89 * 11245.6), rel=0.02)
    assert again["output"] is None
    brighter = run(
        "threshold", output, "--rate", "10 kHz", "--bunches", "89", "--luminosity", "2e34",
        "--sample-luminosity", "1.6e34", "--json",
    ).json["thresholds"][0]  # fmt: skip
    assert brighter["input_rate"] == pytest.approx(1.25 * 89 * 11245.6)
    assert brighter["achieved"] == pytest.approx(1e4 / (1.25 * 89 * 11245.6), rel=0.02)


def test_points_kinds_labels_and_weights(run: Run, model: Path, tmp_path: Path) -> None:
    rows = events(20_000, 2)
    label = np.where(np.arange(20_000) % 4 == 0, "signal", "background")
    weight = np.random.default_rng(0).random(20_000).astype(np.float32)
    data = write(tmp_path / "d.parquet", rows, process=label, w=weight)
    scorer = vaelocity.load(model, kind="kl")
    ran = run(
        "threshold", model, data, "--kind", "kl", "--point", "loose=5 kHz", "--point", "low=0.01",
        "--input-rate", "100 kHz", "--label", "process", "--normal", "background",
        "--weight", "w", "-o", model, "--no-histogram", "--json", "--batch-size", "999",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    normal = label == "background"
    scores = scorer.score(rows)
    for found, part in zip(ran.json["thresholds"], (0.05, 0.01), strict=True):
        above = weight[normal & (scores > np.float32(found["value"]))].sum(dtype=np.float64)
        achieved = above / weight[normal].sum(dtype=np.float64)
        assert found["achieved"] == pytest.approx(achieved, rel=1e-6)
        assert 0.97 * part < achieved <= part
        assert found["n"] == 15_000
    assert list(vaelocity.load(model, kind="kl").thresholds) == ["loose", "low"]
    assert "score_histograms" not in vaelocity.load(model).metadata


def test_score_and_inspect_take_the_named_threshold(
    run: Run, model: Path, held: Path, tmp_path: Path
) -> None:
    args = ("threshold", model, held, "-o", model, "--fpr")
    assert run(*args, "0.1", "--name", "loose").code == 0
    ran = run(*args, "0.01", "--name", "tight", "--default")
    assert ran.code == 0
    assert "tight" in ran.out
    assert f"saved  {model}" in ran.out
    assert ran.err == ""
    assert list(vaelocity.load(model).thresholds) == ["tight", "loose"]
    assert "loose" in run("inspect", model).out
    assert run("inspect", model, "--json").json["identity"] == vaelocity.load(model).identity
    assert run("verify", model).code == 0
    for name, part in (("tight", 0.01), ("loose", 0.1)):
        out = tmp_path / "s.parquet"
        ran = run("score", model, held, "-o", out, "--threshold", name, "--json")
        assert ran.json["anomalous"] == pytest.approx(part * 40_000, rel=0.02)
    assert run("score", model, held, "-o", out, "--json").json["threshold_name"] == "tight"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--fpr", "1e-9"], "needs at least 10000000000 held-out scores"),
        ([], "fpr, rate, contamination: expected one of them, got 0"),
        (["--rate", "1 kHz"], "rate: needs input_rate"),
        (["--rate", "1000", "--input-rate", "1 MHz"], "expected a number and one of mHz"),
        (["--fpr", "0.1", "--input-rate", "1 Hz", "--bunches", "3"], "both say how many events"),
        (["--fpr", "0.1", "--point", "a=0.1"], "--point and --fpr both say"),
        (["--fpr", "0.1", "--luminosity", "1"], "--sample-luminosity need --bunches"),
        (["--fpr", "0.1", "--bunches", "3", "--luminosity", "1"], "expected both or none"),
        (["--point", "a"], "expected NAME=VALUE"),
        (["--point", "a=1", "--point", "a=2"], "expected NAME=VALUE"),
        (["--point", "a=b"], "a: rate: needs input_rate"),
        (["--fpr", "0.1", "--normal", "x"], "--normal needs --label"),
        (["--fpr", "0.1", "-o", "/nowhere/m.vael"], "there is no folder"),
    ],
)
def test_what_cannot_be_is_one_line(
    run: Run, model: Path, held: Path, args: list[str], message: str
) -> None:
    before = model.read_bytes()
    ran = run("threshold", model, held, *args)
    assert ran.code == 2
    assert message in ran.err
    assert len(ran.err.splitlines()) == 1
    assert model.read_bytes() == before


def test_ties_and_missing_scores_are_told(run: Run, model: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "same.parquet", np.repeat(events(10, 0), 100, axis=0))
    ran = run("threshold", model, data, "--fpr", "0.15")
    assert ran.code == 0
    assert "0.1 accepted instead of 0.15, since 100 scores tie" in " ".join(ran.err.split())
    rows = events(1000, 0)
    rows[:50, 0] = np.nan
    data = write(tmp_path / "nan.parquet", rows)
    assert "50 of 1,000 scores are NaN" in run("threshold", model, data, "--fpr", "0.1").err
    counted = run("threshold", model, data, "--fpr", "0.1", "--count-not-finite", "--json")
    (found,) = counted.json["thresholds"]
    scores = vaelocity.load(model).score(rows)
    assert found["achieved"] == np.count_nonzero(~(scores <= np.float32(found["value"]))) / 1000
    assert 0.09 < found["achieved"] <= 0.1
    assert "no histogram of reconstruction" in run("threshold", model, "--fpr", "0.1").err


def test_the_command_needs_no_torch(model: Path, held: Path) -> None:
    code = (
        "import sys; from vaelocity.cli import main\n"
        f"assert main(['threshold', {str(model)!r}, {str(held)!r}, '--fpr', '0.01',"
        f" '-o', {str(model)!r}]) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert vaelocity.load(model).thresholds["fpr=0.01"].n == 40_000


# ---- overlap


def test_overlap_of_models_is_that_of_their_decisions(
    run: Run, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    rows = events(5000, 3)
    data = write(tmp_path / "d.parquet", rows)
    models = [make_bundle([5, 8, 2], seed=seed) for seed in range(3)]
    masks = {}
    for path in models:
        assert run("threshold", path, data, "--fpr", "0.1", "--name", "t", "-o", path).code == 0
        masks[path.stem] = vaelocity.load(path).predict(rows, "t")
    ran = run("overlap", *models, data, "--threshold", "t", "--input-rate", "1 kHz", "--json")
    assert ran.code == 0, ran.err
    found = ran.json
    assert found["events"] == 5000
    assert found["any"]["events"] == np.count_nonzero(np.any(list(masks.values()), axis=0))
    for name, mask in masks.items():
        others = np.any([m for other, m in masks.items() if other != name], axis=0)
        one = found["models"][name]
        assert one["accepted"]["events"] == np.count_nonzero(mask)
        assert one["pure"]["events"] == np.count_nonzero(mask & ~others)
        assert one["pure"]["rate"] == one["pure"]["events"] / 5000 * 1e3
    for pair in found["pairs"]:
        a, b = (masks[name] for name in pair["models"])
        assert pair["both"]["events"] == np.count_nonzero(a & b)
    table = run("overlap", *models, data)
    assert all(name in table.out for name in masks)
    assert "two or more files named .vael" in run("overlap", models[0], data).err
    assert "has none for kind" in run("overlap", make_bundle([5, 3]), *models, data).err


def test_overlap_of_models_with_other_features(
    run: Run, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    names = [f"f{j}" for j in range(4, -1, -1)] + ["f5"]
    rows = np.random.default_rng(0).normal(size=(2000, 6)).astype(np.float32)
    data = write(tmp_path / "d.parquet", rows, names)
    columns = dict(zip(names, rows.T, strict=True))
    paths = [make_bundle([3, 2]), make_bundle([6, 4, 2])]
    expected = []
    for path in paths:
        assert run("threshold", path, data, "--fpr", "0.2", "-o", path).code == 0
        scorer = vaelocity.load(path)
        own = np.column_stack([columns[name] for name in scorer.feature_names])
        expected.append(np.count_nonzero(scorer.predict(own)))
    found = run("overlap", *paths, data, "--json").json
    assert [one["accepted"]["events"] for one in found["models"].values()] == expected


# ---- drift and faults


def test_drift_finds_the_broken_channel(run: Run, model: Path, held: Path, tmp_path: Path) -> None:
    assert "holds no distributions" in run("drift", model, held).err
    metadata, tensors = read_bundle(model)
    put_reference(metadata, tensors, Reference.of(events(20_000, 0)))
    write_bundle(model, metadata, tensors)
    assert run("threshold", model, held, "--fpr", "0.01", "-o", model).code == 0
    same = run("drift", model, held, "--fail", "--json")
    assert same.code == 0
    assert {one["state"] for one in same.json["channels"]} == {"ok"}
    assert same.json["score"] == {"psi": 0.0, "ks": 0.0}
    rows = events(5000, 4)
    rows[:, 2] = 0
    rows[:, 3] = np.nan
    broken = write(tmp_path / "broken.parquet", rows)
    ran = run("drift", model, broken, "--fail", "--json")
    assert ran.code == 1
    states = {one["name"]: one["state"] for one in ran.json["channels"]}
    assert states == {"f0": "ok", "f1": "ok", "f2": "dead", "f3": "missing", "f4": "ok"}
    assert ran.json["channels"][3]["psi"] is None
    assert ran.json["score"] is None, "every score is NaN"
    rows[:, 3] = 0
    ran = run("drift", model, write(broken, rows))
    assert ran.code == 0
    assert "dead" in ran.out


def test_faults_are_those_of_the_library(run: Run, model: Path, held: Path) -> None:
    assert run("threshold", model, held, "--fpr", "0.01", "-o", model).code == 0
    ran = run("faults", model, held, "--rows", "1000", "--fault", "hot", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["events"] == 1000
    assert [one["feature"] for one in ran.json["effects"]] == NAMES
    scorer = vaelocity.load(model)
    rows = events(40_000, 1)[:1000]
    expected = rate_changes(scorer, rows, faults=("hot",))
    assert [one["accepted"] for one in ran.json["effects"]] == [e.accepted for e in expected]
    table = run("faults", model, held, "--rows", "500", "--input-rate", "1 MHz", "--show", "3")
    assert table.code == 0
    assert "Hz" in table.out
    assert (
        "--fault tired: expected one of dead" in run("faults", model, held, "--fault", "tired").err
    )
