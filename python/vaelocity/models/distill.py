"""A small network that has learned the score of a large one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaelocity import ops
from vaelocity.models.base import Floats, Model, saturated
from vaelocity.models.columns import ColumnScaler
from vaelocity.models.dense import DenseModel
from vaelocity.models.rows import Rows

NOISE = 1.0
"""Standard deviations of the noise on half of the training rows: the student is asked about rows
off the data, too, where it will have to give high scores."""


class Student(DenseModel):
    """A small dense encoder whose mu2 = sum mu_k^2 follows log(1 + score / typical score) of a
    teacher. So it freezes to a file of which the scorer runs the encoder alone.

    A monotone function of the score has the same ROC curve and spreads the normal rows, of which
    the scores of the rest would else leave nothing to see. CICADA of the CMS trigger is made this
    way. Made and trained by `distill`.

    Args: those of `Autoencoder`; latent is the number of squares in the sum.
    """

    kinds = ("mu2",)
    default_kind = "mu2"
    latent_kind = "gaussian"

    def __init__(
        self,
        n_features: int,
        latent: int = 4,
        hidden: Sequence[int] = (32, 16),
        activation: str | None = "relu",
        feature_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(n_features, latent, hidden, activation, False, feature_names)
        self.teacher: _Teacher | None = None

    def arguments(self) -> dict[str, Any]:
        found = super().arguments()
        del found["batch_norm"]
        return found

    def standardised_score(self, x: Tensor, kind: str) -> Tensor:
        return self.point(x).square().sum(dim=1)

    def decode(self, z: Rows) -> Floats:
        raise TypeError("a Student has learned a score alone: its decoder is not trained")

    def forward(self, x: Tensor) -> Tensor:
        raise TypeError("a Student has learned a score alone: its decoder is not trained")

    def score_features(self, X: Rows) -> Floats:
        raise TypeError("a Student has learned a score alone, not what the features add to it")

    def training_terms(
        self, x: Tensor, rng: ops.Rng, backend: str | None = None
    ) -> dict[str, Tensor]:
        if self.teacher is None:
            raise RuntimeError("this Student has no teacher: it is trained by distill(teacher, X)")
        noisy, _ = ops.corrupt(x, rng, noise=NOISE, backend=backend)
        half = torch.arange(len(x), device=x.device) % 2 == 0
        x = torch.where(half[:, None], x, noisy)
        wanted = self.teacher.target(self.scaler.inverse(x))
        got = self.standardised_score(x, self.default_kind)
        return {"loss": ops.reconstruction_loss(wanted[:, None], got[:, None], backend=backend)}


class OutputStudent(Student):
    """A small dense network whose one output follows log(1 + score / typical score) of a teacher:
    252-15-1 is CICADA's. Unlike mu2 it may be negative.

    Made and trained by `distill` with score="output".

    Args: those of `Student` without latent.
    """

    kinds = ("output",)
    default_kind = "output"
    latent_kind = "output"

    def __init__(
        self,
        n_features: int,
        hidden: Sequence[int] = (32, 16),
        activation: str | None = "relu",
        feature_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__(n_features, 1, hidden, activation, feature_names)

    def arguments(self) -> dict[str, Any]:
        found = super().arguments()
        del found["latent"]
        return found

    def standardised_score(self, x: Tensor, kind: str) -> Tensor:
        return self.point(x)[:, 0]


class _Teacher:
    """What the student is to say of rows in the units of the features. No module: the teacher is
    not part of the student's weights."""

    def __init__(self, model: Model, kind: str, X: Rows) -> None:
        scores = model.score(X, kind)
        typical = float(np.median(scores))
        if not (np.isfinite(typical) and scores.min() >= 0 and typical > 0):
            raise ValueError(
                f"teacher: expected a {kind} score that is finite, not negative and of positive "
                f"median on X, got {scores.min()} at least and a median of {typical}"
            )
        self.model, self.kind, self.typical = model, kind, typical

    @torch.no_grad()
    def target(self, x: Tensor) -> Tensor:
        device = x.device
        x = x.to(self.model.scaler.mean.device)
        with self.model._evaluating():
            scores = self.model.standardised_score(self.model.scaler(x), self.kind)
        scores = saturated(scores, self.model._scorable(x))
        return torch.log1p(scores / self.typical).to(device)


def distill(
    teacher: Model,
    X: Rows,
    latent: int | None = None,
    hidden: Sequence[int] = (32, 16),
    activation: str | None = "relu",
    kind: str | None = None,
    score: str = "mu2",
    **training: Any,
) -> Student:
    """Train a small network to give a teacher's score, up to a monotone function; see `Student`.
    Columns that the teacher clips, wraps or takes the logarithm of the student does, too.

    Args:
        teacher: fitted; its score must not be negative.
        X: [n, n_features], finite; need not be normal rows alone.
        latent: squares in the student's sum, with score="mu2"; default 4.
        hidden, activation: of the student.
        kind: of the teacher's score; None is its default.
        score: what the student's score is: "mu2", a sum of squares (`Student`), or "output", the
            one output of the network (`OutputStudent`).
        training: arguments of `Model.fit`.

    Raises: ValueError for scores that will not do, another `score`, a latent with "output"; see
        `Model.fit`.
    """
    if score not in ("mu2", "output"):
        raise ValueError(f"score: expected mu2 or output, got {score!r}")
    kind = teacher.default_kind if kind is None else kind
    n, names = teacher.n_features, teacher.feature_names
    if score == "mu2":
        student = Student(n, 4 if latent is None else latent, hidden, activation, names)
    elif latent is None:
        student = OutputStudent(n, hidden, activation, names)
    else:
        raise ValueError(f"latent: a student with one output has none, got {latent}")
    if isinstance(teacher.scaler, ColumnScaler):
        steps = [step for step in teacher.scaler.steps if step["op"] in ("clip", "wrap", "log1p")]
        student.scaler = ColumnScaler(n, steps)
    student.teacher = _Teacher(teacher, kind, X)
    try:
        return student.fit(X, **training)
    finally:
        student.teacher = None
