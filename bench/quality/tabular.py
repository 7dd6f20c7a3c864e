"""How well every family detects anomalies: `python bench/quality/tabular.py`, or `make quality`.

Trains every family of families.py on 14 sets under two protocols with several seeds, and on the
shipped jets, and writes tabular.json and tabular.md to bench/results/quality. Each figure is stored
as soon as it is there: a run that was stopped goes on, and a family that is new is added.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import adbench
import jet_classes
import tabular_page
import torch
from families import FAMILIES, Family, Together

import vaelocity
from vaelocity.report.metrics import auc

RESULTS = Path(__file__).parents[1] / "results" / "quality"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--sets", nargs="*", default=adbench.names())
    parser.add_argument("--protocols", nargs="*", default=list(adbench.PROTOCOLS))
    parser.add_argument("--no-jets", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = Results(given.output / "tabular.json")
    for seed in range(given.seeds):
        for protocol in given.protocols:
            for name in given.families:
                for data in given.sets:
                    results.fill(protocol, data, name, seed, _detect)
        if not given.no_jets:
            for name in given.families:
                results.fill("jets", "quark", name, seed, _jets)
    results.page(given.output / "tabular.md")


class Results:
    """Figures by protocol, set, family and seed, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = {"figures": {}}
        if path.exists():
            self.content = json.loads(path.read_text())
        self.content["machine"] = platform.processor() or platform.machine()
        self.content["versions"] = {
            "vaelocity": vaelocity.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }

    def fill(self, protocol: str, data: str, name: str, seed: int, measure: Any) -> None:
        """Measure what is not there yet."""
        family = FAMILIES[name]
        row = self.content["figures"].setdefault(protocol, {}).setdefault(data, {})
        cell = row.setdefault(name, {})
        if cell.get("configuration") != family.text():
            cell.clear()
            cell.update(configuration=family.text(), seeds={})
        if str(seed) in cell["seeds"]:
            return
        start = time.perf_counter()
        found = measure(protocol, data, family, seed)
        cell["seeds"][str(seed)] = {"auroc": found, "seconds": time.perf_counter() - start}
        print(protocol, data, name, seed, found, flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.content, indent=1, sort_keys=True) + "\n")

    def page(self, path: Path) -> None:
        """The Markdown of everything in the file."""
        path.write_text(tabular_page.page(self.content))
        print(f"wrote {path}")


def _detect(protocol: str, data: str, family: Family | Together, seed: int) -> dict[str, float]:
    task = adbench.task(data, protocol, seed)
    scores = family.score(task.train, task.test, seed)
    normal = task.label == 0
    return {"anomalies": auc(scores[normal], scores[~normal]).value}


def _jets(protocol: str, data: str, family: Family | Together, seed: int) -> dict[str, float]:
    sample = jet_classes.sample(seed)
    scores = family.score(sample.train, sample.test, seed, jet_classes.STEPS)
    return jet_classes.areas(scores, sample)


if __name__ == "__main__":
    main()
