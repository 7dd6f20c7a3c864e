"""One result of several runs of bench_score.py with --networks, on one machine.

    python bench/joined.py PART.json ... --output FOLDER

The first part's peak, start and date stand for all. Refuses parts of different machines or commits.
One part is judged again: after other counts (instructions/score.py).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requirements
import score_counts

from vaelocity.benchmark import score_report


def joined(parts: list[dict[str, Any]], counts: Mapping[str, score_counts.Found]) -> dict[str, Any]:
    """All cases and latencies, judged together. counts: see `score_counts.read`.

    Raises ValueError where the parts are not of one machine, its packages and one commit.
    """
    first, *others = parts
    for other in others:
        if _what(other) != _what(first):
            raise ValueError(f"parts: of two machines: {_what(first)} and {_what(other)}")
    results = {**first, "cases": [case for part in parts for case in part["cases"]]}
    results["latencies"] = {k: v for part in parts for k, v in part["latencies"].items()}
    if others:
        notes = f"One thread; {len(parts)} processes side by side, each on its processor."
        results["notes"] = notes
    results["requirements"] = requirements.judge(results, counts)
    return results


def _what(part: dict[str, Any]) -> dict[str, Any]:
    """What was measured where, without how busy it was."""
    return {key: value for key, value in part["machine"].items() if key != "load_average"}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", type=Path, metavar="PART")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args()
    parts = [json.loads(part.read_text()) for part in options.parts]
    score_report.write(joined(parts, score_counts.read(options.output)), options.output)


if __name__ == "__main__":
    main()
