"""Splitting, training, the threshold and freezing, as `fit` does them."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import vaelocity
from vaelocity import data as events
from vaelocity.cli import console
from vaelocity.cli.console import CommandError
from vaelocity.cli.torch_threads import torch_threads, training_threads
from vaelocity.threshold import LEAST_ABOVE, Threshold

if TYPE_CHECKING:
    from vaelocity.models.dense import DenseModel

DEFAULT_FPR = 0.01


@dataclass(frozen=True)
class Plan:
    """What to train and how; the names are those of the options of `fit`.

    fpr: 0 for no threshold; None for one at 1 %, if there are enough held-out rows for it.
    preprocess: arguments of `Model.preprocess`. bounds: of `DenseModel.bound`.
    weights: see `Model.save`.
    """

    model: str
    latent: int
    hidden: tuple[int, ...]
    activation: str
    batch_norm: bool
    beta: float | None
    level: float | None
    penalty: float | None
    kind: str | None
    epochs: int
    batch_size: int
    lr: float
    patience: int
    seed: int
    validation: float
    fpr: float | None
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    bounds: Mapping[str | int, float] = field(default_factory=dict)
    weights: str = "float32"


@dataclass(frozen=True)
class Parts:
    """The normal events: to learn from, to stop the training by, to set the threshold by."""

    training: events.Table
    stopping: events.Table
    threshold: events.Table


def split(table: events.Table, plan: Plan) -> Parts:
    """Divide at random by plan.seed; what is held out is halved.

    Raises CommandError where the parts would be too small for what is asked.
    """
    if not 0 <= plan.validation < 1:
        raise CommandError(f"--validation {plan.validation:g}: expected 0 or more, less than 1")
    if plan.fpr is not None and not 0 <= plan.fpr < 1:
        raise CommandError(f"--fpr {plan.fpr:g}: expected 0 or more, less than 1")
    training, held = table.split(1 - plan.validation, plan.seed)
    stopping, threshold = held.split(0.5, plan.seed + 1)
    if len(training) < 2:
        raise CommandError(f"the data have {len(table)} rows to train on, which is too few")
    if plan.fpr is not None:
        _check_enough(plan.fpr, len(threshold), plan.validation, len(table))
    return Parts(training, stopping, threshold)


def _check_enough(fpr: float, held: int, validation: float, rows: int) -> None:
    if _enough(fpr, held):
        return
    raise CommandError(
        f"--fpr {fpr:g} needs {math.ceil(LEAST_ABOVE / fpr):,} held-out rows for the threshold, "
        f"and there are {held:,} (half of --validation {validation:g} of {rows:,}): raise one "
        "of them, or --fpr 0 for no threshold"
    )


def _enough(fpr: float, held: int) -> bool:
    return fpr == 0 or fpr * held >= LEAST_ABOVE


@dataclass(frozen=True)
class Trained:
    """A frozen model: where it is, how training went, and its threshold (None if not asked for)."""

    path: Path
    parts: Parts
    history: dict[str, list[float]]
    seconds: float
    threshold: Threshold | None
    scorer: vaelocity.Scorer


def build(plan: Plan, feature_names: list[str]) -> DenseModel:
    """The untrained model."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise CommandError('training needs PyTorch: pip install "vaelocity[train]"') from error
    from vaelocity import models

    arguments: dict[str, Any] = {
        "latent": plan.latent,
        "hidden": plan.hidden,
        "activation": plan.activation,
        "batch_norm": plan.batch_norm,
        "feature_names": feature_names,
    }
    if plan.model == "vae":
        beta = 1.0 if plan.beta is None else plan.beta
        return models.VAE(len(feature_names), beta=beta, **arguments)
    if plan.model == "denoising":
        level = 1.0 if plan.level is None else plan.level
        return models.DenoisingAutoencoder(len(feature_names), level=level, **arguments)
    if plan.model == "sparse":
        penalty = 0.1 if plan.penalty is None else plan.penalty
        if arguments.pop("batch_norm"):
            raise CommandError("--batch-norm is not for --model sparse")
        return models.SparseAutoencoder(len(feature_names), penalty=penalty, **arguments)
    return models.Autoencoder(len(feature_names), **arguments)


