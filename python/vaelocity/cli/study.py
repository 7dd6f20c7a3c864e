"""The study of the demo: models trained on quark jets alone, and how they see other jets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import vaelocity
from vaelocity.cli.training import Parts, Plan, Trained, train_parts
from vaelocity.data import Table
from vaelocity.report.metrics import Estimate, auc, efficiency

NORMAL = "quark"
LATENT = 16
HIDDEN = (64, 32)
FPR = 0.01

Rows = npt.NDArray[np.float32]
Scores = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Sample:
    """Quark jets in four parts, no jet in two of them, and the jets of every other class.

    training  the models and the baselines learn from these
    stopping  training stops when the loss on these no longer falls
    threshold the cut for 1 % false positives
    test      every number in the tables
    """

    training: Table
    stopping: Table
    threshold: Table
    test: Table
    anomalies: dict[str, Table]

    def unseen(self) -> Table:
        """Test quarks and every other jet, in random order: what the stream repeats."""
        parts = [self.test, *self.anomalies.values()]
        rows = np.concatenate([part.rows for part in parts])
        labels = np.concatenate([part.labels for part in parts if part.labels is not None])
        order = np.random.default_rng(0).permutation(len(rows))
        return Table(
            rows[order],
            self.test.feature_names,
            labels[order],
            class_names=self.test.class_names,
        )


def split(jets: Table, seed: int) -> Sample:
    """60 % of the quark jets to train on, 10 % to stop by, 10 % for the threshold, 20 % to test."""
    quarks = jets.of_class(NORMAL)
    training, rest = quarks.split(0.6, seed)
    test, rest = rest.split(0.5, seed + 1)
    stopping, threshold = rest.split(0.5, seed + 2)
    others = [name for name in jets.class_names or [] if name != NORMAL]
    return Sample(
        training, stopping, threshold, test, {name: jets.of_class(name) for name in others}
    )


@dataclass(frozen=True)
class Method:
    """One way to score jets. name: for tables; key: for JSON."""

    name: str
    key: str
    score: Callable[[Rows], Scores]


@dataclass(frozen=True)
class Result:
    """AUC of a method against every anomalous class, and efficiency at 1 % false positives."""

    method: Method
    normal: Scores
    anomalous: dict[str, Scores]
    auc: dict[str, Estimate]
    efficiency: dict[str, Estimate]


def baselines(training: Rows) -> list[Method]:
    """PCA with as many components as the models have latent dimensions, and the squared norm.

    Both see the rows standardised by mean and deviation of the training rows, as the models do.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(training.astype(np.float64))
    pca = PCA(LATENT, svd_solver="full").fit(scaler.transform(training.astype(np.float64)))

    def standardised(rows: Rows) -> npt.NDArray[np.float64]:
        return np.asarray(scaler.transform(rows.astype(np.float64)))

    def reconstruction(rows: Rows) -> Scores:
        z = standardised(rows)
        back = pca.inverse_transform(pca.transform(z))
        return np.asarray(0.5 * ((back - z) ** 2).sum(axis=1))

    def norm(rows: Rows) -> Scores:
        return np.asarray(0.5 * (standardised(rows) ** 2).sum(axis=1))

    return [
        Method(f"PCA reconstruction, {LATENT} components", "pca_reconstruction", reconstruction),
        Method("squared norm of the standardised jet", "squared_norm", norm),
    ]


def frozen(name: str, key: str, path: Path, kinds: Sequence[str]) -> list[Method]:
    """One method per score kind of a model file, scored by the fused scorer."""
    found = []
    for kind in kinds:
        scorer = vaelocity.load(path, kind=kind)
        found.append(Method(f"{name} {kind}", f"{key}_{kind}", scorer.score))
    return found


def evaluate(methods: Sequence[Method], sample: Sample) -> list[Result]:
    """Every method on the test quarks and on all jets of the other classes."""
    results = []
    for method in methods:
        normal = method.score(sample.test.rows)
        anomalous = {name: method.score(part.rows) for name, part in sample.anomalies.items()}
        results.append(
            Result(
                method,
                normal,
                anomalous,
                {name: auc(normal, scores) for name, scores in anomalous.items()},
                {name: efficiency(normal, scores, FPR) for name, scores in anomalous.items()},
            )
        )
    return results


@dataclass(frozen=True)
class Settings:
    """How long the demo trains and measures.

    The number of epochs was chosen by looking at the tables of this sample, as one would choose it
    for a new data set with a few known anomalies.
    """

    epochs: int = 60
    batch_size: int = 256
    lr: float = 2e-3
    patience: int = 20
    stream_rows: int = 5_000_000
    race_rows: int = 131_072
    race_rounds: int = 15


QUICK = Settings(epochs=2, stream_rows=50_000, race_rows=8192, race_rounds=3, batch_size=1024)


@dataclass(frozen=True)
class Model:
    """A trained and frozen model of the demo. best: the score kind its figures show."""

    name: str
    key: str
    trained: Trained
    module: Any
    best: str

    def scorer(self, kind: str) -> vaelocity.Scorer:
        return vaelocity.load(self.trained.path, kind=kind)


def train_models(sample: Sample, settings: Settings, folder: Path, seed: int) -> list[Model]:
    """Train and freeze the autoencoder and the VAE of the demo."""
    parts = Parts(sample.training, sample.stopping, sample.threshold)
    models = []
    for name, key, kind in (("AE", "ae", "reconstruction"), ("VAE", "vae", "kl")):
        plan = Plan(
            model=key,
            latent=LATENT,
            hidden=HIDDEN,
            activation="relu",
            batch_norm=False,
            beta=None,
            level=None,
            penalty=None,
            kind=kind,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            lr=settings.lr,
            patience=settings.patience,
            seed=seed,
            validation=0.0,
            fpr=FPR,
        )
        module, trained = train_parts(plan, parts, folder / f"jets-{key}.vael")
        models.append(Model(name, key, trained, module, kind))
    return models


def all_methods(models: Sequence[Model], sample: Sample) -> list[Method]:
    """The frozen models' score kinds, then the baselines."""
    ae, vae = models
    return [
        *frozen(ae.name, ae.key, ae.trained.path, ["reconstruction"]),
        *frozen(vae.name, vae.key, vae.trained.path, ["kl", "elbo", "reconstruction", "mu2"]),
        *baselines(sample.training.rows),
    ]


def sizes(sample: Sample) -> dict[str, int]:
    """Jets per part of the sample."""
    return {
        "training": len(sample.training),
        "stopping": len(sample.stopping),
        "threshold": len(sample.threshold),
        "test": len(sample.test),
        **{name: len(part) for name, part in sample.anomalies.items()},
    }
