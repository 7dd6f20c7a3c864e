"""bench/results/README.md: what all committed results say, in short.

    python bench/tables.py          # writes it, and one plot a machine (needs matplotlib)
    python bench/tables.py --check  # exit code 1 where it is not what the JSON files say

Of every other implementation the fastest of its ways is shown, as its time divided by ours.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaelocity.benchmark import pages
from vaelocity.benchmark.race import OURS

RESULTS = Path(__file__).parent / "results"
TITLES = {
    "score": "The scorer",
    "ops": "The operations, forward and backward",
    "fit": "Training",
    "stream": "A stream",
    "stream-scaling": "A stream by scoring threads",
    "stream-ray": "Ray Data",
    "gpu": "The scorer on a GPU",
}
SIZES = ("4096x16", "4096x784", "VAE loss")
"""Of the operations' cases those with one of these in their name."""


def page() -> str:
    """The whole file."""
    lines = [
        "# What was measured",
        "",
        "Written by `python bench/tables.py` from the JSON files beside it, never by hand. A "
        "ratio is the time of the other implementation divided by ours, with a 95 % interval: "
        "above 1 ours is faster. Each page has every way that was tried, the versions and the "
        "requirements. `vaelocity bench` makes the first table on your machine, for your model.",
    ]
    for folder in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        found = {stem: folder / f"{stem}.json" for stem in TITLES}
        files = {stem: path for stem, path in found.items() if path.exists()}
        if files:
            lines += ["", f"## {folder.name}"]
        for stem, path in files.items():
            results = json.loads(path.read_text())
            lines += ["", *_section(stem, results, folder)]
    return "\n".join(lines) + "\n"


def _section(stem: str, results: Mapping[str, Any], folder: Path) -> list[str]:
    about = results["machine"]
    head = [
        f"### {TITLES[stem]}",
        "",
        f"{about['cpu']}, {results['date']}, commit {about['commit']} "
        f"([page]({folder.name}/{stem}.md), [JSON]({folder.name}/{stem}.json)).",
    ]
    if (folder / f"{stem}.svg").exists():
        head += ["", f"![]({folder.name}/{stem}.svg)"]
    if stem == "gpu":
        return [*head, "", *_promises(results["requirements"])]
    if stem.startswith("stream"):
        return [*head, "", *_streams(results["cases"])]
    cases = [case for case in results["cases"] if _shown(stem, case)]
    return [*head, "", *_table(cases)] if cases else head


def _promises(found: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [(each["name"], each["wanted"], each["measured"]) for each in found]
    return pages.table(("", "wanted", "measured"), rows)


def _streams(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        (
            case["title"],
            f"{case['events_per_second'] / 1e6:.2f}",
            pages.ratio_text(case["ratio"]),
            case["of"] if case["ratio"] else "",
            " / ".join(pages.time_text(seconds) for seconds in (case["latency"] or {}).values()),
            case["wanted"],
        )
        for case in cases
    ]
    head = ("", "million events/s", "part", "of", "p50 / p99 / p99.9", "wanted")
    return pages.table(head, rows)


def _shown(stem: str, case: Mapping[str, Any]) -> bool:
    if stem != "ops":
        return not case["id"].endswith("/threads")
    return any(size in case["id"] for size in SIZES) and case["id"].endswith("and backward")


def _table(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    rivals = list(dict.fromkeys(name for case in cases for name in best(case)))
    timed = [(case, ours) for case in cases if (ours := _ours(case)) is not None]
    peaks = any(ours["percent_of_peak"] for _, ours in timed)
    rows = []
    for case, ours in timed:
        found = best(case)
        cells = [case.get("title", case["id"]), pages.time_text(ours["seconds"]["value"])]
        cells += [f"{ours['percent_of_peak'] or 0:.0f}"] * peaks
        rows.append((*cells, *(pages.ratio_text(found.get(name)) for name in rivals)))
    return pages.table(("", "vaelocity", *["% of peak"] * peaks, *rivals), rows)


def _ours(case: Mapping[str, Any]) -> Mapping[str, Any] | None:
    mine = [e for e in case["entries"] if e["name"] == OURS and e["seconds"]]
    return mine[0] if mine else None


def best(case: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Implementation to the smallest of its ratios, those for information left out."""
    found: dict[str, dict[str, float]] = {}
    for entry in case["entries"]:
        name, ratio = entry["name"], entry["speedup"]
        if ratio is None or entry["information"] or name.startswith(OURS):
            continue
        if name not in found or ratio["value"] < found[name]["value"]:
            found[name] = ratio
    return found


def plot(path: Path) -> None:
    """score.svg beside score.json: the ratios of every batch size."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    cases = [c for c in json.loads(path.read_text())["cases"] if _shown("score", c)]
    rivals = list(dict.fromkeys(name for case in cases for name in best(case)))
    height = 0.8 / max(len(rivals), 1)
    with mpl.rc_context({"svg.hashsalt": "vaelocity", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 0.75 * len(cases) + 1), layout="constrained")
        ax = figure.add_subplot()
        for k, name in enumerate(rivals):
            ratios = [best(case).get(name, {"value": float("nan")})["value"] for case in cases]
            places = [i + (k - len(rivals) / 2 + 0.5) * height for i in range(len(cases))]
            ax.barh(places, ratios, height, label=name)
        ax.axvline(1, color="black", linewidth=1)
        ax.set_yticks(range(len(cases)), [case["title"] for case in cases])
        ax.invert_yaxis()
        ax.set(xscale="log", xlabel="their time / ours, the best of their ways")
        ax.legend(frameon=False, fontsize=8)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    options = parser.parse_args()
    target = RESULTS / "README.md"
    if options.check:
        return int(not target.exists() or target.read_text() != page())
    for path in sorted(RESULTS.glob("*/score.json")):
        plot(path)
    target.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
