"""Which features make events anomalous: a picture and a table."""

from __future__ import annotations

import numpy as np

from vaelocity.report.collect import Seen
from vaelocity.report.html import Grid, Section
from vaelocity.report.sections import contributions_picture

_SHOWN = 20


def sections(seen: Seen) -> list[Section]:
    """Contributions to the reconstruction score, per class; nothing where the model has none."""
    if seen.features is None:
        return []
    scorer = seen.features
    parts = {name: np.asarray(scorer.score_features(rows)) for name, rows in seen.rows.items()}
    means = {name: part.mean(axis=0, dtype=np.float64) for name, part in parts.items()}
    order = np.argsort(-np.max(list(means.values()), axis=0), kind="stable")[:_SHOWN]
    usual = np.quantile(parts[seen.normal_name], [0.5, 0.99], axis=0)
    rows = []
    for j in order.tolist():
        cells = [f"{mean[j]:.3g}" for mean in means.values()]
        rows.append([scorer.feature_names[j], *cells, f"{usual[0, j]:.3g}", f"{usual[1, j]:.3g}"])
    normal = seen.normal_name
    header = ["feature", *means, f"half of {normal} below", f"99 % of {normal} below"]
    left = scorer.n_features - len(rows)
    caption = "Mean contribution to the reconstruction score, which is the sum over all features."
    caption += f" The {left} features that contribute least are left out." if left > 0 else ""
    kind = seen.scorer.kind
    text = "The reconstruction score is a sum over features; these are the largest terms."
    if kind != "reconstruction":
        text = f"The {kind} score has no parts per feature. {text}"
    figure = contributions_picture(
        parts, scorer.feature_names, "Mean contribution of a feature to the reconstruction score."
    )
    grid = Grid(header, rows, caption)
    return [Section("Which features make events anomalous", [text], [grid], [figure])]
