"""How good made digits are: do they show what they were asked for, and do they look real?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from digits import Floats, Judge, Labels

CONFIDENT = 0.9
"""Probability of one digit above which the judge counts as confident."""

NEIGHBOUR = 5
"""Of the coverage: the radius of a real digit reaches to its k-th neighbour among real ones."""

_ROWS = 500


@dataclass(frozen=True)
class Figures:
    """Of n made digits against as many real test digits.

    asked      share that the judge reads as the label asked for; None without labels
    confident  share to one digit of which the judge gives more than CONFIDENT
    frechet    distance of the judge's features (see `frechet_distance`)
    coverage   see `coverage`
    """

    n: int
    asked: float | None
    confident: float
    frechet: float
    coverage: float


def figures(judge: Judge, made: Floats, label: Labels | None, real: Floats) -> Figures:
    """The figures of `made`, float32 [n, 784]; label: what each was asked for; real: [n, 784]."""
    probabilities = judge.probabilities(made)
    ours, theirs = judge.features(made), judge.features(real)
    return Figures(
        n=len(made),
        asked=None if label is None else float((probabilities.argmax(1) == label).mean()),
        confident=float((probabilities.max(1) > CONFIDENT).mean()),
        frechet=frechet_distance(ours, theirs),
        coverage=coverage(ours, theirs),
    )


def frechet_distance(a: Floats, b: Floats) -> float:
    """||m_a - m_b||^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of rows [n, d] taken as Gaussians
    (Heusel et al., arXiv:1706.08500), with features of the judge in place of Inception's: to be
    compared within one table only."""
    mean = a.mean(0, np.float64) - b.mean(0, np.float64)
    cov_a, cov_b = (np.cov(rows.astype(np.float64), rowvar=False) for rows in (a, b))
    # tr (C_a C_b)^(1/2) from the eigenvalues of the symmetric C_a^(1/2) C_b C_a^(1/2).
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()
    return float(mean @ mean + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def coverage(made: Floats, real: Floats) -> float:
    """Share of the real rows that have a made one nearer than their NEIGHBOUR-th real neighbour
    (Naeem et al., arXiv:2002.09797, equation 9). Real rows against others: about 0.97."""
    radius = np.sqrt(np.partition(_squared(real, real), NEIGHBOUR, axis=1)[:, NEIGHBOUR])
    nearest = np.sqrt(_squared(real, made).min(axis=1))
    return float((nearest < radius).mean())


def _squared(a: Floats, b: Floats) -> npt.NDArray[np.float64]:
    """Squared distances [n_a, n_b], in float64 by blocks of rows."""
    wide = b.astype(np.float64)
    norms = np.square(wide).sum(1)
    parts = []
    for at in range(0, len(a), _ROWS):
        part = a[at : at + _ROWS].astype(np.float64)
        parts.append(np.square(part).sum(1)[:, None] + norms - 2 * part @ wide.T)
    return np.concatenate(parts).clip(0)
