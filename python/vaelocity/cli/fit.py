"""`vaelocity fit`: train a model on normal events and freeze it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from vaelocity import data as events
from vaelocity.cli import column_options, console, options
from vaelocity.cli.columns import chosen_features, numberings
from vaelocity.cli.console import CommandError
from vaelocity.cli.rows import Rows, choose_rows
from vaelocity.cli.score_loop import label_values
from vaelocity.cli.training import DEFAULT_FPR, Plan, Trained, train
from vaelocity.report.metrics import Estimate, auc


class ModelName(StrEnum):
    """The models `fit` knows."""

    ae = "ae"
    vae = "vae"
    denoising = "denoising"
    sparse = "sparse"


class Weights(StrEnum):
    """What the weights of a model file may be."""

    float32 = "float32"
    bfloat16 = "bfloat16"


_MODEL, _TRAINING, _ROWS = "Model", "Training", "Rows and columns"


def fit(
    data: options.Data,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL.vael", help="Where the model goes.")
    ],
    model: Annotated[
        ModelName, typer.Option("--model", rich_help_panel=_MODEL, help="Kind of model.")
    ] = ModelName.ae,
    latent: Annotated[
        int | None,
        typer.Option(
            "--latent",
            min=1,
            rich_help_panel=_MODEL,
            help="Latent dimensions; default: half the features, at most 16; denoising 64, "
            "sparse 128.",
        ),
    ] = None,
    hidden: Annotated[
        str,
        typer.Option(
            "--hidden",
            rich_help_panel=_MODEL,
            help="Widths of the encoder's hidden layers, the decoder's mirrored; '' for none.",
        ),
    ] = "64,32",
    activation: Annotated[
        str,
        typer.Option(
            "--activation",
            rich_help_panel=_MODEL,
            help="relu leaky_relu tanh sigmoid elu silu gelu identity.",
        ),
    ] = "relu",
    batch_norm: Annotated[
        bool, typer.Option("--batch-norm", rich_help_panel=_MODEL, help="In the hidden layers.")
    ] = False,
    beta: Annotated[
        float | None,
        typer.Option("--beta", min=0, rich_help_panel=_MODEL, help="VAE: weight of the KL; 1."),
    ] = None,
    level: Annotated[
        float | None,
        typer.Option(
            "--level",
            rich_help_panel=_MODEL,
            help="Denoising: deviations of the noise added in training; 1.",
        ),
    ] = None,
    penalty: Annotated[
        float | None,
        typer.Option(
            "--penalty", min=0, rich_help_panel=_MODEL, help="Sparse: weight of the L1 norm; 0.1."
        ),
    ] = None,
    score_kind: Annotated[
        str | None,
        typer.Option(
            "--score-kind",
            rich_help_panel=_MODEL,
            help="reconstruction; a VAE also kl mu2 rz elbo. Default: the model's own.",
        ),
    ] = None,
    weights: Annotated[
        Weights,
        typer.Option(
            "--weights",
            rich_help_panel=_MODEL,
            help="Rounded to bfloat16 they take half the memory; sums stay float32.",
        ),
    ] = Weights.float32,
    epochs: Annotated[
        int,
        typer.Option(
            min=1, rich_help_panel=_TRAINING, help="At most so many passes over the rows."
        ),
    ] = 100,
    batch_size: Annotated[
        int, typer.Option(min=1, rich_help_panel=_TRAINING, help="Rows a step of training.")
    ] = 512,
    lr: Annotated[
        float, typer.Option(rich_help_panel=_TRAINING, help="Learning rate of Adam.")
    ] = 1e-3,
    patience: Annotated[
        int,
        typer.Option(
            min=1,
            rich_help_panel=_TRAINING,
            help="Stop after so many epochs without a lower validation loss.",
        ),
    ] = 10,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            rich_help_panel=_TRAINING,
            help="Of the parts of the rows, the first weights and the order of the rows.",
        ),
    ] = 0,
    validation: Annotated[
        float,
        typer.Option(
            rich_help_panel=_TRAINING,
            help="Part of the rows held out: one half stops the training, the other half "
            "sets the threshold.",
        ),
    ] = 0.2,
    fpr: Annotated[
        float | None,
        typer.Option(
            help="Part of the normal events above the stored threshold; 0 stores none. "
            "Default: 0.01, if enough rows are held out for it."
        ),
    ] = None,
    label: options.Label = None,
    normal: Annotated[
        list[str] | None,
        typer.Option(
            "--normal",
            metavar="VALUE",
            rich_help_panel=_ROWS,
            help="Train on rows with this label only; may be given more than once.",
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            metavar="A,B,...",
            rich_help_panel=_ROWS,
            help="Columns to train on; default: all but label and weight.",
        ),
    ] = None,
    exclude: Annotated[
        str | None,
        typer.Option(
            "--exclude",
            metavar="A,B,...",
            rich_help_panel=_ROWS,
            help="Columns that are no features, such as event numbers.",
        ),
    ] = None,
    weight: Annotated[
        str | None,
        typer.Option(
            "--weight",
            metavar="COLUMN",
            rich_help_panel=_ROWS,
            help="Weights of the events in training (the threshold counts every event once).",
        ),
    ] = None,
    drop_nan: Annotated[
        bool,
        typer.Option(
            "--drop-nan",
            rich_help_panel=_ROWS,
            help="Leave out rows with a NaN or an infinity instead of stopping.",
        ),
    ] = False,
    clip: column_options.Clip = None,
    wrap: column_options.Wrap = None,
    log1p: column_options.Log1p = None,
    mask_zeros: column_options.MaskZeros = None,
    flag_missing: column_options.FlagMissing = None,
    impute: column_options.Impute = None,
    bound: column_options.Bound = None,
    key: options.Key = None,
    file_format: options.FileFormat = None,
    header: options.Header = None,
    delimiter: options.Delimiter = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Train an autoencoder on normal events and freeze it into one file.

    Scaling is learned from the training rows and is part of the model. The threshold comes from
    held-out rows which neither trained the model nor stopped its training.
    """
    options.check_output(output)
    for name, value, its in (
        ("beta", beta, ModelName.vae),
        ("level", level, ModelName.denoising),
        ("penalty", penalty, ModelName.sparse),
    ):
        if value is not None and model is not its:
            raise CommandError(f"--{name} is for --model {its.value}")
    reading = options.Reading(key, file_format, header, delimiter)
    table = events.read(
        data,
        features=chosen_features(data, reading, features, exclude, [label, weight]),
        label=label,
        weight=weight,
        **reading.arguments(),
    )
    for name in numberings(table):
        console.warn(
            f"{name}: whole numbers that rise or are all different, as event numbers are, and it "
            f"is a feature; --exclude {name} leaves it out"
        )
    prepared = column_options.preprocessing(clip, wrap, log1p, mask_zeros, flag_missing, impute)
    may_miss = [*prepared.get("flag", ()), *prepared.get("impute", ())]
    rows = choose_rows(table, normal or [], drop_nan=drop_nan, may_miss=may_miss)
    plan = Plan(
        model=model.value,
        latent=latent or default_latent(table.n_features, model),
        hidden=widths(hidden),
        activation=activation,
        batch_norm=batch_norm,
        beta=beta,
        level=level,
        penalty=penalty,
        kind=score_kind,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        patience=patience,
        seed=seed,
        validation=validation,
        fpr=fpr,
        preprocess=prepared,
        bounds=column_options.bounds(bound),
        weights=weights.value,
    )
    trained = train(plan, rows.normal, output)
    if trained.threshold is None and fpr is None:
        console.warn(
            f"{len(trained.parts.threshold):,} held-out rows are too few for a threshold at "
            f"{DEFAULT_FPR:g}: none is stored (see --fpr and --validation)"
        )
    separation = _separation(trained, rows.others)
    if as_json:
        console.print_json(_as_json(plan, trained, rows, separation))
    else:
        console.out().print(console.facts(_facts(trained, rows, separation)))


