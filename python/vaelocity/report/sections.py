"""Pictures and tables that more than one report has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.cli.top import largest, number
from vaelocity.report import figures
from vaelocity.report.html import Grid, Picture, picture
from vaelocity.report.metrics import Scores

FIGURE_ROWS = 4000
"""Events of a class that the latent space and the contributions are drawn from."""


def histogram_picture(
    name: str,
    normal: Scores,
    anomalous: Mapping[str, Scores],
    *,
    normal_name: str,
    threshold: float | None,
) -> Picture:
    """The score called `name` of every class."""
    return picture(
        lambda ax: figures.score_histogram(
            normal,
            anomalous,
            normal_name=normal_name,
            threshold=threshold,
            xlabel=f"{name} score (dimensionless)",
            ax=ax,
        ),
        f"Distribution of the {name} score, every class scaled to the same area."
        if anomalous
        else f"Distribution of the {name} score.",
        f"Histogram of the {name} score" + (" of each class" if anomalous else ""),
    )


def roc_picture(
    name: str, normal: Scores, anomalous: Mapping[str, Scores], *, normal_name: str
) -> Picture:
    """ROC curves of every class against the normal one."""
    return picture(
        lambda ax: figures.roc_curves(normal, anomalous, normal_name=normal_name, ax=ax),
        "Efficiency against false-positive rate, for every cut on the score.",
        f"ROC curves of the {name} score with a logarithmic false-positive axis",
    )


def latent_picture(
    codes: Sequence[npt.NDArray[np.floating[Any]]],
    names: Sequence[str],
    caption: str,
    *,
    projection: str = "pca",
) -> Picture:
    """Codes [n, latent] of every class, the normal one first."""
    labels = np.repeat(np.arange(len(codes)), [len(part) for part in codes])
    every = np.concatenate(list(codes))
    return picture(
        lambda ax: figures.latent_space(every, labels, names, projection=projection, ax=ax),
        caption,
        "Scatter plot of the latent space, coloured by class",
    )


def contributions_picture(
    parts: Mapping[str, npt.NDArray[np.floating[Any]]], feature_names: Sequence[str], caption: str
) -> Picture:
    """Mean contributions [n, d] to the score of every class, the normal one first."""
    return picture(
        lambda ax: figures.contributions(parts, feature_names, ax=ax),
        caption,
        "Bar chart of the mean contribution of features to the score",
        size=(8.5, 6.5),
        wide=True,
    )


def training_picture(
    histories: Mapping[str, Mapping[str, Sequence[float]]], caption: str
) -> Picture:
    """Loss against epoch."""
    return picture(
        lambda ax: figures.training_curves(histories, ax=ax),
        caption,
        "Training and validation loss against epoch",
    )


def top_grid(events: Sequence[Mapping[str, Any]], header: Sequence[str]) -> Grid:
    """What `explain` found, one line an event; header: class (where known), score, row, reasons."""
    labelled = bool(events) and "label" in events[0]
    rows = [
        [
            *([str(event["label"])] if labelled else []),
            number(event["score"]),
            str(event["row"]),
            largest(event),
        ]
        for event in events
    ]
    return Grid(header, rows, text_columns=(0, len(header) - 1) if labelled else (2,))


def percent(part: float) -> str:
    """A part in % with three digits: 12.3, 0.0120, 0."""
    return f"{100 * part:#.3g}".removesuffix(".") if part else "0"
