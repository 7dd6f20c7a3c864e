"""What every mixture of two families would have been worth: `python bench/quality/mixtures.py`.

From the scores that tabular.py keeps in its work folder, semi-supervised: every family that has all
seeds on all sets, and every pair of them, standardised in both ways (`families.together`). Writes
mixtures.md to bench/results/quality: the best of them, and what the choice itself is worth, where
every set's mixture is the one that is best on the thirteen others.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path

import adbench
import numpy as np
import numpy.typing as npt
from families import BY, MEASURED, together
from kept_scores import KeptScores
from tabular import RESULTS, WORK
from task import NORMAL, Scored
from training import Job, found

from vaelocity.report.metrics import auc

PROTOCOL = "semi_supervised"
SHOWN = 15

Mixture = tuple[str, tuple[str, ...]]
"""How it is standardised, and its members."""

PAIR = (
    ("denoising", "denoising, relative"),
    ("codes of denoising", "codes of denoising, relative"),
)
"""The error and the codes of one model, each plain or relative: few to choose from."""

Areas = dict[Mixture, npt.NDArray[np.float64]]
"""AUROC in per cent, [seeds, sets]."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--work", type=Path, default=WORK, metavar="FOLDER")
    parser.add_argument("--seeds", nargs="*", type=int, default=range(5), metavar="SEED")
    given = parser.parse_args()
    sets = adbench.names()
    areas = _areas(KeptScores(given.work), sets, list(given.seeds))
    path = given.output / "mixtures.md"
    path.write_text(page(areas, sets))
    print(path.read_text())


def _areas(kept: KeptScores, sets: Sequence[str], seeds: Sequence[int]) -> Areas:
    names = [
        name
        for name in MEASURED[PROTOCOL]
        if all(found(kept, Job(PROTOCOL, data, name, seed)) for data in sets for seed in seeds)
    ]
    members = [*((name,) for name in names), *combinations(names, 2)]
    # One family by itself is the same in every standardisation.
    mixtures = [(by, each) for each in members for by in (BY if len(each) > 1 else list(BY)[:1])]
    areas = {mixture: np.zeros((len(seeds), len(sets))) for mixture in mixtures}
    for (row, seed), (column, data) in product(enumerate(seeds), enumerate(sets)):
        normal = Job(PROTOCOL, data, names[0], seed).task().names == NORMAL
        standardised = {
            (by, name): together([_scored(kept, Job(PROTOCOL, data, name, seed))], by).test
            for by, name in product(BY, names)
        }
        for by, each in mixtures:
            scores = np.mean([standardised[by, name] for name in each], axis=0)
            areas[by, each][row, column] = 100 * auc(scores[normal], scores[~normal]).value
        print(data, seed, flush=True)
    return areas


def _scored(kept: KeptScores, job: Job) -> Scored:
    there = found(kept, job)
    assert there is not None
    return there.scored


def page(areas: Areas, sets: Sequence[str]) -> str:
    """Markdown."""
    families = [each[0] for _, each in areas if len(each) == 1]
    pairs = [set(each) for each in product(*PAIR)]
    lines = [
        "# Mixtures of families",
        "",
        "Mean AUROC in per cent over the 14 sets, semi-supervised, written by `python "
        "bench/quality/mixtures.py` from the kept scores of tabular.md. Every family that has all "
        f"seeds, and every pair: {len(areas)} of {', '.join(families)}. Of all of them the labels "
        "say which is best, so that the best figure flatters: beside it stands what the choice is "
        "worth where every set's mixture is the best of the thirteen others.",
        "",
        "| mixture | standardised | mean |",
        "|---|---|---|",
    ]
    best = sorted(areas, key=lambda each: -areas[each].mean())
    for by, members in best[:SHOWN]:
        how = BY[by] if len(members) > 1 else ""
        lines.append(f"| {' + '.join(members)} | {how} | {_spread(areas[by, members])} |")
    few = {(by, each): area for (by, each), area in areas.items() if set(each) in pairs}
    lines += ["", _chosen("all of these", areas, sets)]
    if few:
        text = "the error and the codes of the denoising model, each plain or relative"
        lines += ["", _chosen(text, few, sets)]
    return "\n".join(lines) + "\n"


def left_out(areas: Areas) -> tuple[npt.NDArray[np.float64], list[Mixture]]:
    """AUROC [seeds, sets] where every set's mixture is the one with the highest mean over seeds and
    other sets; and which that was."""
    mixtures = list(areas)
    each = np.stack([areas[mixture] for mixture in mixtures])  # [mixtures, seeds, sets]
    mean = each.mean(axis=1)
    others = mean.sum(axis=1, keepdims=True) - mean
    chosen = others.argmax(axis=0)
    columns = [each[best, :, column] for column, best in enumerate(chosen)]
    return np.stack(columns, axis=1), [mixtures[best] for best in chosen]


def _chosen(what: str, areas: Areas, sets: Sequence[str]) -> str:
    found, chosen = left_out(areas)
    counts = Counter(f"{' + '.join(members)} {BY[by]}" for by, members in chosen)
    times = "; ".join(f"{text} for {count} sets" for text, count in counts.most_common())
    best = max(areas.values(), key=lambda area: area.mean())
    return (
        f"Of {what} ({len(areas)}): best {_spread(best)}, chosen on the others {_spread(found)}. "
        f"Chosen were {times}."
    )


def _spread(area: npt.NDArray[np.float64]) -> str:
    means = area.mean(axis=1)
    if len(means) == 1:
        return f"{means[0]:.2f}"
    return f"{means.mean():.2f} ± {means.std(ddof=1):.2f}"


if __name__ == "__main__":
    main()
