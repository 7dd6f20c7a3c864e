"""Images: anomalies among digits, and made digits, with the defaults of one configuration each.

    python bench/quality/images.py [one_class] [held_out] [generation] [--seeds N]
        [--generation-seeds SEED ...] [--device cuda] [--jobs N] [--work FOLDER] [--output FOLDER]

one_class     trained on one digit, AUROC on all test digits
held_out      trained on nine digits, AUROC of the tenth
generation    ConvVAE, ImageGAN, ImageDiffusion: does a sample show the digit that was asked for,
              and how far from real digits are they, as a classifier sees them

Without a name all three. A figure is stored in images.json of the output folder as soon as it is
there, and what is there is not measured again; images.md and the samples are beside it. Trainings
of `generation` leave checkpoints in the work folder and go on from them; there is the classifier,
too, and figures of another classifier are forgotten.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import images_page
import made_digits
import outlying_digits
import torch
from generators import RECIPES, SEEDS

REPOSITORY = Path(__file__).parents[2]

Found = dict[str, Any]


def main() -> None:
    arguments = _parser().parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        raise SystemExit(f"part: expected {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "images.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in arguments.parts or PARTS:
        for found in PARTS[name](results.get(name, {}), arguments):
            results[name] = {**found, "made": _made()}
            path.write_text(json.dumps(results, indent=1) + "\n")
        (arguments.output / "images.md").write_text(images_page.page(results))
    print(images_page.page(results))


def _outlying(protocol: str, found: Found, arguments: argparse.Namespace) -> Iterator[Found]:
    return outlying_digits.tables(found, protocol, arguments.seeds)


def _generation(found: Found, arguments: argparse.Namespace) -> Iterator[Found]:
    folders = arguments.work, arguments.output
    # The longest trainings first.
    runs = [
        made_digits.Run(name, seed, arguments.device, *folders)
        for name in reversed(RECIPES)
        for seed in arguments.generation_seeds
    ]
    return made_digits.measured(found, runs, arguments.work, arguments.jobs)


PARTS: dict[str, Callable[[Found, argparse.Namespace], Iterator[Found]]] = {
    "one_class": partial(_outlying, "one_class"),
    "held_out": partial(_outlying, "held_out"),
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
    parser.add_argument("--generation-seeds", nargs="*", type=int, default=SEEDS, metavar="SEED")
    parser.add_argument("--device", default="cpu", help="of the trainings of generation")
    parser.add_argument("--jobs", type=int, default=1, help="of them side by side")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "build" / "quality")
    output = REPOSITORY / "bench" / "results" / "quality"
    parser.add_argument("--output", type=Path, default=output)
    return parser


if __name__ == "__main__":
    main()
