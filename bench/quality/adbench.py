"""The 14 ADBench sets as the published tables use them: see the README of the data folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from task import NORMAL, Task

from vaelocity.report.metrics import auc

MOST_ROWS, LEAST_ROWS = 50_000, 1000

STEPS = 1000
"""Of training, whatever the size of the set: rows of a small one are seen more often."""

REPEATED = "pima"
"""The set of which half of the normal test rows are training rows, semi-supervised: see `task`."""

PROTOCOLS = ("semi_supervised", "unsupervised")

Floats = npt.NDArray[np.float32]


def data_folder() -> Path:
    """VAELOCITY_DATA, or ../shared/data beside the checkout."""
    default = Path(__file__).parents[3] / "shared" / "data"
    return Path(os.environ.get("VAELOCITY_DATA", default))


def names() -> list[str]:
    """Of the sets."""
    return sorted(files())


def files() -> dict[str, Path]:
    """By the name of the set, in small letters."""
    found = (data_folder() / "adbench").glob("*.npz")
    return {path.stem.split("_", 1)[1].lower(): path for path in found}


def task(name: str, protocol: str, seed: int) -> Task:
    """One set under one protocol. The seed matters where rows are drawn: a set of less than 1,000
    rows is drawn from itself up to 1,000, so that a row of the training part may come again in the
    test part (as in the published figures); unsupervised training is on a bootstrap sample."""
    with np.load(files()[name], allow_pickle=False) as arrays:
        X, y = arrays["X"].astype(np.float64), arrays["y"].ravel().astype(np.int64)
    rng = np.random.default_rng(seed)
    if len(X) < LEAST_ROWS:
        drawn = rng.choice(len(X), LEAST_ROWS, replace=True)
        X, y = X[drawn], y[drawn]
    elif len(X) > MOST_ROWS:
        drawn = np.sort(rng.choice(len(X), MOST_ROWS, replace=False))
        X, y = X[drawn], y[drawn]
    if protocol == "unsupervised":
        bootstrap = rng.integers(len(X), size=len(X))
        return Task(*_float32(X[bootstrap], X), _named(y), STEPS)
    normal = np.flatnonzero(y == 0)
    training = normal[: len(normal) // 2]
    rest = np.setdiff1d(np.arange(len(X)), training)
    return Task(*_float32(X[training], X[rest]), _named(y[rest]), STEPS)


def without_repeated(task: Task, scores: Floats) -> dict[str, float]:
    """Of a semi-supervised task: the share of the normal test rows that were trained on, and the
    AUROC without these."""
    known = {row.tobytes() for row in task.train}
    repeated = np.array([row.tobytes() in known for row in task.test])
    normal = task.names == NORMAL
    return {
        "repeated": float(repeated[normal].mean()),
        "unseen": auc(scores[normal & ~repeated], scores[~normal]).value,
    }


def _named(label: npt.NDArray[np.int64]) -> npt.NDArray[np.str_]:
    return np.where(label == 0, NORMAL, "anomaly")


def _float32(train: npt.NDArray[np.float64], test: npt.NDArray[np.float64]) -> Iterator[Floats]:
    """Centred in float64, then float32: the scaling itself is the model's, from `train`."""
    centre, scale = train.mean(axis=0), train.std(axis=0)
    scale = np.where(scale > 0, scale, 1)
    for rows in (train, test):
        yield ((rows - centre) / scale).astype(np.float32)


def published(protocol: str) -> dict[str, dict[str, float]]:
    """AUROC in per cent by set and method, without the deviations."""
    tables = json.loads((data_folder() / "published" / "dte_aucroc.json").read_text())
    return {
        name: {method: float(cell.strip("*").split("(")[0]) for method, cell in row.items()}
        for name, row in tables[protocol].items()
    }
