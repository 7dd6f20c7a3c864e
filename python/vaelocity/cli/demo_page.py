"""The demo's report.html: the same numbers as in the terminal, and the figures."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

import vaelocity
from vaelocity.cli import study
from vaelocity.cli.demo_tables import estimate_text, speed_rows, stream_text
from vaelocity.report import posterior_section
from vaelocity.report.html import Grid, Picture, Report, Section
from vaelocity.report.metrics import Estimate
from vaelocity.report.sections import (
    FIGURE_ROWS,
    contributions_picture,
    histogram_picture,
    latent_picture,
    roc_picture,
    top_grid,
    training_picture,
)

if TYPE_CHECKING:
    from vaelocity.cli.demo import Outcome


def page(outcome: Outcome) -> Report:
    """The whole page."""
    sections = [
        _quality(outcome),
        *(_model(outcome, model) for model in outcome.models),
        _posterior(outcome),
        _why(outcome),
        _training(outcome),
        _speed(outcome),
        _top(outcome),
    ]
    return Report(
        "Quark jets and what does not look like them", _summary(outcome), sections, _origin(outcome)
    )


def _summary(outcome: Outcome) -> list[str]:
    counts = study.sizes(outcome.sample)
    others = ", ".join(f"{counts[name]:,} {name}" for name in outcome.sample.anomalies)
    widths = "-".join(map(str, (outcome.sample.training.n_features, *study.HIDDEN, study.LATENT)))
    return [
        f"An autoencoder and a variational autoencoder ({widths}, mirrored) learned "
        f"{counts['training']:,} simulated quark jets and no other kind. A jet they cannot "
        f"describe gets a high score. They were tested on {counts['test']:,} other quark jets and "
        f"on jets that neither has ever seen: {others}.",
        f"Training stopped on {counts['stopping']:,} further quark jets and the thresholds come "
        f"from another {counts['threshold']:,}; the tables use none of these.",
    ]


def _estimates(rows: Mapping[str, Mapping[str, Estimate]], scale: float, caption: str) -> Grid:
    classes = list(next(iter(rows.values())))
    cells = [
        [method, *(estimate_text(values[name], scale) for name in classes)]
        for method, values in rows.items()
    ]
    return Grid(["score", *classes], cells, caption)


def _quality(outcome: Outcome) -> Section:
    auc = {result.method.name: result.auc for result in outcome.results}
    efficiency = {result.method.name: result.efficiency for result in outcome.results}
    text = (
        "PCA with as many components as the models have latent dimensions and the squared norm of "
        "the standardised jet need no training worth the name: a model earns its place where it "
        "does better than both."
    )
    kinds = (
        "In the standardised space, x being a jet, y its reconstruction and N(mu, sigma^2) where "
        "the VAE puts it: reconstruction is 1/2 |y - x|^2, kl the divergence of N(mu, sigma^2) "
        "from N(0, 1), elbo the sum of both, mu2 |mu|^2."
    )
    return Section(
        "How well the scores tell other jets from quark jets",
        [kinds, text],
        [
            _estimates(
                auc,
                1,
                "Area under the ROC curve, quark jets against each class; 0.5 is "
                "chance. Standard errors after Hanley and McNeil.",
            ),
            _estimates(
                efficiency,
                100,
                f"Efficiency in %: jets above the cut that "
                f"{100 * study.FPR:g} % of the test quark jets pass. Binomial standard "
                f"errors.",
            ),
        ],
    )


def _model(outcome: Outcome, model: study.Model) -> Section:
    wanted = f"{model.key}_{model.best}"
    result = next(r for r in outcome.results if r.method.key == wanted)
    threshold = model.trained.threshold
    assert threshold is not None
    passing = float(np.mean(result.normal > threshold.value))
    low, high = threshold.interval
    text = (
        f"The threshold for {100 * study.FPR:g} % false positives is {threshold.value:.4g} "
        f"(95 % interval of its false-positive rate: {100 * low:.2f} to {100 * high:.2f} %); "
        f"{100 * passing:.2f} % of the test quark jets are above it."
    )
    name = result.method.name
    pictures = [
        histogram_picture(
            name,
            result.normal,
            result.anomalous,
            normal_name=study.NORMAL,
            threshold=threshold.value,
        ),
        roc_picture(name, result.normal, result.anomalous, normal_name=study.NORMAL),
        _latent(outcome, model),
    ]
    return Section(f"{name} score", [text], pictures=pictures)


def _latent(outcome: Outcome, model: study.Model) -> Picture:
    sample = outcome.sample
    tables = {study.NORMAL: sample.test, **sample.anomalies}
    codes = [np.asarray(model.module.encode(part.rows[:FIGURE_ROWS])) for part in tables.values()]
    return latent_picture(
        codes,
        list(tables),
        f"Where the {model.name} puts the jets: its {study.LATENT} latent dimensions, seen along "
        "the two in which quark jets vary most. At most 1,500 jets of a class.",
    )


def _posterior(outcome: Outcome) -> Section:
    vae = next(model for model in outcome.models if model.key == "vae")
    return posterior_section.section(vae.name, vae.module, outcome.sample.test.rows)


def _why(outcome: Outcome) -> Section:
    scorer = outcome.models[0].scorer("reconstruction")
    sample = outcome.sample
    tables = {study.NORMAL: sample.test, **sample.anomalies}
    parts = {
        name: np.asarray(scorer.score_features(table.rows[:FIGURE_ROWS]))
        for name, table in tables.items()
    }
    return Section(
        "Which features make jets anomalous",
        ["The AE's reconstruction score is a sum over features; these are the largest terms."],
        pictures=[
            contributions_picture(
                parts,
                scorer.feature_names,
                "Mean contribution of a feature to the AE's score, per class.",
            )
        ],
    )


def _training(outcome: Outcome) -> Section:
    histories = {model.name: model.trained.history for model in outcome.models}
    return Section(
        "Training",
        [
            *(
                f"{m.name}: {len(m.trained.history['loss'])} epochs in {m.trained.seconds:.1f} s."
                for m in outcome.models
            ),
            f"The limit of {outcome.settings.epochs} epochs, and kl as the VAE's score in the "
            "figures, were chosen by looking at the tables above, as one would with a few known "
            "anomalies.",
        ],
        pictures=[
            training_picture(
                histories,
                "Loss per jet, on the jets that train and on the jets that stop the training. The "
                "VAE's includes its KL.",
            )
        ],
    )


def _speed(outcome: Outcome) -> Section:
    caption = (
        "The same network and score (AE, reconstruction), measured in turns in one process; each "
        "at the batch size that suits it best, of 512 to 65,536. In brackets: nine rounds in ten."
    )
    grid = Grid(["", "events/s", "batch", "times PyTorch"], speed_rows(outcome.speed), caption)
    return Section("Speed", [stream_text(outcome) + "."], [grid])


def _top(outcome: Outcome) -> Section:
    header = [
        "true class",
        "AE score",
        "row of the stream",
        "largest contributions (share of the score)",
    ]
    return Section("The most anomalous jets", grids=[top_grid(outcome.top, header)])


def _origin(outcome: Outcome) -> list[tuple[str, str]]:
    import torch

    prints = [(f"{m.trained.path.name}", m.trained.scorer.fingerprint) for m in outcome.models]
    return [
        ("vaelocity", vaelocity.__version__),
        ("PyTorch", str(torch.__version__)),
        ("Python", platform.python_version()),
        ("machine", f"{platform.machine()}, {outcome.isa}"),
        ("seed", str(outcome.seed)),
        *prints,
    ]
