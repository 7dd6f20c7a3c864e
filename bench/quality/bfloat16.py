"""What bfloat16 costs in quality, on jets and on MNIST.

    python bench/quality/bfloat16.py [--output FOLDER] [--work FOLDER]

Of bfloat16 weights and of fast mode, beside float32 with the same training: the AUC, and how many
decisions at a false-positive rate of 1e-3 differ. Jets: 59-64-32-16 mirrored, trained on 60 % of
the shipped quark jets, against top jets. MNIST: 784-512-256-32 mirrored, trained on the digits but
0, against the 0 of the test set. Writes bfloat16.json and bfloat16.md to bench/results/quality.
Models are kept in the work folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from digits import mnist

from vaelocity import models
from vaelocity.benchmark import machine, pages, rounding
from vaelocity.cli.torch_threads import torch_threads
from vaelocity.data import jets
from vaelocity.frozen import Rows, read

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Task:
    """Rows [n, d] to train on, and held-out normal and anomalous ones; a relu network for them."""

    title: str
    training: Rows
    normal: Rows
    anomalous: Rows
    hidden: tuple[int, ...]
    latent: int
    epochs: int


def jet_task() -> Task:
    table = jets.load()
    training, held = table.of_class("quark").split(0.6, 0)
    top = table.of_class("top").rows
    title = "Jets, 59-64-32-16-32-64-59, top against quark"
    return Task(title, training.rows, held.rows, top, (64, 32), 16, 60)


def digit_task() -> Task:
    train, test = mnist()
    title = "MNIST, 784-512-256-32-256-512-784, 0 against the other digits"
    normal, anomalous = test.x[test.label != 0], test.x[test.label == 0]
    return Task(title, train.x[train.label != 0], normal, anomalous, (512, 256), 32, 6)


TASKS: dict[str, Callable[[], Task]] = {"jets": jet_task, "mnist": digit_task}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    output = REPOSITORY / "bench" / "results" / "quality"
    parser.add_argument("--output", type=Path, default=output, metavar="FOLDER")
    work = REPOSITORY / "build" / "quality" / "bfloat16"
    parser.add_argument("--work", type=Path, default=work, metavar="FOLDER")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": machine.fingerprint(("vaelocity", "numpy", "torch"), Path(__file__).parent),
        "tasks": [],
    }
    for name, make in TASKS.items():
        task = make()
        path = options.work / f"{name}.vael"
        if not path.exists():
            _train(task, path)
        sys.stderr.write(f"{task.title}: scores\n")
        found = rounding.costs(read(name, path), task.normal, task.anomalous)
        about = f"{len(task.training):,} rows, {task.epochs} epochs of training"
        results["tasks"].append({"title": task.title, "about": about, "costs": found})
    pages.write(results, options.output, "bfloat16", page(results))
    sys.stdout.write(page(results))


def page(results: dict[str, Any]) -> str:
    """The page of one run."""
    lines = [
        "# What bfloat16 costs in quality",
        "",
        pages.machine_line(results),
        "",
        "Decisions at a false-positive rate of 1e-3, found on the held-out normal rows: how many "
        "differ from those of float32, with float32's cut and with one of their own. `python "
        "bench/quality/bfloat16.py`.",
    ]
    for task in results["tasks"]:
        lines += ["", f"## {task['title']}", "", f"{task['about']}.", ""]
        lines += rounding.table(task["costs"])
    return "\n".join(lines) + "\n"


def _train(task: Task, path: Path) -> None:
    model = models.Autoencoder(task.training.shape[1], latent=task.latent, hidden=task.hidden)
    with torch_threads(1):
        model.fit(task.training, epochs=task.epochs, batch_size=512, seed=0, progress=True)
    model.save(path)


if __name__ == "__main__":
    main()
