"""`vaelocity fixed`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vaelocity
from vaelocity.cli import main
from vaelocity.fixed import Format, quantise


@pytest.fixture
def files(make_bundle: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    rows = np.random.default_rng(0).normal(size=(400, 11)).astype(np.float32)
    rows[5, 2] = np.nan
    np.save(tmp_path / "rows.npy", rows)
    return make_bundle([11, 9, 4], True, "relu", 5), tmp_path / "rows.npy"


def test_figures_are_those_of_the_library(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = files
    sums = "ap_fixed<12,5,AP_RND_CONV,AP_WRAP>"
    options = ["--format", "8,4,RND_CONV,SAT", "--sums", sums, "--score", "14,9", "--rate", "0.1"]
    assert main(["fixed", str(model), str(data), *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = np.delete(np.load(data), 5, axis=0)
    network = quantise(
        model, Format(8, 4, "RND_CONV", "SAT"), sums=Format.parse(sums),
        score=Format(14, 9, signed=False),
    )  # fmt: skip
    exact, coarse = vaelocity.load(model).score(rows).astype(float), network.score(rows)
    cut = np.quantile(exact, 0.9)
    assert (found["rows"], found["not_finite"], found["cut"]) == (400, 1, cut)
    assert found["above"] == (exact > cut).sum()
    assert found["lost"] + found["gained"] == ((exact > cut) != (coarse > cut)).sum() > 0
    assert found["difference"]["largest"] == np.abs(exact - coarse).max()
    by_name = {entry["name"]: entry for entry in found["sums"]}
    for interval in network.intervals:
        entry = by_name[interval.name]
        assert entry["integer_bits"] == interval.integer >= entry["integer_bits_in_data_ranges"]
        assert entry["overflows"] == interval.overflows >= entry["overflows_in_data_ranges"]
    assert by_name["score"]["overflows"]


def test_the_table(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    model, data = files
    assert main(["fixed", str(model), str(data), "--format", "16,6", "--kind", "mu2"]) == 0
    shown = capsys.readouterr().out
    names = [line.split("ap_")[0].strip() for line in shown.splitlines() if "ap_" in line]
    assert names == ["encoder.0 sum", "encoder.0", "encoder.1 sum", "encoder.1", "score"]
    assert "wraps" in shown
    assert "flipped" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "16"], "format: expected"),
        (["--format", "40,6"], "values: expected at most 32 bits"),
        (["--format", "16,6", "--kind", "kl"], "kind: expected reconstruction or mu2"),
    ],
)
def test_bad_options(
    options: list[str],
    message: str,
    files: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["fixed", *map(str, files), *options]) == 2
    assert message in capsys.readouterr().err
