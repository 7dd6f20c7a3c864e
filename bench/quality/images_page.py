"""The page of `images.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from generation import CONFIDENT
from generators import CHOSEN
from outlying_digits import LOOKED_AT, PUBLISHED

_TITLES = {
    "one_class": "Trained on one digit: AUROC % on the 10,000 test digits",
    "held_out": "Trained on nine digits: AUROC % of the tenth among the test digits",
}


def page(results: dict[str, Any]) -> str:
    """Markdown of what there is."""
    parts = ["# Images: MNIST"]
    parts += [_outliers(name, results[name]) for name in _TITLES if name in results]
    if "generation" in results:
        parts.append(_generation(results["generation"]))
    return "\n\n".join(parts) + "\n"


def _outliers(name: str, found: dict[str, Any]) -> str:
    auroc = 100 * np.array(found["auroc"])  # [seeds, 10]
    rows = [["DenoisingAutoencoder", *_cells(auroc.mean(0), 2), f"{auroc.mean():.2f}"]]
    if len(auroc) > 1:
        of_digits, of_mean = auroc.std(0, ddof=1), auroc.mean(1).std(ddof=1)
        rows.append([f"spread of {len(auroc)} seeds", *_cells(of_digits, 2), f"{of_mean:.2f}"])
    for who, values in PUBLISHED[name].items():
        rows.append([who, *_cells(100 * np.array(values), 1), f"{100 * np.mean(values):.1f}"])
    others = np.delete(auroc, LOOKED_AT, axis=1).mean()
    said = (
        f"Chosen with test labels in sight: the smoothing by PCA on all ten digits, the network "
        f"(some 25 tries) by the one-class AUROC of the digits "
        f"{' and '.join(map(str, LOOKED_AT))}; the mean over the other eight is {others:.2f}. "
        f"Seeds: {len(auroc)}; {np.mean(found['wall_s']):.0f} s each. {_made(found)}"
    )
    head = ["", *map(str, range(10)), "mean"]
    return f"## {_TITLES[name]}\n\n{_markdown(head, rows)}\n\n{said}"


def _generation(found: dict[str, Any]) -> str:
    head = [
        "", "shows the digit asked for %", f"judge more than {CONFIDENT:.0%} sure %",
        "Frechet distance", "coverage %", "seeds", "training on the CPU, s", "CPU s",
        "training on a GPU, s",
    ]  # fmt: skip
    real = found["real"]
    rows = [["real digits (training)", *_shares([real]), "", "", "", ""]]
    for name, model in found["models"].items():
        runs = model["runs"]
        cpu = [run for run in runs if run["device"] == "cpu"]
        gpu = [run for run in runs if run["device"] != "cpu"]
        seconds = [_seconds(cpu, "wall_s"), _seconds(cpu, "cpu_s"), _seconds(gpu, "wall_s")]
        rows.append([name, *_shares(runs), str(len(runs)), *seconds])
    said = (
        f"{real['n']} digits each, against as many test digits, by the features of a classifier "
        f"that reads {100 * found['judge_accuracy']:.2f} % of the test digits: distances are to be "
        f"compared within this table only. Mean and standard deviation over the seeds. {CHOSEN} "
        f"Last: {_made(found)}"
    )
    said += "\n\n" + "\n".join(
        f"- {name}: {_listed(model['fit'])}{_listed(model['sampling'], '; drawn with ')}"
        f"{_places(model['runs'])}"
        for name, model in found["models"].items()
    )
    pictures = "\n".join(f"![{name}](digits-{name}.png)" for name in found["models"])
    return f"## Made digits\n\n{_markdown(head, rows)}\n\n{said}\n\n{pictures}"


def _seconds(runs: Sequence[dict[str, Any]], key: str) -> str:
    return f"{np.mean([run[key] for run in runs]):.0f}" if runs else ""


def _places(runs: Sequence[dict[str, Any]]) -> str:
    """Which seeds were trained where."""
    seeds: dict[str, list[str]] = {}
    for run in runs:
        seeds.setdefault(run["where"], []).append(str(run["seed"]))
    return "".join(f"; seed {', '.join(each)}: {where}" for where, each in seeds.items())


def _listed(settings: dict[str, Any], before: str = "") -> str:
    text = ", ".join(f"{name} {value}" for name, value in settings.items())
    return before + text if text else ""


def _shares(runs: Sequence[dict[str, Any]]) -> list[str]:
    def share(key: str, factor: float) -> str:
        if runs[0][key] is None:
            return "-"
        values = [factor * run[key] for run in runs]
        spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
        return f"{np.mean(values):.2f}{spread}"

    return [
        share("asked", 100), share("confident", 100), share("frechet", 1), share("coverage", 100)
    ]  # fmt: skip


def _made(found: dict[str, Any]) -> str:
    made = found["made"]
    return f"`{made['command']}`, {made['machine']}, torch {made['torch']}, {made['date']}."


def _cells(values: Sequence[float] | np.ndarray, digits: int) -> list[str]:
    return [f"{value:.{digits}f}" for value in values]


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