def default_latent(n_features: int, model: ModelName = ModelName.ae) -> int:
    """16, but never more than half the features: a wider latent space would copy its input. Noise
    and a penalty forbid that, too: 64 and 128 then."""
    wide = {ModelName.denoising: 64, ModelName.sparse: 128}
    return wide.get(model) or max(1, min(16, n_features // 2))


def widths(text: str) -> tuple[int, ...]:
    """'64,32' as (64, 32)."""
    try:
        found = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        found = (0,)
    if any(width < 1 for width in found):
        raise CommandError(f"--hidden {text}: expected widths such as 64,32")
    return found


def _separation(trained: Trained, others: events.Table) -> dict[str, Estimate]:
    """AUC of the held-out normal rows against every other class that the data hold."""
    if len(others) == 0 or len(trained.parts.threshold) == 0:
        return {}
    scores = trained.scorer.score(others.rows)
    scored = ~np.isnan(scores)
    others, scores = others.select(scored), scores[scored]
    names = label_values(others)
    assert names is not None
    normal = trained.scorer.score(trained.parts.threshold.rows)
    return {str(name): auc(normal, scores[names == name]) for name in np.unique(names)}


def _facts(
    trained: Trained, rows: Rows, separation: Mapping[str, Estimate]
) -> list[tuple[str, str]]:
    parts, scorer = trained.parts, trained.scorer
    loss, best = last_losses(trained.history)
    validated = "" if best is None else f", best validation loss {best:.5g}"
    dropped = f"; {rows.dropped:,} with NaN or infinity left out" if rows.dropped else ""
    found = [
        (
            "rows",
            f"{len(parts.training):,} to train, {len(parts.stopping):,} to stop by, "
            f"{len(parts.threshold):,} for the threshold{dropped}",
        ),
        ("features", f"{scorer.n_features}"),
        (
            "training",
            f"{len(trained.history['loss'])} epochs in {trained.seconds:.1f} s, "
            f"last loss {loss:.5g}{validated}",
        ),
        ("threshold", _threshold_text(trained)),
    ]
    for name, estimate in separation.items():
        found.append((f"AUC, {name}", f"{estimate.value:.4f} ± {estimate.error:.4f}"))
    return [*found, ("saved", f"{trained.path} ({scorer.kind} score)")]


def last_losses(history: Mapping[str, Sequence[float]]) -> tuple[float, float | None]:
    """The training loss of the last epoch, and the lowest validation loss if there was one."""
    validation = history.get("val_loss")
    return history["loss"][-1], min(validation) if validation else None


def _threshold_text(trained: Trained) -> str:
    threshold = trained.threshold
    if threshold is None:
        return "none stored (see --fpr)"
    low, high = threshold.interval
    return (
        f"{threshold.value:.6g}: {100 * threshold.achieved:.3g} % of {threshold.n:,} held-out rows "
        f"are above it (95 % interval {100 * low:.2g} to {100 * high:.2g} %)"
    )


def _as_json(
    plan: Plan, trained: Trained, rows: Rows, separation: Mapping[str, Estimate]
) -> dict[str, Any]:
    parts, threshold = trained.parts, trained.threshold
    loss, best = last_losses(trained.history)
    return {
        "output": str(trained.path),
        "fingerprint": trained.scorer.fingerprint,
        "kind": trained.scorer.kind,
        "plan": asdict(plan),
        "features": trained.scorer.feature_names,
        "rows": {
            "training": len(parts.training),
            "stopping": len(parts.stopping),
            "threshold": len(parts.threshold),
            "others": len(rows.others),
            "dropped": rows.dropped,
        },
        "epochs": len(trained.history["loss"]),
        "loss": loss,
        "best_validation_loss": best,
        "threshold": None if threshold is None else threshold.to_dict(),
        "auc": {name: estimate._asdict() for name, estimate in separation.items()},
        "seconds": trained.seconds,
    }
