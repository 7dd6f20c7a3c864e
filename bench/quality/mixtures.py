"""What other scores would have been worth than those of the table.

    python bench/quality/mixtures.py [--work FOLDER]

From the scores that tabular.py keeps in its work folder, semi-supervised: every pair of families
that have all seeds on all sets, standardised in both ways (`families.together`); and scores
relative to those of the neighbours with other exponents. Writes mixtures.md to
bench/results/quality: the best of them, and what the choice itself is worth, where every set has
what is best on the thirteen others.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import TypeVar

import adbench
import numpy as np
import numpy.typing as npt
from families import BY, MEASURED, together
from kept_scores import KeptScores
from tabular import RESULTS, WORK
from task import NORMAL, Floats, Scored
from training import Job, found

from vaelocity.report.metrics import auc

PROTOCOL = "semi_supervised"
SHOWN = 15

EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""e in s / m^e, where the relative score is s / sqrt(m): 0 leaves the score s as it is, 1 is its
ratio to the mean m of its neighbours'."""

SINGLE = ("denoising", "masked", "codes of denoising", "5 neighbours")
PAIRS = (("denoising", "codes of denoising"), ("denoising", "5 neighbours"))
"""Of which the exponents are tried, by themselves and, with the same exponent, together."""

Matrix = npt.NDArray[np.float64]
"""AUROC in per cent, [seeds, sets]."""

Key = TypeVar("Key", bound=Hashable)

Mixture = tuple[str, tuple[str, ...]]
"""How it is standardised, and its members."""

