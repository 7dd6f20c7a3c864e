"""Which features make events anomalous: a picture and a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.report.collect import Seen
from vaelocity.report.html import Grid, Picture, Section, picture
from vaelocity.report.images import pixel_contributions
from vaelocity.report.sections import contributions_picture

_SHOWN = 20
_CLASSES_SHOWN = 5

Parts = Mapping[str, npt.NDArray[np.floating[Any]]]


def sections(seen: Seen, image: tuple[int, int] | None) -> list[Section]:
    """Contributions to the reconstruction score, per class; nothing where the model has none."""
    if seen.features is None:
        return []
    shown = list(seen.rows)[:_CLASSES_SHOWN]
    parts = {name: np.asarray(seen.features.score_features(seen.rows[name])) for name in shown}
    text = ["The reconstruction score is a sum over features; these are the largest terms."]
    if seen.scorer.kind != "reconstruction":
        text.insert(0, f"The {seen.scorer.kind} score has no parts per feature.")
    if len(shown) < len(seen.rows):
        text.append(f"Of the {len(seen.rows)} classes the first {len(shown)} are shown.")
    grids = [] if image else [_table(parts, seen.features.feature_names)]
    figure = _pixels(parts, image) if image else _bars(parts, seen.features.feature_names)
    return [Section("Which features make events anomalous", text, grids, [figure])]


def _table(parts: Parts, feature_names: list[str]) -> Grid:
    means = {name: part.mean(axis=0, dtype=np.float64) for name, part in parts.items()}
    normal = next(iter(parts))
    order = np.argsort(-np.max(list(means.values()), axis=0), kind="stable")[:_SHOWN]
    usual = np.quantile(parts[normal], [0.5, 0.99], axis=0)
    rows = []
    for j in order.tolist():
        cells = [f"{mean[j]:.3g}" for mean in means.values()]
        rows.append([feature_names[j], *cells, f"{usual[0, j]:.3g}", f"{usual[1, j]:.3g}"])
    header = ["feature", *means, f"half of {normal} below", f"99 % of {normal} below"]
    left = len(feature_names) - len(rows)
    caption = "Mean contribution to the reconstruction score of each class, and what is usual."
    caption += f" The {left} features that contribute least are left out." if left > 0 else ""
    return Grid(header, rows, caption)


def _bars(parts: Parts, feature_names: list[str]) -> Picture:
    caption = "Mean contribution of a feature to the reconstruction score, per class."
    return contributions_picture(parts, feature_names, caption)


def _pixels(parts: Parts, image: tuple[int, int]) -> Picture:
    means = {name: part.mean(axis=0, dtype=np.float64) for name, part in parts.items()}
    return picture(
        lambda ax: pixel_contributions(means, image, ax=ax),
        "Mean contribution of every pixel to the reconstruction score, per class (square root).",
        "One image a class, dark where the reconstruction is worst",
        size=(8.5, 8.5 * image[0] / (len(means) * image[1]) + 0.3),
        wide=True,
    )
