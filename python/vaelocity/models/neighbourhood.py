"""The nearest of a set of points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.models.relative import saturated

Floats = npt.NDArray[np.float32]

_ROWS = 4096  # whose neighbours are held in float64 at a time


@dataclass(frozen=True)
class Nearest:
    """who: the nearest of the set, int64 [n, neighbours], in no order; distance: the mean distance
    to them, float32 [n]."""

    who: npt.NDArray[np.int64]
    distance: Floats


class Neighbourhood:
    """Points, float32 [N, d] and finite, among which the nearest of others are found, and of each
    of them.

    The distance is Euclidean, in float64 of the float32 coordinates. scikit-learn searches: a k-d
    tree where there are few coordinates, else all pairs. The search is exact; of points that are
    equally far away it may take any.

    Args:
        points: more than `neighbours` of them.
        neighbours: how many.

    Raises:
        ValueError: too few points.
        ImportError: without scikit-learn, which the extra vaelocity[neighbours] brings.
    """

    def __init__(self, points: Floats, neighbours: int) -> None:
        if len(points) <= neighbours:
            raise ValueError(
                f"X: expected more rows than the {neighbours} neighbours of each, got {len(points)}"
            )
        self.points = points
        self.neighbours = neighbours
        self._search = _nearest_neighbors().fit(points)

    def nearest(self, points: Floats) -> Nearest:
        """The nearest of the set to others [n, d], finite."""
        who = self._search.kneighbors(points, self.neighbours, return_distance=False)
        return Nearest(who, self._distance(points, who))

    def nearest_to_own(self) -> Nearest:
        """The nearest to every point of the set among the others: no point is its own neighbour,
        another one in the same place is."""
        n = len(self.points)
        who = self._search.kneighbors(self.points, self.neighbours + 1, return_distance=False)
        out = who == np.arange(n)[:, None]
        # Where more points lie in one place than are asked for, a point may not be found itself.
        out[~out.any(axis=1), -1] = True
        who = who[~out].reshape(n, self.neighbours)
        return Nearest(who, self._distance(self.points, who))

    def _distance(self, points: Floats, who: npt.NDArray[np.int64]) -> Floats:
        """Not the distances of the search: that of all pairs takes differences of squares, so that
        rows in one place may be 1e-8 apart, and a distance may depend on the rows beside it."""
        found = np.empty(len(points), np.float32)
        for start in range(0, len(points), _ROWS):
            part = slice(start, start + _ROWS)
            apart = points[part, None].astype(np.float64) - self.points[who[part]]
            found[part] = saturated(np.sqrt(np.square(apart).sum(axis=2)).mean(axis=1))
        return found


def _nearest_neighbors() -> Any:
    try:
        from sklearn.neighbors import NearestNeighbors
    except ImportError as error:
        raise ImportError(
            f"nearest neighbours need scikit-learn, which cannot be imported ({error}): "
            'pip install "vaelocity[neighbours]"'
        ) from error
    return NearestNeighbors()
