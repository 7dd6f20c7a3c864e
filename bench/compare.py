"""Two results of one benchmark on one machine: what became faster, slower, or cannot be told.

    python bench/compare.py OLD.json NEW.json [--least 0.02] [--fail]

Entries are matched by case and by name and way. The ratio new / old has the interval of the two
medians' intervals, the worst of both; where both runs measured the peak of the core, times are
first expressed in that of the peak, so that a clock that changed between the runs does not count.
"faster" and "slower" are said where the whole interval is beyond 1 by more than --least; else it is
"same" where the whole interval is within it, and "unclear" where the noise is too large to tell.
--fail: exit code 1 if anything became slower.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaelocity.benchmark import pages

LEAST = 0.02


@dataclass(frozen=True)
class Change:
    """One entry in both results; ratio: time now / time then, value, low, high."""

    case: str
    entry: str
    ratio: dict[str, float]
    verdict: str


def compare(
    old: Mapping[str, Any], new: Mapping[str, Any], least: float = LEAST
) -> tuple[list[Change], list[str]]:
    """The changes, and the entries that only one of the results has timed.

    Raises ValueError for results of different machines, or without entries that can be matched.
    """
    for results in (old, new):
        if not all("entries" in case for case in results["cases"]):
            raise ValueError("a result has cases without entries: not one of a race")
    if old["machine"]["cpu"] != new["machine"]["cpu"]:
        raise ValueError(
            f"the results are of different machines: {old['machine']['cpu']} and "
            f"{new['machine']['cpu']}"
        )
    before, after = dict(_entries(old)), dict(_entries(new))
    unit = _clock(old, new)
    changes = []
    for key in before.keys() & after.keys():
        ratio = _ratio(before[key], after[key], unit)
        changes.append(Change(*key, ratio, verdict(ratio, least)))
    order = list(after)
    changes.sort(key=lambda change: order.index((change.case, change.entry)))
    alone = sorted(before.keys() ^ after.keys())
    return changes, [f"{case}: {entry}" for case, entry in alone]


def verdict(ratio: Mapping[str, float], least: float) -> str:
    """faster, slower, same or unclear."""
    if ratio["high"] < 1 - least:
        return "faster"
    if ratio["low"] > 1 + least:
        return "slower"
    inside = ratio["low"] >= 1 - least and ratio["high"] <= 1 + least
    return "same" if inside else "unclear"


def _entries(results: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, float]]]:
    for case in results["cases"]:
        for entry in case["entries"]:
            if entry["seconds"] is not None:
                name = f"{entry['name']}: {entry['way']}"
                yield (case["id"], name), entry["seconds"]


def _clock(old: Mapping[str, Any], new: Mapping[str, Any]) -> float:
    """How many times faster the core ran in the new results."""
    peaks = [(results.get("peak") or {}).get("gflops") for results in (old, new)]
    return peaks[1] / peaks[0] if all(peaks) else 1.0


def _ratio(old: Mapping[str, float], new: Mapping[str, float], unit: float) -> dict[str, float]:
    return {
        "value": unit * new["value"] / old["value"],
        "low": unit * new["low"] / old["high"],
        "high": unit * new["high"] / old["low"],
    }


def markdown(changes: list[Change], alone: list[str]) -> str:
    """The table, what changed first."""
    place = ["slower", "faster", "unclear", "same"]
    ordered = sorted(changes, key=lambda change: place.index(change.verdict))
    rows = [(c.verdict, c.case, c.entry, pages.ratio_text(c.ratio)) for c in ordered]
    lines = pages.table(("", "case", "entry", "time now / then"), rows)
    lines += ["", *(f"only in one of them: {name}" for name in alone)]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--least", type=float, default=LEAST, help="smallest change worth a word")
    parser.add_argument("--fail", action="store_true", help="exit code 1 if anything is slower")
    options = parser.parse_args()
    old, new = (json.loads(path.read_text()) for path in (options.old, options.new))
    try:
        changes, alone = compare(old, new, options.least)
    except ValueError as error:
        parser.error(str(error))
    sys.stdout.write(markdown(changes, alone))
    return int(options.fail and any(change.verdict == "slower" for change in changes))


if __name__ == "__main__":
    sys.exit(main())
