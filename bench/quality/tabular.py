"""How well every family detects anomalies: `python bench/quality/tabular.py`, or `make quality`.

Trains every family of families.py on 14 sets under two protocols and on the shipped jets, and the
models of `vaelocity demo`, with several seeds, and writes tabular.json and tabular.md to
bench/results/quality. A figure is stored as soon as it is there: a run that was stopped goes on,
and a new family is added to what is there. The scores themselves stay in the work folder, so that
an ensemble needs no training of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import adbench
import demo_jets
import jet_classes
import tabular_page
import torch
from families import ENSEMBLES, FAMILIES, texts, together, trained_alike
from kept_scores import KeptScores
from task import Scored, Task

import vaelocity
from vaelocity.benchmark import machine

REPOSITORY = Path(__file__).parents[2]
RESULTS = REPOSITORY / "bench" / "results" / "quality"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FOLDER")
    work = REPOSITORY / "build" / "quality" / "scores"
    parser.add_argument("--work", type=Path, default=work, metavar="FOLDER")
    parser.add_argument("--seeds", nargs="*", type=int, default=range(5), metavar="SEED")
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--sets", nargs="*", default=adbench.names())
    parser.add_argument("--protocols", nargs="*", default=[*adbench.PROTOCOLS, "jets", "demo"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(given.output, KeptScores(given.work))
    for protocol in given.protocols:
        for seed in given.seeds:
            if protocol == "demo":
                results.fill_demo(seed)
                continue
            for data in ["quark"] if protocol == "jets" else given.sets:
                results.fill(protocol, data, given.families, seed)
    results.write_page()


def _task(protocol: str, data: str, seed: int) -> Task:
    return jet_classes.task(seed) if protocol == "jets" else adbench.task(data, protocol, seed)


class Results:
    """Figures by protocol, set, family and seed, in a file in `folder`."""

    def __init__(self, folder: Path, kept: KeptScores) -> None:
        self.kept = kept
        self.json, self.page = folder / "tabular.json", folder / "tabular.md"
        self.content: dict[str, Any] = {"figures": {}}
        if self.json.exists():
            self.content = json.loads(self.json.read_text())
        self.content["machine"] = machine.folder_name()
        self.content["versions"] = {"vaelocity": vaelocity.__version__, "torch": torch.__version__}

    def fill(self, protocol: str, data: str, names: list[str], seed: int) -> None:
        """Measure what is not there yet: the families, and the ensembles of which all members are
        asked for."""
        ensembles = [name for name, members in ENSEMBLES.items() if set(members) <= set(names)]
        wanted = [*names, *ensembles]
        missing = [name for name in wanted if self._missing(protocol, data, name, seed)]
        if not missing:
            return
        task = _task(protocol, data, seed)
        for name in missing:
            if name in ENSEMBLES:
                # Its members' time is counted where they stand by themselves.
                members = [
                    self._scored(protocol, data, each, seed, task) for each in ENSEMBLES[name]
                ]
                scored, seconds = together([scored for scored, _ in members]), 0.0
            else:
                scored, seconds = self._scored(protocol, data, name, seed, task)
            self._put(protocol, data, name, seed, task, scored, seconds)
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
        found["seeds"][str(seed)] = {"auroc": auroc, "seconds": seconds}
        self.content["demo"] = found
        self._write()
        print(f"demo {seed}: {seconds:.1f} s", flush=True)

    def _write(self) -> None:
        self.json.parent.mkdir(parents=True, exist_ok=True)
        self.json.write_text(json.dumps(self.content, indent=1, sort_keys=True) + "\n")

    def _scored(
        self, protocol: str, data: str, name: str, seed: int, task: Task
    ) -> tuple[Scored, float]:
        """By a family, and the seconds it took; from the work folder where it is there. Other
        families that are scores of the same model are kept there with it: it is trained once."""
        found = self.kept.get(f"{protocol}-{data}-{name}-{seed}", texts()[name])
        if found is not None:
            return found
        start = time.perf_counter()
        model = FAMILIES[name].train(task, seed)
        scored = {}
        for each in trained_alike(name):
            scored[each] = FAMILIES[each].score(model, task), time.perf_counter() - start
            self.kept.put(f"{protocol}-{data}-{each}-{seed}", texts()[each], *scored[each])
            start = time.perf_counter()
        return scored[name]

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

    def _put(
        self,
        protocol: str,
        data: str,
        name: str,
        seed: int,
        task: Task,
        scored: Scored,
        seconds: float,
    ) -> None:
        found = task.areas(scored.test)
        cell = self._cell(protocol, data, name)
        run: dict[str, Any] = {"auroc": found, "seconds": round(seconds, 2)}
        if (protocol, data) == ("semi_supervised", adbench.REPEATED):
            run |= adbench.without_repeated(task, scored.test)
        cell["seeds"][str(seed)] = run
        shown = " ".join(f"{each} {100 * area:.1f}" for each, area in found.items())
        print(f"{protocol} {data} {name} {seed}: {shown}, {seconds:.1f} s", flush=True)

    def write_page(self) -> None:
        """The Markdown of everything in the file."""
        self.page.write_text(tabular_page.page(self.content))
        print(f"wrote {self.page}")


if __name__ == "__main__":
    main()
