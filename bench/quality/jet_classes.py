"""The shipped jets: trained on quark jets alone, tested on the others class by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaelocity.data import jets
from vaelocity.report.metrics import auc

STEPS = 6000
"""Of training: the sample is larger than most sets."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """60 % of the quark jets to train on; the others and every other jet to test on, with the name
    of the class of each."""

    train: Floats
    test: Floats
    names: npt.NDArray[np.str_]


def sample(seed: int) -> Sample:
    """Divided at random by the seed."""
    table = jets.load()
    train, test = table.of_class("quark").split(0.6, seed)
    others = {name: table.of_class(name).rows for name in table.class_names or []}
    others["quark"] = test.rows
    names = np.concatenate([np.full(len(rows), name) for name, rows in others.items()])
    return Sample(train.rows, np.concatenate(list(others.values())), names)


def areas(scores: Floats, found: Sample) -> dict[str, float]:
    """AUC of the quark jets against every other class."""
    quark = scores[found.names == "quark"]
    classes = sorted(set(found.names.tolist()) - {"quark"})
    return {name: auc(quark, scores[found.names == name]).value for name in classes}
