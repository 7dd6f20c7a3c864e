"""Whether a VAE uses its latent space: nats and movement of every unit, the bound, a collapse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vaelocity.report import figures
from vaelocity.report.html import Grid, Section, picture

if TYPE_CHECKING:
    from vaelocity.models.vae import VAE

LEAST, MOST = 100, 1000
"""Rows that the section looks at."""

SAMPLES = 64
"""Of the importance-weighted bound."""

Rows = npt.NDArray[np.floating[Any]]


def section(name: str, model: VAE, rows: Rows) -> Section:
    """Of the VAE called `name`; rows: finite normal events [n, d] that it has not been trained on.

    Needs torch.
    """
    from vaelocity.models import posterior

    title = f"What the {name} keeps in its latent space"
    if len(rows) < LEAST:
        return Section(title, [f"Not looked at: it takes {LEAST} normal events, not {len(rows)}."])
    X = np.ascontiguousarray(rows[:MOST], dtype=np.float32)
    nats, active = posterior.kl_per_dimension(model, X), posterior.active_units(model, X)
    bounds = [
        float(posterior.importance_weighted_bound(model, X, k).mean(dtype=np.float64))
        for k in (1, SAMPLES)
    ]
    alike = posterior.norm_correlation(model, X)
    used = int(active.sum())
    text = [
        f"{used} of {model.latent} latent units are in use: the mean of the others moves by less "
        f"than {posterior.ACTIVE:g} in variance from event to event, so that they say nothing "
        "about it."
        if used < model.latent
        else f"All {used} latent units are in use.",
        "A VAE may learn to ignore its latent space. Its decoder then gives the mean whatever the "
        "event, and its reconstruction score is the squared norm of the standardised event. "
        + _verdict(used, alike),
    ]
    grid = Grid(
        ["", "nats per event"],
        [
            ["evidence lower bound of log p(x), one sample", f"{bounds[0]:.2f}"],
            [f"importance-weighted bound, {SAMPLES} samples", f"{bounds[1]:.2f}"],
            ["what the approximate posterior lacks, at least", f"{bounds[1] - bounds[0]:.2f}"],
            ["KL of all units", f"{nats.sum():.2f}"],
        ],
        f"In the standardised space, p(x|z) having variance 1; {len(X):,} events.",
    )
    bars = picture(
        lambda ax: figures.latent_nats(nats, active, ax=ax),
        "What every latent unit carries: its mean KL, the largest first.",
        "Bar chart of the KL of each latent unit",
    )
    return Section(title, text, [grid], [bars])


def _verdict(used: int, alike: float) -> str:
    if used == 0:
        return "This one has collapsed like that: train it with a smaller beta or a warm-up."
    return (
        f"This one has not: the rank correlation of its reconstruction score with that norm is "
        f"{alike:.2f}, 1 being a collapse."
    )
