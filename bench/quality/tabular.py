"""How well every family detects anomalies: `python bench/quality/tabular.py`, or `make quality`.

Trains every family of families.py on 14 sets under two protocols and on the shipped jets, and the
models of `vaelocity demo`, with several seeds, and writes tabular.json and tabular.md to
bench/results/quality. What is there is not measured again: a new family or seed is added to it. The
scores themselves stay in the work folder: a run that was stopped goes on from them, and an ensemble
needs no training of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import adbench
import demo_jets
import tabular_page
import torch
import training
from families import ENSEMBLES, FAMILIES, MEASURED, texts, together
from kept_scores import Kept, KeptScores, here
from task import Task
from training import Job

REPOSITORY = Path(__file__).parents[2]
RESULTS = REPOSITORY / "bench" / "results" / "quality"
WORK = REPOSITORY / "build" / "quality" / "scores"


def main() -> None:
    """The command."""
    given = _parser().parse_args()
    torch.set_num_threads(1)
    results = Results(given.output, KeptScores(given.work))
    measured = [each for each in given.protocols if each != "demo"]
    cells = [
        (protocol, data, given.families or list(MEASURED[protocol]), seed)
        for protocol in measured
        for seed in given.seeds
        for data in (["quark"] if protocol == "jets" else given.sets)
    ]
    if given.jobs > 1:
        training.train_side_by_side(results.kept, results.missing(cells), given.jobs)
    for cell in cells:
        results.fill(*cell)
    if "demo" in given.protocols:
        for seed in given.seeds:
            results.fill_demo(seed)
    results.write_page()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--work", type=Path, default=WORK, metavar="FOLDER")
    parser.add_argument("--seeds", nargs="*", type=int, default=range(5), metavar="SEED")
    parser.add_argument(
        "--families", nargs="*", choices=FAMILIES, help="default: those of the protocol's table"
    )
    parser.add_argument("--sets", nargs="*", default=adbench.names())
    protocols = [*MEASURED, "demo"]
    parser.add_argument("--protocols", nargs="*", default=protocols, choices=protocols)
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side, a core each")
    return parser


Cell = tuple[str, str, list[str], int]
"""Protocol, set, families and seed."""


class Results:
    """Figures by protocol, set, family and seed, in a file in `folder`."""

    def __init__(self, folder: Path, kept: KeptScores) -> None:
        self.kept = kept
        self.json, self.page = folder / "tabular.json", folder / "tabular.md"
        self.content: dict[str, Any] = {"figures": {}}
        if self.json.exists():
            self.content = json.loads(self.json.read_text())

    def missing(self, cells: Iterable[Cell]) -> list[Job]:
        """What is to be trained for: the family that took longest, for other seeds, first."""
        jobs = [
            Job(protocol, data, name, seed)
            for protocol, data, names, seed in cells
            for name in names
            if self._missing(protocol, data, name, seed)
        ]
        return sorted(jobs, key=self._seconds, reverse=True)

    def _seconds(self, job: Job) -> float:
        """That a training and its scores took, for other seeds; 0 if it was never done."""
        runs = self._cell(job.protocol, job.data, job.name)["seeds"].values()
        return sum(run["seconds"] for run in runs) / max(1, len(runs))

    def fill(self, protocol: str, data: str, names: list[str], seed: int) -> None:
        """Measure what is not there yet: the families, and the ensembles of which all members are
        asked for."""
        ensembles = [name for name, each in ENSEMBLES.items() if set(each.members) <= set(names)]
        wanted = [*names, *ensembles]
        missing = [name for name in wanted if self._missing(protocol, data, name, seed)]
        if not missing:
            return
        task = Job(protocol, data, names[0], seed).task()
        for name in missing:
            job = Job(protocol, data, name, seed)
            self._put(job, task, self._scored(job, task))
        self._write()

    def fill_demo(self, seed: int) -> None:
        """Measure the models of the demo, unless they are there."""
        found = self.content.get("demo", {})
        if found.get("configuration") != demo_jets.configuration():
            found = {"configuration": demo_jets.configuration(), "seeds": {}}
        if str(seed) in found["seeds"]:
            return
        start = time.perf_counter()
        auroc = demo_jets.areas(seed)
        seconds = round(time.perf_counter() - start, 2)
        found["seeds"][str(seed)] = {"auroc": auroc, "seconds": seconds, "where": here()}
        self.content["demo"] = found
        self._write()
        print(f"demo {seed}: {seconds:.1f} s", flush=True)

    def _write(self) -> None:
        self.json.parent.mkdir(parents=True, exist_ok=True)
        self.json.write_text(json.dumps(self.content, indent=1, sort_keys=True) + "\n")

    def _scored(self, job: Job, task: Task) -> Kept:
        """By a family, or by an ensemble."""
        if job.name not in ENSEMBLES:
            return training.scored(self.kept, job, task)
        ensemble = ENSEMBLES[job.name]
        members = [
            training.scored(self.kept, replace(job, name=name), task) for name in ensemble.members
        ]
        where = "; ".join(dict.fromkeys(each.where for each in members))
        # Its members' time is counted where they stand by themselves.
        return Kept(together([each.scored for each in members], ensemble.by), 0.0, where)

    def _cell(self, protocol: str, data: str, name: str) -> dict[str, Any]:
        """Of one family; empty where its configuration is another now."""
        sets = self.content["figures"].setdefault(protocol, {})
        cell: dict[str, Any] = sets.setdefault(data, {}).setdefault(name, {})
        if cell.get("configuration") != texts()[name]:
            cell.clear()
            cell.update(configuration=texts()[name], seeds={})
        return cell

    def _missing(self, protocol: str, data: str, name: str, seed: int) -> bool:
        return str(seed) not in self._cell(protocol, data, name)["seeds"]

    def _put(self, job: Job, task: Task, kept: Kept) -> None:
        found = task.areas(kept.scored.test)
        run: dict[str, Any] = {"auroc": found, "seconds": round(kept.seconds, 2)}
        run["where"] = kept.where
        if (job.protocol, job.data) == ("semi_supervised", adbench.REPEATED):
            run |= adbench.without_repeated(task, kept.scored.test)
        self._cell(job.protocol, job.data, job.name)["seeds"][str(job.seed)] = run
        shown = " ".join(f"{each} {100 * area:.1f}" for each, area in found.items())
        print(f"{job.protocol} {job.data} {job.name} {job.seed}: {shown}", flush=True)

    def write_page(self) -> None:
        """The Markdown of everything in the file."""
        self.page.write_text(tabular_page.page(self.content))
        print(f"wrote {self.page}")


if __name__ == "__main__":
    main()