Power = tuple[tuple[str, ...], float]
"""Members, and the exponent of their relative scores."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--work", type=Path, default=WORK, metavar="FOLDER")
    parser.add_argument("--seeds", nargs="*", type=int, default=range(5), metavar="SEED")
    given = parser.parse_args()
    scores = AllScores(KeptScores(given.work), list(given.seeds))
    if not (scores.sets and scores.names):
        raise SystemExit(f"--work: {given.work} has no family with all seeds on all sets")
    path = given.output / "mixtures.md"
    path.write_text(page(_mixtures(scores), _powers(scores)))
    print(path.read_text())


class AllScores:
    """The kept scores of the families (`names`) that have all seeds on all sets."""

    def __init__(self, kept: KeptScores, seeds: Sequence[int]) -> None:
        self.kept, self.seeds, self.sets = kept, seeds, adbench.names()
        self.names = [name for name in MEASURED[PROTOCOL] if all(self._jobs(name))]

    def _jobs(self, name: str) -> Iterator[bool]:
        for data, seed in product(self.sets, self.seeds):
            yield found(self.kept, Job(PROTOCOL, data, name, seed)) is not None

    def __iter__(self) -> Iterator[tuple[int, int, npt.NDArray[np.bool_], dict[str, Scored]]]:
        """Of every seed and every set: where they stand in a matrix, which test rows are normal,
        the scores by family."""
        for (row, seed), (column, data) in product(enumerate(self.seeds), enumerate(self.sets)):
            normal = Job(PROTOCOL, data, self.names[0], seed).task().names == NORMAL
            scored = {}
            for name in self.names:
                there = found(self.kept, Job(PROTOCOL, data, name, seed))
                assert there is not None
                scored[name] = there.scored
            yield row, column, normal, scored

    def empty(self) -> Matrix:
        """Of all seeds and sets."""
        return np.zeros((len(self.seeds), len(self.sets)))


def _mixtures(scores: AllScores) -> dict[Mixture, Matrix]:
    """One family, and every pair in both standardisations."""
    single = [("deviation", (name,)) for name in scores.names]
    pairs = product(BY, combinations(scores.names, 2))
    areas = {mixture: scores.empty() for mixture in (*single, *pairs)}
    for row, column, normal, scored in scores:
        each = {(by, name): together([scored[name]], by).test for by in BY for name in scored}
        for (by, members), area in areas.items():
            area[row, column] = _area([each[by, name] for name in members], normal)
    return areas


def _powers(scores: AllScores) -> dict[Power, Matrix]:
    """Of the families that are there both plain and relative."""
    members = [*((name,) for name in SINGLE), *PAIRS]
    there = [each for each in members if all(f"{name}, relative" in scores.names for name in each)]
    areas = {power: scores.empty() for power in product(there, EXPONENTS)}
    for row, column, normal, scored in scores:
        for (each, exponent), area in areas.items():
            powers = [
                together([power(scored[name], scored[f"{name}, relative"], exponent)], "deviation")
                for name in each
            ]
            area[row, column] = _area([one.test for one in powers], normal)
    return areas


def power(plain: Scored, relative: Scored, exponent: float) -> Scored:
    """s / m^exponent from s and s / sqrt(m)."""

    def of(s: Floats, r: Floats) -> Floats:
        # m = (s / r)^2; a score of 0 stays 0.
        mean = np.divide(s, r, out=np.ones_like(s), where=(s > 0) & (r > 0)) ** 2
        return s / mean**exponent

    return Scored(of(plain.train, relative.train), of(plain.test, relative.test))


def _area(scores: Sequence[Floats], normal: npt.NDArray[np.bool_]) -> float:
    together = np.mean(scores, axis=0)
    return 100 * auc(together[normal], together[~normal]).value


def left_out(areas: Mapping[Key, Matrix]) -> tuple[Matrix, list[Key]]:
    """AUROC [seeds, sets] where every set has what has the highest mean over seeds and other sets;
    and what that was."""
    keys = list(areas)
    each = np.stack([areas[key] for key in keys])  # [keys, seeds, sets]
    mean = each.mean(axis=1)
    others = mean.sum(axis=1, keepdims=True) - mean
    chosen = others.argmax(axis=0)
    columns = [each[best, :, column] for column, best in enumerate(chosen)]
    return np.stack(columns, axis=1), [keys[best] for best in chosen]


def page(mixtures: Mapping[Mixture, Matrix], powers: Mapping[Power, Matrix]) -> str:
    """Markdown."""
    families = [members[0] for _, members in mixtures if len(members) == 1]
    chosen, which = left_out(mixtures)
    counts = Counter(_name(members, by) for by, members in which)
    times = "; ".join(f"{text}: {count}" for text, count in counts.most_common())
    best = sorted(mixtures, key=lambda each: -mixtures[each].mean())
    lines = [
        "# Mixtures and exponents",
        "",
        "Mean AUROC in per cent over the 14 sets, semi-supervised, with the standard deviation "
        "over the seeds, written by `python bench/quality/mixtures.py` from the kept scores of "
        "[tabular.md](tabular.md). Which is best, the labels of these sets say: that flatters. "
        "Beside it stands what the choice is worth where it is made for every set on the thirteen "
        "others.",
        "",
        "## Every pair of families",
        "",
        f"{len(mixtures)} of {'; '.join(families)}. The best:",
        "",
        "| mixture | mean |",
        "|---|---|",
        *(f"| {_name(each, by)} | {_spread(mixtures[by, each])} |" for by, each in best[:SHOWN]),
        "",
        f"Chosen on the other sets: {_spread(chosen)}. How often which was chosen: {times}.",
        "",
        "## Scores relative to those of the neighbours, with other exponents",
        "",
        "s / m^e, where m is the mean score of the neighbours: e = 0 is the score itself, 1 its "
        "ratio to theirs, 1/2 the geometric mean of both, which `relative` takes. Pairs have one "
        "exponent and are standardised by mean and standard deviation. The last two columns: the "
        "exponent chosen on the other sets, of 0, 1/2 and 1, and of all.",
        "",
        f"| score | {' | '.join(f'{e:g}' for e in EXPONENTS)} | of three | of all |",
        "|---|" + "---|" * (len(EXPONENTS) + 2),
    ]
    for members in dict.fromkeys(members for members, _ in powers):
        all_ = {e: powers[members, e] for e in EXPONENTS}
        three = {e: all_[e] for e in (0.0, 0.5, 1.0)}
        cells = [_spread(area) for area in all_.values()]
        cells += [_spread(left_out(each)[0]) for each in (three, all_)]
        lines.append(f"| {' + '.join(members)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _name(members: Sequence[str], by: str) -> str:
    return " + ".join(members) + (f" ({BY[by]})" if len(members) > 1 else "")


def _spread(area: Matrix) -> str:
    means = area.mean(axis=1)
    if len(means) == 1:
        return f"{means[0]:.2f}"
    return f"{means.mean():.2f} ± {means.std(ddof=1):.2f}"


if __name__ == "__main__":
    main()
