"""The figures of made digits, model by model and seed by seed; what was measured stays."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from digits import Digits, Judge, judge, mnist
from generation import figures
from generators import RECIPES, samples, trained
from picture import grid
from side_by_side import side_by_side

MADE = 5000
"""Digits made for the figures."""


@dataclass(frozen=True)
class Run:
    """Of the model of that name; work: the folder of checkpoints and of the judge; pictures: the
    folder of the samples of seed 0."""

    name: str
    seed: int
    device: str
    work: Path
    pictures: Path


def measured(
    found: dict[str, Any], runs: Sequence[Run], work: Path, jobs: int
) -> Iterator[dict[str, Any]]:
    """`found`, of an earlier call or empty, with the runs that it lacks, `jobs` of them side by
    side; after each of them."""
    if not missing(found, runs):
        return
    train, test, reader = _rows_and_judge(work)
    digest = hashlib.sha256(_classifier(work).read_bytes()).hexdigest()
    if found.get("judge_sha256") != digest:
        # Figures of two judges are not to be compared.
        real = asdict(figures(reader, train.x[:MADE], train.label[:MADE], test.x[:MADE]))
        found = {"judge_accuracy": reader.accuracy, "judge_sha256": digest, "real": real}
    for run, figure in _made(missing(found, runs), jobs):
        model = found.setdefault("models", {}).setdefault(run.name, {})
        settings = _settings(run.name)
        if not _of(model, settings):
            model.update(settings, runs=[])
        model["runs"] = sorted([*model["runs"], figure], key=lambda each: each["seed"])
        print(run.name, figure, flush=True)
        yield found


def missing(found: Mapping[str, Any], runs: Sequence[Run]) -> list[Run]:
    """Runs that are not there, or are there of another recipe."""
    models = found.get("models", {})
    there = {
        (name, run["seed"])
        for name, model in models.items()
        for run in model["runs"]
        if _of(model, _settings(name))
    }
    return [run for run in runs if (run.name, run.seed) not in there]


def _settings(name: str) -> dict[str, Any]:
    return {"fit": RECIPES[name].fit, "sampling": RECIPES[name].sampling}


def _of(model: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    return all(model.get(key) == value for key, value in settings.items())


def _made(runs: list[Run], jobs: int) -> Iterator[tuple[Run, dict[str, Any]]]:
    measure = partial(_measure, jobs=jobs)
    if jobs == 1:
        return ((run, measure(run)) for run in runs)
    return side_by_side(measure, runs, jobs)


def _measure(run: Run, jobs: int) -> dict[str, Any]:
    """Train, make digits and look at them."""
    train, test, reader = _rows_and_judge(run.work)
    one = trained(run.name, train, run.seed, run.work, run.device)
    made, label = samples(run.name, one.model, MADE)
    asked = label if RECIPES[run.name].conditional else None
    if run.seed == 0:
        grid(made[:100], 10, run.pictures / f"digits-{run.name}.png")
    return {
        "seed": run.seed,
        **asdict(figures(reader, made, asked, test.x[:MADE])),
        "wall_s": one.wall_s,
        "cpu_s": one.cpu_s,
        "device": run.device,
        "where": _where(run.device, jobs),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _where(device: str, jobs: int) -> str:
    threads = f"{platform.machine()}, {torch.get_num_threads()} threads"
    place = threads if device == "cpu" else torch.cuda.get_device_name(device)
    beside = f", {jobs} trainings side by side" if jobs > 1 else ""
    return f"{place}{beside}, torch {torch.__version__}"


@cache
def _rows_and_judge(work: Path) -> tuple[Digits, Digits, Judge]:
    train, test = mnist()
    return train, test, judge(train, test, _classifier(work))


def _classifier(work: Path) -> Path:
    return work / "classifier.safetensors"
