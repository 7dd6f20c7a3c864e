"""Images: anomalies among digits, and made digits, with the defaults of one configuration each.

    python bench/quality/images.py [one_class] [held_out] [generation] [--seeds N] [--work FOLDER]

one_class     trained on one digit, AUROC on all test digits
held_out      trained on nine digits, AUROC of the tenth
generation    ConvVAE, ImageGAN, ImageDiffusion: does a sample show the digit that was asked for,
              and how far from real digits are they, as a classifier sees them

Without a name all three. Each replaces its part of bench/results/quality/images.json and writes
images.md and the samples beside it. Trainings of `generation` leave checkpoints in the work folder
and go on from them.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import images_page
import torch
from digits import Digits, judge, mnist
from generation import figures
from generators import RECIPES, samples, trained
from outlying_digits import table
from picture import grid

REPOSITORY = Path(__file__).parents[2]
MADE = 5000
"""Digits made for the figures of generation."""


def main() -> None:
    arguments = _parser().parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        raise SystemExit(f"part: expected {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "images.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    train, test = mnist()
    for name in arguments.parts or PARTS:
        found = PARTS[name](train, test, arguments)
        results[name] = {"made": _made(), **found}
        path.write_text(json.dumps(results, indent=1) + "\n")
        (arguments.output / "images.md").write_text(images_page.page(results))
    print(images_page.page(results))


def _one_class(train: Digits, test: Digits, arguments: argparse.Namespace) -> dict[str, Any]:
    return asdict(table("one_class", train, test, arguments.seeds))


def _held_out(train: Digits, test: Digits, arguments: argparse.Namespace) -> dict[str, Any]:
    return asdict(table("held_out", train, test, arguments.seeds))


def _generation(train: Digits, test: Digits, arguments: argparse.Namespace) -> dict[str, Any]:
    """Every model and every seed of it; real training digits beside them, to compare with."""
    reader = judge(train, test, arguments.work / "classifier.safetensors")
    real = test.x[:MADE]
    found: dict[str, Any] = {
        "judge_accuracy": reader.accuracy,
        "real": asdict(figures(reader, train.x[:MADE], train.label[:MADE], real)),
        "models": {},
    }
    for name, recipe in RECIPES.items():
        runs = []
        for seed in range(arguments.generation_seeds):
            one = trained(name, train, seed, arguments.work)
            made, label = samples(name, one.model, MADE)
            asked = label if recipe.conditional else None
            ours = asdict(figures(reader, made, asked, real))
            runs.append({**ours, "wall_s": one.wall_s, "cpu_s": one.cpu_s})
            if seed == 0:
                grid(made[:100], 10, arguments.output / f"digits-{name}.png")
            print(name, seed, runs[-1], flush=True)
        found["models"][name] = {
            "fit": recipe.fit,
            "sampling": recipe.sampling,
            "runs": runs,
        }
    return found


Part = Callable[[Digits, Digits, argparse.Namespace], dict[str, Any]]
PARTS: dict[str, Part] = {
    "one_class": _one_class,
    "held_out": _held_out,
    "generation": _generation,
}


def _made() -> dict[str, Any]:
    """With what and when."""
    return {
        "command": " ".join(["python", "bench/quality/images.py", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", metavar="part", help="default: all")
    parser.add_argument("--seeds", type=int, default=5, help="of one_class and held_out")
    parser.add_argument("--generation-seeds", type=int, default=1)
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "quality")
    output = REPOSITORY / "bench" / "results" / "quality"
    parser.add_argument("--output", type=Path, default=output)
    return parser


if __name__ == "__main__":
    main()
