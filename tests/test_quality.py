"""The quality tables: what is there is not trained again, and scores are mixed as they say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

from vaelocity import models

RESULTS = Path(__file__).parents[1] / "bench" / "results" / "quality"

Module = Callable[[str], ModuleType]


@pytest.fixture
def task(module: Module) -> Any:
    """A few rows, two steps of training."""
    rows = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    names = np.array(["normal"] * 30 + ["anomaly"] * 10)
    return module("task").Task(rows[:60], rows[60:], names, 2)


def tables() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / "tabular.json").read_text())
    return found


# ---- What is trained


@pytest.mark.parametrize("protocol", ["semi_supervised", "unsupervised", "jets"])
def test_the_default_trains_what_the_table_reports_and_nothing_else(
    module: Module, protocol: str
) -> None:
    families = module("families")
    measured = set(families.MEASURED[protocol])
    measured |= {name for name, each in families.ENSEMBLES.items() if set(each.members) <= measured}
    for row in tables()["figures"][protocol].values():
        assert set(row) == measured
        for name, cell in row.items():
            assert cell["configuration"] == families.texts()[name]
            assert set(cell["seeds"]) == set("01234")


def test_the_default_makes_the_digits_that_the_table_reports(module: Module) -> None:
    made, generators = module("made_digits"), module("generators")
    found = json.loads((RESULTS / "images.json").read_text())["generation"]
    runs = [
        made.Run(name, seed, "cpu", Path(), Path())
        for name in generators.RECIPES
        for seed in generators.SEEDS
    ]
    assert made.missing(found, runs) == []
    assert sum(len(model["runs"]) for model in found["models"].values()) == len(runs)


def test_what_took_longest_is_trained_first(module: Module, tmp_path: Path) -> None:
    tabular, kept = module("tabular"), module("kept_scores").KeptScores(tmp_path)
    texts = module("families").texts()
    figures = {
        name: {"configuration": texts[name], "seeds": {"0": {"seconds": seconds}}}
        for name, seconds in {"AE": 2.0, "VAE": 9.0, "masked": 5.0}.items()
    }
    figures["masked"]["configuration"] = "of another time"
    content = {"figures": {"unsupervised": {"cardio": figures}}}
    (tmp_path / "tabular.json").write_text(json.dumps(content))
    results = tabular.Results(tmp_path, kept)
    cells = [("unsupervised", "cardio", ["masked", "AE", "VAE"], seed) for seed in (0, 1)]
    order = [(job.name, job.seed) for job in results.missing(cells)]
    assert order == [("VAE", 1), ("AE", 1), ("masked", 0), ("masked", 1)]


def test_scores_of_one_model_take_one_training(
    module: Module, task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, families = module("training"), module("families")
    kept = module("kept_scores").KeptScores(tmp_path)
    job = training.Job("semi_supervised", "cardio", "denoising", 0)
    first = training.scored(kept, job, task)
    monkeypatch.setattr(families.Family, "train", None)
    again = training.scored(kept, job, task)
    np.testing.assert_array_equal(again.scored.test, first.scored.test)
    for name in ("codes of denoising", "denoising, relative", "codes of denoising, relative"):
        assert training.scored(kept, replace(job, name=name), task).scored.test.shape == (40,)
    with pytest.raises(TypeError):
        training.scored(kept, replace(job, seed=1), task)


def test_kept_scores_are_of_one_configuration(module: Module, tmp_path: Path) -> None:
    kept = module("kept_scores").KeptScores(tmp_path)
    scored = module("task").Scored(np.float32([1, 2]), np.float32([3]))
    kept.put("a-key", "as it was", scored, 1.5)
    found = kept.get("a-key", "as it was")
    assert (found.scored.test, found.seconds) == (3, 1.5)
    assert "torch" in found.where
    assert kept.get("a-key", "as it is") is None
    assert kept.get("another-key", "as it was") is None


def test_what_fails_side_by_side_stops_nothing_else(module: Module) -> None:
    side_by_side, done = module("side_by_side").side_by_side, {}
    with pytest.raises(ExceptionGroup, match="1 of 3 failed") as caught:
        done.update(side_by_side(math.sqrt, [4.0, -1.0, 9.0], 1))
    assert done == {4.0: 2.0, 9.0: 3.0}
    assert caught.value.exceptions[0].__notes__ == ["with -1.0"]


def test_made_digits_of_another_recipe_are_made_again(module: Module, tmp_path: Path) -> None:
    made, recipes = module("made_digits"), module("generators").RECIPES
    runs = [
        made.Run(name, seed, "cpu", tmp_path, tmp_path)
        for name in ("ConvVAE", "ImageGAN")
        for seed in (0, 1)
    ]
    found = {
        "models": {
            "ConvVAE": {
                "fit": recipes["ConvVAE"].fit, "sampling": {}, "runs": [{"seed": 1}],
            },
            "ImageGAN": {"fit": {"epochs": 1}, "sampling": {}, "runs": [{"seed": 0}]},
        }
    }  # fmt: skip
    assert made.missing({}, runs) == runs
    assert made.missing(found, runs) == [runs[0], *runs[2:]]


def test_the_committed_pages_are_of_the_committed_figures(
    module: Module, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAELOCITY_DATA", str(data_dir))
    for name in ("tabular", "images"):
        figures = json.loads((RESULTS / f"{name}.json").read_text())
        page: str = module(f"{name}_page").page(figures)
        assert page == (RESULTS / f"{name}.md").read_text()


# ---- How scores are mixed


def test_a_mean_of_scores_has_every_member_at_one_scale(module: Module) -> None:
    families, scored = module("families"), module("task").Scored
    train, test = np.float32([1, 2, 3, 4, 5]), np.float32([3, 9])
    members = [scored(train, test), scored(1000 * train + 7, 1000 * test + 7)]
    by_quartiles = families.together(members, "quartiles").test
    np.testing.assert_allclose(by_quartiles, [0, 3], atol=1e-3)
    by_deviation = families.together(members, "deviation").test
    np.testing.assert_allclose(by_deviation, [0, 6 / np.sqrt(2)], atol=1e-3)


def test_a_relative_score_is_divided_by_the_root_of_that_of_its_neighbours(
    module: Module, task: Any
) -> None:
    """The same mean distances, made relative: the neighbours of the training rows are others."""
    neighbours = module("neighbours")
    plain, found = (neighbours.Neighbours(each).score(None, task) for each in (False, True))
    floor = 0.1 * np.median(plain.train)
    for points, first, values, result in (
        (task.train, 1, plain.train, found.train),
        (task.test, 0, plain.test, found.test),
    ):
        for i, point in enumerate(points):
            distance = np.linalg.norm(task.train - point, axis=1)
            near = np.argsort(distance)[first : first + 5]
            assert values[i] == pytest.approx(distance[near].mean(), rel=1e-5)
            expected = values[i] / np.sqrt(plain.train[near].mean() + floor)
            assert result[i] == pytest.approx(expected, rel=1e-5)


def test_what_the_table_calls_error_and_codes_is_what_the_library_gives(
    module: Module, task: Any
) -> None:
    families = module("families")
    model = families.FAMILIES["denoising"].train(task, 0)
    ensemble = families.ENSEMBLES["error and codes, relative"]
    members = [families.FAMILIES[name].score(model, task) for name in ensemble.members]
    found = families.together(members, ensemble.by)
    both = models.error_and_codes(model, task.train)
    np.testing.assert_allclose(found.train, both.score_training(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.test, both.score(task.test), rtol=1e-5, atol=1e-6)


def test_what_is_unusual_beside_its_neighbours_comes_before_what_is_not(module: Module) -> None:
    """Two clusters: a gap of 1 is much beside the narrow one and nothing in the wide one."""
    neighbours, task = module("neighbours"), module("task").Task
    rng = np.random.default_rng(2)
    wide, narrow = rng.normal(size=(200, 2)) * 3, rng.normal(size=(200, 2)) * 0.05 + 30
    test = np.concatenate([np.full((1, 2), 31.0), rng.normal(size=(50, 2)) * 3])
    names = np.array(["anomaly"] + ["normal"] * 50)
    given = task(np.concatenate([wide, narrow]).astype(np.float32), test, names, 1)
    areas = [
        given.areas(neighbours.Neighbours(relative).score(None, given).test)["anomaly"]
        for relative in (False, True)
    ]
    assert areas[1] > areas[0]
    assert areas[1] > 0.95


def test_every_set_has_the_mixture_that_is_best_on_the_others(module: Module) -> None:
    areas = {
        ("quartiles", ("a",)): np.array([[90.0, 80.0, 80.0]]),
        ("quartiles", ("b",)): np.array([[50.0, 85.0, 85.0]]),
    }
    found, chosen = module("mixtures").left_out(areas)
    # Without the first set b is better, which is worse there; without another one a is.
    np.testing.assert_array_equal(found, [[50.0, 80.0, 80.0]])
    assert [members for _, members in chosen] == [("b",), ("a",), ("a",)]


def test_the_exponent_of_a_relative_score_is_found_again(module: Module) -> None:
    """s / m^e from s and s / sqrt(m); no score is 0 / 0."""
    scored, power = module("task").Scored, module("mixtures").power
    s, m = np.float32([0.5, 2, 0, 7]), np.float32([4, 0.25, 1, 9])
    plain, relative = scored(s, s[::-1]), scored(s / np.sqrt(m), (s / np.sqrt(m))[::-1])
    for exponent in (0.0, 0.25, 0.5, 1.0):
        found = power(plain, relative, exponent)
        np.testing.assert_allclose(found.train, s / m**exponent, rtol=1e-5)
        np.testing.assert_allclose(found.test, (s / m**exponent)[::-1], rtol=1e-5)
