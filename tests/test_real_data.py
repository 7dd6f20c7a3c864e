"""The main job on real data, from the command line: fit, score, inspect, verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import pyarrow.parquet as pq

import vaelocity
from vaelocity.cli import main
from vaelocity.report.metrics import auc

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def run(capfd: pytest.CaptureFixture[str], *args: object) -> dict[str, Any]:
    """The JSON that a command prints."""
    capfd.readouterr()
    code = main([*map(str, args), "--json"])
    said = capfd.readouterr()
    assert code == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    return found


def squared_norm(path: Path, rows: np.ndarray) -> np.ndarray:
    """1/2 ||x||^2 in the model's own standardised space: what a collapsed model scores."""
    from vaelocity.bundle import read_bundle

    _, tensors = read_bundle(path)
    mean, scale = tensors["preprocess.0.mean"], tensors["preprocess.0.scale"]
    return 0.5 * (((rows.astype(np.float64) - mean) / scale) ** 2).sum(1)


@pytest.mark.parametrize("model", ["ae", "vae"])
@pytest.mark.parametrize(
    ("name", "normal", "floors"),
    [
        # Floors between a model that answers with the mean (0.993, 0.708; 0.52 for W and Z) and
        # what these few epochs reach. On gluon and top jets the squared norm is hard to beat.
        ("adbench/32_shuttle.npz", "0", {"1": 0.995}),
        ("adbench/22_magic.gamma.npz", "0", {"1": 0.73}),
        ("jets/jets53_dev.npz", "quark", {"W": 0.53, "Z": 0.53, "gluon": 0.53, "top": 0.74}),
    ],
)
def test_fit_score_inspect_verify(
    capfd: pytest.CaptureFixture[str],
    data_dir: Path,
    tmp_path: Path,
    model: str,
    name: str,
    normal: str,
    floors: dict[str, float],
) -> None:
    data, path, output = data_dir / name, tmp_path / "m.vael", tmp_path / "s.parquet"
    kind = "elbo" if model == "vae" else "reconstruction"
    fitted = run(
        capfd, "fit", data, "-o", path, "--normal", normal, "--model", model, "--latent", "4",
        "--hidden", "32", "--epochs", "10", "--lr", "0.003", "--score-kind", kind,
    )  # fmt: skip
    scored = run(capfd, "score", path, data, "-o", output)
    with np.load(data, allow_pickle=False) as file:
        X, y = file["X"].astype(np.float32), file["y"]
        classes = [str(c) for c in file["class_names"]] if "class_names" in file else ["0", "1"]

    # The written scores are the scorer's, and so are the counts.
    scorer = vaelocity.load(path)
    found = pq.read_table(output)
    scores = found["score"].to_numpy()
    np.testing.assert_array_equal(scores, scorer.score(X))
    assert scored["rows"] == len(X)
    assert scored["flagged"] == {"nan_or_inf": 0, "saturated": 0}
    anomalous = found["anomalous"].to_numpy()
    assert scored["anomalous"] == anomalous.sum()

    # They separate, and better than a collapsed model's would where that is fair to ask.
    names = np.array(classes)[y]
    others = sorted(set(names) - {normal})
    assert others == sorted(fitted["auc"]) == sorted(floors)
    norm = squared_norm(path, X)
    for other in others:
        value = auc(scores[names == normal], scores[names == other]).value
        assert value > floors[other], (other, value)
        assert value == pytest.approx(fitted["auc"][other]["value"], abs=0.02)
        if other not in {"gluon", "top"}:
            assert value > auc(norm[names == normal], norm[names == other]).value
    reconstruction = vaelocity.load(path, kind="reconstruction").score(X[names == normal])
    assert reconstruction.mean() < 0.6 * norm[names == normal].mean()

    # The threshold lets about as many normal events pass as it promises.
    assert 0.003 < anomalous[names == normal].mean() < 0.03
    (threshold,) = run(capfd, "inspect", path)["thresholds"]
    assert (threshold["name"], threshold["kind"]) == ("fpr=0.01", kind)
    (verdict,) = run(capfd, "verify", path)["files"]
    assert verdict["ok"]
    assert set(verdict["scored"]) == set(scorer.kinds)
