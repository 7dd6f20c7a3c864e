"""Explanations: parts that add up, groups, bands, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vaelocity
from vaelocity.bundle import read_bundle, write_bundle
from vaelocity.bundle_parts import put_reference
from vaelocity.cli import main
from vaelocity.drift import Reference
from vaelocity.explain import BAND, reference_of

D = 11


def training() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3200, D)).astype(np.float32)


@pytest.fixture
def path(make_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    metadata, tensors = read_bundle(make_bundle([D, 6, 3], gaussian=True, seed=2))
    put_reference(metadata, tensors, Reference.of(training()))
    write_bundle(tmp_path / "m.vael", metadata, tensors)
    return tmp_path / "m.vael"


@pytest.fixture
def scorer(path: Path) -> vaelocity.Scorer:
    return vaelocity.load(path, kind="reconstruction")


def test_reasons_are_the_largest_parts_and_add_up(scorer: vaelocity.Scorer) -> None:
    rows = training()[:50]
    parts, scores = scorer.score_features(rows), scorer.score(rows)
    for i, event in enumerate(scorer.explain(rows, k=D)):
        assert event.score == pytest.approx(scores[i], rel=1e-5)
        assert [reason.score for reason in event.reasons] == sorted(parts[i], reverse=True)
        assert sum(reason.share for reason in event.reasons) == pytest.approx(1)
        for reason in event.reasons:
            j = scorer.feature_names.index(reason.feature)
            assert reason.value == rows[i, j]
            assert reason.score == parts[i, j]
            assert reason.band is None
    for few, all_of in zip(scorer.explain(rows, 3), scorer.explain(rows, 100), strict=True):
        assert few.reasons == all_of.reasons[:3]
        assert len(all_of.reasons) == D


def test_a_changed_feature_is_the_reason(scorer: vaelocity.Scorer) -> None:
    rows = np.zeros((D, D), np.float32)
    np.fill_diagonal(rows, 60.0)
    named = [event.reasons[0].feature for event in scorer.explain(rows, 1)]
    assert named == scorer.feature_names


def test_bands_hold_what_they_say(path: Path, scorer: vaelocity.Scorer) -> None:
    rows = training()
    found = scorer.explain(rows, D, reference=reference_of(path))
    inside = sum(not reason.outside for event in found for reason in event.reasons)
    assert inside / rows.size == pytest.approx(BAND, abs=1e-3)
    odd = np.zeros((4, D), np.float32)
    odd[:, 0] = [100, -100, np.quantile(rows[:, 0], 0.99), np.quantile(rows[:, 0], 0.01)]
    sides = []
    for event in scorer.explain(odd, D, reference=reference_of(path)):
        sides += [reason.outside for reason in event.reasons if reason.feature == "f0"]
    assert sides == ["above", "below", "high", "low"]


def test_groups_add_up(scorer: vaelocity.Scorer) -> None:
    rows = training()[:20]
    groups = {"muon": ["f0", "f3"], "jets": ["f1*"]}
    parts = scorer.score_features(rows)
    for i, event in enumerate(scorer.explain(rows, 1, groups)):
        assert event.groups["muon"] == pytest.approx(parts[i, [0, 3]].sum(), rel=1e-6)
        assert event.groups["jets"] == pytest.approx(parts[i, [1, 10]].sum(), rel=1e-6)
        assert sum(event.groups.values()) == pytest.approx(event.score, rel=1e-5)
        assert list(event.groups.values()) == sorted(event.groups.values(), reverse=True)


def test_columns_by_name_and_a_row_with_a_nan(scorer: vaelocity.Scorer) -> None:
    rows = training()[:5]
    columns = {name: rows[:, j].copy() for j, name in enumerate(scorer.feature_names)}
    assert scorer.explain(columns) == scorer.explain(rows)
    rows[0, 4] = np.nan
    event = scorer.explain(rows)[0]
    assert np.isnan(event.score)
    assert event.to_dict()["score"] is None
    assert json.loads(json.dumps(event.to_dict(), allow_nan=False))["reasons"][0]["share"] is None


def test_wrong_arguments(path: Path, scorer: vaelocity.Scorer) -> None:
    rows = training()[:2]
    for k in (0, True, 1.5):
        with pytest.raises(ValueError, match="k: expected an int of at least 1"):
            scorer.explain(rows, k)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no feature is called 'f99'"):
        scorer.explain(rows, 1, {"a": ["f99"]})
    with pytest.raises(ValueError, match="f1 is in a and in b"):
        scorer.explain(rows, 1, {"a": ["f1"], "b": ["f1"]})
    with pytest.raises(ValueError, match="reference: of 2 features"):
        scorer.explain(rows, reference=Reference.of(training()[:, :2]))
    with pytest.raises(ValueError, match="kl"):
        vaelocity.load(path, kind="kl").explain(rows)


def test_command(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = training()[:100]
    rows[42, 5] = 50.0
    np.save(tmp_path / "rows.npy", rows)
    command = ["explain", str(path), str(tmp_path / "rows.npy"), "--threshold", "20", "--top", "1"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "row 42: score" in shown
    assert ", above 20" in shown
    assert "above all" in shown
    assert main([*command, "--json", "--row", "3", "--row", "42", "--group", "all=f*"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [event["row"] for event in found["events"]] == [3, 42]
    assert found["events"][1]["anomalous"] is True
    assert found["events"][1]["reasons"][0]["feature"] == "f5"
    assert found["events"][1]["groups"]["all"] == pytest.approx(found["events"][1]["score"])
    assert main([*command, "--row", "100"]) == 2
    assert "--row 100: the data hold 100 rows" in capsys.readouterr().err
    assert main([*command, "--group", "f1"]) == 2
    assert "expected NAME=FEATURE" in capsys.readouterr().err
