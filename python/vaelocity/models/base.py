"""What every model has in common: scaling, fit, scores, save."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vaelocity import ops
from vaelocity.drift import Reference
from vaelocity.histogram import ScoreHistogram
from vaelocity.models.columns import Column, ColumnScaler, column_steps
from vaelocity.models.rows import Rows, as_rows
from vaelocity.models.scaler import Standardizer
from vaelocity.threshold import Threshold

Floats = npt.NDArray[np.float32]

StepWithoutGraph = Callable[[Tensor, Tensor, ops.Rng], dict[str, Tensor]]
"""(x, gradient, rng): the training terms of standardised rows x; the gradient of
sum(gradient * loss), gradient being [n], is in the parameters' .grad afterwards."""

EXAMPLES = 32
"""Training rows a fitted model keeps, to become conformance rows of its file."""

_BATCH = 8192  # rows scored at a time


class Model(nn.Module):
    """Scores rows of n_features numbers, standardised first; all tensors float32.

    A model is scored at a deterministic point, in eval mode, in batches of a fixed size: the same
    rows give the same bits. The methods that take rows X accept a float NumPy array or torch tensor
    [n, n_features] in the units of the features, float64 being rounded to float32, and return NumPy
    float32. They raise TypeError for other dtypes, ValueError for other shapes and RuntimeError
    where the model was not fitted.

    history       dict of lists, one entry an epoch: epoch, loss, val_loss where there was
                  validation; for a VAE reconstruction and kl apart, too
    thresholds    those of the file it was loaded from; cleared by `fit`
    histograms    the score histograms of that file by kind of score; cleared by `fit`
    reference     how each feature was distributed in the complete rows of the last `fit`, or None
    provenance    what `fit` was given: seed, SHA-256 of the rows, ...
    initialised   False until `fit` has drawn the first weights. Set it to True to train from
                  weights of your own.
    """

    kinds: ClassVar[tuple[str, ...]]
    default_kind: ClassVar[str] = "reconstruction"
    adam: ClassVar[dict[str, Any]] = {}
    """Arguments of Adam other than the learning rate, the same for every player."""
    validates: ClassVar[bool] = True
    """Whether the epoch with the lowest validation loss is the best one; not in a game, where the
    loss of one player says little: there the last epoch stays."""

    missing: ClassVar[bool] = False
    """Whether a NaN stands for a value that is not there; else rows with one are refused by `fit`
    and score NaN."""

    may_leave_out: ClassVar[bool] = False
    """Whether the term of a feature may leave the loss: see `preprocess`."""

    n_classes: int = 0
    """Classes that a row's label may have; 0 where the model knows no labels."""
    own_networks: bool = False
    """True of a model whose networks its arguments do not describe: it cannot be saved."""

    examples: Tensor
    fitted: Tensor

    def __init__(self, n_features: int, feature_names: Sequence[str] | None) -> None:
        super().__init__()
        self.n_features = positive(n_features, "n_features")
        self.feature_names = _feature_names(feature_names, n_features)
        self.scaler = Standardizer(n_features)
        self.register_buffer("examples", torch.zeros(EXAMPLES, n_features))
        self.register_buffer("fitted", torch.tensor(False))
        self.history: dict[str, list[float]] = {}
        self.thresholds: list[Threshold] = []
        self.histograms: dict[str, ScoreHistogram] = {}
        self.reference: Reference | None = None
        self.provenance: dict[str, Any] = {}
        self.optimizer_state: dict[str, Any] | None = None
        self.initialised = False

    # ---- What a kind of model defines

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON."""
        return {"n_features": self.n_features, "feature_names": self.feature_names}

    def training_terms(
        self, x: Tensor, rng: ops.Rng, backend: str | None = None
    ) -> dict[str, Tensor]:
        """Per-sample losses of standardised rows: "loss" [n] is what is minimised, others beside
        it are recorded in the history. `rng`: the noise of training; `backend`: of the ops.

        A model with `n_classes` is given `label=`, int64 [n], too; one with several `players` is
        asked for the terms of each with `player=`.
        """
        raise NotImplementedError

    @property
    def rows_apart(self) -> bool:
        """Whether the loss of a row depends on no other row of its batch, and every draw from the
        rng is of so many numbers for every row: what several processes can share out."""
        return False

    def step_without_graph(self, backend: str | None) -> StepWithoutGraph | None:
        """A shorter way to `training_terms` and their gradients than autograd, whose graph is a
        large part of the time of a small batch; None where the model knows none.

        It is asked for before every epoch, and its numbers are those of autograd.
        """
        return None

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Who minimises a loss of his own, in the order of their turns, and over which parameters.

        Each has an optimiser of his own. The terms of the first enter the history under their own
        names, those of another as <player>_<term>.
        """
        return {"model": list(self.parameters())}

    def after_step(self) -> None:
        """Called after every step, once all players have had their turn."""

    def after_fit(self, x: Tensor) -> None:
        """Called after every `fit` with its rows, [n, n_features] in the units of the features."""

    def standardised_score(self, x: Tensor, kind: str) -> Tensor:
        """The score of standardised rows: [n], before saturation."""
        raise NotImplementedError

    def initialise(self, seed: int) -> None:
        """Draw new weights from `seed`; torch's global random numbers are neither used nor
        moved. The scaler keeps its statistics.

        Every layer that has `initialise(generator)` draws its own, in the order of the modules.
        """
        generator = torch.Generator().manual_seed(seed)
        for layer in self.modules():
            draw = getattr(layer, "initialise", None)
            if layer is not self and callable(draw):
                draw(generator)
        self.optimizer_state = None
        self.initialised = True

    # ---- Scores

    def score(self, X: Rows, kind: str | None = None) -> Floats:
        """Anomaly scores: float32 [n], higher is more anomalous.

        As the frozen scorer: a row with a NaN or infinity scores NaN, and a score beyond float32
        is float32's largest number.

        Args:
            X: [n, n_features]; NaN is a value that is not there for a model with `missing`.
            kind: one of `kinds`; None is `default_kind`.

        Raises: see the class; ValueError for an unknown kind.
        """
        kind = self._checked_kind(kind)

        def score(x: Tensor) -> Tensor:
            scores = self.standardised_score(self.scaler(x), kind)
            return saturated(scores, self._scorable(x))

        return self._batched(score, as_rows(X, self.n_features, "X"))

    # ---- Training and saving

    def preprocess(
        self,
        *,
        clip: Mapping[Column, tuple[float | None, float | None]] | None = None,
        wrap: Sequence[Column] = (),
        log1p: Sequence[Column] = (),
        mask_zeros: Sequence[Column] = (),
        flag: Sequence[Column] = (),
        impute: Mapping[Column, float] | None = None,
    ) -> Self:
        """What is done to the columns before they are scaled, in training and, as part of the file,
        in the scorer: see `vaelocity.preprocess` for what each step is. Called before the first
        `fit`; called again, it begins anew. Columns by name or number.

        Args:
            clip: (low, high) of columns; None for no bound.
            wrap: angles in radians, brought into [-pi, pi).
            log1p: sign(x) ln(1 + |x|).
            mask_zeros: columns in which 0 stands for an object that is not there: its term leaves
                the loss. For `Autoencoder` and `VAE`.
            flag: columns in which a NaN or an infinity does not reject the row: its term leaves
                the loss, and the row's flags say so. For `Autoencoder` and `VAE`.
            impute: columns in which a NaN or an infinity is replaced by a number.

        Raises:
            ValueError: a column that is not there, bounds or numbers that are wrong, a step that
                the model does not know.
            RuntimeError: the model was fitted.
        """
        if bool(self.fitted):
            raise RuntimeError("preprocess: the model was fitted already, on rows without it")
        if type(self.scaler) not in (Standardizer, ColumnScaler):
            raise ValueError(f"preprocess: not for a {type(self).__name__}, which scales images")
        steps = column_steps(
            self.feature_names, clip or {}, wrap, log1p, mask_zeros, flag, impute or {}
        )
        if self.missing and any(step["op"] == "missing" for step in steps):
            raise ValueError(f"flag, impute: a {type(self).__name__} takes missing values itself")
        scaler = ColumnScaler(self.n_features, steps) if steps else Standardizer(self.n_features)
        if scaler.leaves_out and not self.may_leave_out:
            raise ValueError(
                f"mask_zeros, flag: not for a {type(self).__name__}, of whose loss no term can be "
                "left out"
            )
        self.scaler = scaler.to(self.scaler.mean.device)
        return self

    def fit(
        self,
        X: Rows,
        X_val: Rows | None = None,
        epochs: int = 50,
        batch_size: int = 1024,
        lr: float = 1e-3,
        seed: int = 0,
        weight: npt.ArrayLike | Tensor | None = None,
        device: str | torch.device = "cpu",
        progress: bool = True,
        patience: int | None = 10,
        checkpoint: str | os.PathLike[str] | None = None,
        weight_val: npt.ArrayLike | Tensor | None = None,
        validation_fraction: float = 0.0,
        backend: str | None = None,
        weight_decay: float = 0.0,
        schedule: str = "constant",
        label: npt.ArrayLike | Tensor | None = None,
        label_val: npt.ArrayLike | Tensor | None = None,
        cuda_graph: bool = False,
    ) -> Self:
        """Train on rows of normal events with Adam; scaling is learned on the first call.

        The loss of an epoch is the mean over the rows of weight * loss per row, weights having
        mean 1; see `training_terms`. The same arguments and seed give the same weights on one
        machine with one number of threads. torch's global random numbers are neither used nor
        moved.

        Inside `vaelocity.distributed.group` the processes that torchrun started train together:
        each is given the same arguments and rows, the first one alone writes files.

        Called again it continues: same scaling, same optimizer state, next epoch. Without
        validation, 3 epochs and then 4 give the weights of 7 at once. A fit that does not finish
        (an exception, Ctrl-C) leaves the model as it was.

        Args:
            X: [n, n_features], finite, or with NaN for a model with `missing`. Held in memory on
                `device`; not copied where it is float32, contiguous and on `device` already.
            X_val: rows to stop by: after `patience` epochs without a lower loss on them, training
                stops. The weights of the best epoch are what remains.
            epochs: at most so many more.
            batch_size: rows a step; the batches of an epoch are equal but for one row.
            lr: learning rate.
            seed: of the first weights, of the order of the rows and of the noise.
            weight: [n], not negative; of the scaling as well as of the loss.
            device: where to train; the model stays there.
            progress: a bar on standard error, if that is a terminal.
            patience: None never stops early, but still returns to the best epoch.
            checkpoint: a file for the state after every epoch. A fit that was killed and is called
                again with the same arguments goes on from it, to the same weights bit for bit.
            weight_val: [n_val], weights of X_val.
            validation_fraction: without X_val, hold out this part of X, at random.
            backend: of the noise and the losses, see `vaelocity.ops`; "reference" is plain torch.
                None takes the fastest. The noise is the same, the losses up to rounding.
            weight_decay: of every parameter, decoupled from the gradient (AdamW: Loshchilov and
                Hutter, arXiv:1711.05101).
            schedule: of the learning rate over the epochs of this call: "constant", or "cosine",
                which lets it fall from lr to 0.
            label: the class of every row, integers [n] below the model's n_classes, for a model
                that has classes.
            label_val: those of X_val.
            cuda_graph: capture the step in a CUDA graph, so that a step is one launch; with
                device="cuda" only. For small networks, whose kernels take less time than their
                launches.

        Raises:
            TypeError, ValueError: an argument that is wrong, rows that are not finite among them,
                or a checkpoint of another training.
            TrainingDiverged (a RuntimeError): the loss became NaN or infinite.
            RuntimeError: with cuda_graph, a step that waits for the device.
            ProcessFailed (a RuntimeError): another process of the training failed.
        """
        from vaelocity.distributed import Processes
        from vaelocity.models.training_data import TrainingData, training_data
        from vaelocity.train import Settings, train

        def checked() -> tuple[TrainingData, Settings]:
            settings = Settings(
                epochs,
                batch_size,
                lr,
                seed,
                torch.device(device),
                progress,
                patience,
                checkpoint,
                backend,
                weight_decay,
                schedule,
                cuda_graph,
            )
            scorable = self.scaler.scorable if isinstance(self.scaler, ColumnScaler) else None
            data = training_data(
                self.n_features, X, weight, X_val, weight_val, self.missing, scorable
            )
            data = data.labelled(label, label_val, self.n_classes)
            if X_val is None and validation_fraction:
                data = data.held_out(validation_fraction, seed)
            return data, settings

        processes = Processes()
        found = processes.attempt(checked)
        processes.check()
        assert found is not None
        train(self, *found, processes)
        self.after_fit(found[0].train.x)
        return self

    def partial_fit(
        self, X: Rows, weight: npt.ArrayLike | Tensor | None = None, **arguments: Any
    ) -> Self:
        """One more epoch on new rows: the scaling and the optimizer's state stay, see `fit`.

        For slow drift that changes how features depend on each other. The thresholds are cleared,
        as by `fit`: they were another model's.

        Args:
            X: [n, n_features], finite.
            weight: [n], not negative.
            arguments: batch_size, lr, seed, device, progress, label and the like, as for `fit`.
        """
        return self.fit(X, epochs=1, weight=weight, patience=None, **arguments)

    def save(
        self,
        path: str | os.PathLike[str],
        kind: str | None = None,
        thresholds: Sequence[Threshold] | None = None,
        conformance: Rows | None = None,
        histograms: Sequence[ScoreHistogram] | None = None,
        weights: str = "float32",
    ) -> None:
        """Write the model to a .vael file, for `models.load`.

        A model of dense layers, or a ConvVAE, is frozen: `vaelocity.load` scores with it, without
        torch. Others have no frozen scorer, take neither `kind` nor `conformance`, and
        `vaelocity.load` says so. Of the processes of a `vaelocity.distributed.group` only the first
        one writes.

        Args:
            path: an existing file is replaced, at once.
            kind: the score the file gives unless asked for another; None is `default_kind`.
            thresholds: from `threshold_for`; None keeps those of the file it was loaded from.
            conformance: rows [n, n_features] whose scores the file promises; None takes some of
                the training rows. Rows at the edges (a NaN, huge, tiny) are added.
            histograms: of held-out scores, at most one a kind, from `Scorer.histogram`; None keeps
                those of the file it was loaded from.
            weights: "bfloat16" rounds the weights of a frozen model: half the bytes and float32
                arithmetic, `vaelocity.narrowing`. Thresholds and histograms must be of such a file.

        Raises:
            ValueError: an unknown kind, an argument that the model has no use for, two thresholds
                of one name, a threshold or a histogram of another model, weights that are not
                finite, scores of the C++ scorer that differ from this model's.
            RuntimeError: the model was not fitted.
        """
        from vaelocity.distributed import is_first
        from vaelocity.models.freeze import freeze
        from vaelocity.models.latent import LatentModel
        from vaelocity.models.store import store
        from vaelocity.narrowing import check_weights

        self._check_fitted()
        check_weights(weights)
        if not is_first():
            return
        chosen = self.thresholds if thresholds is None else thresholds
        counted = list(self.histograms.values() if histograms is None else histograms)
        if not (isinstance(self, LatentModel) and self.frozen_kinds()):
            for name, value in (("kind", kind), ("conformance", conformance)):
                if value is not None:
                    raise ValueError(f"{name}: a {type(self).__name__} has no frozen scorer")
            if weights != "float32":
                raise ValueError(f"weights: a {type(self).__name__} has no frozen scorer")
            store(self, path, chosen, counted)
            return
        kind = self._checked_kind(kind)
        if kind not in self.frozen_kinds():
            raise ValueError(
                f"kind: {kind!r} is computed by torch alone, a file has "
                f"{', '.join(self.frozen_kinds())}"
            )
        rows = None
        if conformance is not None:
            rows = as_rows(conformance, self.n_features, "conformance").cpu().numpy()
        freeze(self, path, kind, chosen, rows, counted, weights)

    # ---- Helpers

    def begin(self, x: Tensor, weight: Tensor | None) -> None:
        """Learn the scaling and keep some rows for the file: what the first `fit` begins with."""
        self.scaler.fit_(x, weight)
        kept = torch.linspace(0, len(x) - 1, len(self.examples)).round().long()
        self.examples.copy_(x[kept.to(x.device)])

    def _scorable(self, x: Tensor) -> Tensor:
        """Which rows have a score: bool [n]."""
        if isinstance(self.scaler, ColumnScaler) and not self.missing:
            return self.scaler.scorable(x)
        if not self.missing:
            return torch.isfinite(x).all(dim=1)
        return ~torch.isinf(x).any(dim=1) & ~torch.isnan(x).all(dim=1)

    def _checked_kind(self, kind: str | None) -> str:
        kind = self.default_kind if kind is None else kind
        if kind not in self.kinds:
            raise ValueError(
                f"kind: expected one of {', '.join(self.kinds)} for {type(self).__name__}, "
                f"got {kind!r}"
            )
        return kind

    def _check_fitted(self) -> None:
        if not bool(self.fitted):
            raise RuntimeError(
                f"this {type(self).__name__} was not fitted: call fit(X) first, "
                "or models.load(path)"
            )

    def _batched(self, function: Callable[[Tensor], Tensor], rows: Tensor) -> Floats:
        """function of _BATCH rows at a time, in eval mode, as one NumPy array."""
        self._check_fitted()
        device = self.scaler.mean.device
        with self._evaluating(), torch.inference_mode():
            parts = [function(part.to(device)).cpu() for part in torch.split(rows, _BATCH)]
            return torch.cat(parts).numpy()

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        before = self.training
        if before:
            self.eval()
        try:
            yield
        finally:
            if before:
                self.train()