def train(plan: Plan, table: events.Table, output: Path) -> Trained:
    """Split `table` (normal events only), train, find the threshold, write the file."""
    return train_parts(plan, split(table, plan), output)[1]


def train_parts(plan: Plan, parts: Parts, output: Path) -> tuple[DenseModel, Trained]:
    """The trained module, and the frozen model. Parts that are empty are not used."""
    model = build(plan, parts.training.feature_names)
    try:
        model.preprocess(**plan.preprocess)
        model.bound(plan.bounds)
    except ValueError as error:
        raise CommandError(str(error)) from error
    kinds = model.frozen_kinds()
    if plan.kind is not None and plan.kind not in kinds:
        raise CommandError(f"--score-kind {plan.kind}: this model has {', '.join(kinds)}")
    start = time.perf_counter()
    with _together():
        _fit(model, plan, parts)
    seconds = time.perf_counter() - start
    fpr = plan.fpr
    if fpr is None:
        fpr = DEFAULT_FPR if _enough(DEFAULT_FPR, len(parts.threshold)) else 0.0
    threshold = freeze(model, output, plan.kind, parts.threshold, fpr, plan.weights)
    scorer = vaelocity.load(output, kind=plan.kind)
    return model, Trained(output, parts, model.history, seconds, threshold, scorer)


@contextmanager
def _together() -> Iterator[None]:
    """Under torchrun the processes train one model, and then the first one goes on alone."""
    from vaelocity.distributed import ProcessFailed, group, is_first

    try:
        with group():
            yield
            if not is_first():
                raise typer.Exit
    except ProcessFailed as error:
        raise CommandError(str(error)) from error


def _fit(model: DenseModel, plan: Plan, parts: Parts) -> None:
    from vaelocity.models.posterior import PosteriorCollapse
    from vaelocity.train import TrainingDiverged

    stopping = parts.stopping if len(parts.stopping) else None
    parameters = sum(parameter.numel() for parameter in model.parameters())
    threads = torch_threads(training_threads(parameters, plan.batch_size))
    try:
        with threads, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", PosteriorCollapse)
            model.fit(
                parts.training.rows,
                None if stopping is None else stopping.rows,
                epochs=plan.epochs,
                batch_size=plan.batch_size,
                lr=plan.lr,
                seed=plan.seed,
                weight=parts.training.weights,
                patience=plan.patience,
                weight_val=None if stopping is None else stopping.weights,
            )
    except TrainingDiverged as error:
        raise CommandError(str(error)) from error
    for warning in caught:
        console.warn(str(warning.message))


def freeze(
    model: DenseModel,
    output: Path,
    kind: str | None,
    held: events.Table,
    fpr: float,
    weights: str = "float32",
) -> Threshold | None:
    """Save `model` with the threshold at `fpr` (0: none) and the histogram of the scores of `held`.

    The scores are those of the frozen file, so that the threshold is exact for what is deployed:
    it is written twice, first without, then with the threshold.
    """
    if len(held) == 0:
        model.save(output, kind=kind, weights=weights)
        return None
    draft = output.with_name(f".{output.name}.{os.getpid()}.draft")
    try:
        model.save(draft, kind=kind, weights=weights)
        scorer = vaelocity.load(draft)
    finally:
        draft.unlink(missing_ok=True)
    thresholds = [scorer.threshold_for(held.rows, fpr=fpr)] if fpr else []
    histograms = [scorer.histogram(held.rows)]
    model.save(output, kind=kind, thresholds=thresholds, histograms=histograms, weights=weights)
    return thresholds[0] if thresholds else None