def saturated(scores: Tensor, finite: Tensor) -> Tensor:
    """NaN where the row is not finite; else the score, at most float32's largest number.

    A NaN of a finite row (infinity minus infinity somewhere inside) is an overflow, too, and so is
    minus infinity, which would be the most normal score of all.
    """
    largest = torch.finfo(torch.float32).max
    scores = torch.where(torch.isfinite(scores), scores, largest)
    return nan_unless(finite, scores)


def nan_unless(finite: Tensor, values: Tensor) -> Tensor:
    """values [n, ...], NaN in the rows where finite, [n] or of one more dimension, is False."""
    if finite.ndim < values.ndim:
        finite = finite[:, None]
    return torch.where(finite, values, torch.nan)


def positive(value: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name}: expected a positive integer, got {value!r}")
    return int(value)


def _feature_names(names: Sequence[str] | None, n_features: int) -> list[str]:
    """The names as a list; x0, x1, ... for None."""
    if names is None:
        return [f"x{j}" for j in range(n_features)]
    found = list(names)
    if len(found) != n_features or not all(isinstance(name, str) for name in found):
        raise ValueError(f"feature_names: expected {n_features} strings, got {found}")
    if len(set(found)) != n_features:
        twice = sorted({name for name in found if found.count(name) > 1})
        raise ValueError(f"feature_names: {', '.join(twice)} more than once")
    return found
