"""What every model has in common: layers from features to features, scores, fit and save."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vaelocity import ops
from vaelocity.drift import Reference
from vaelocity.histogram import ScoreHistogram
from vaelocity.models.layers import Network, activation_name
from vaelocity.models.rows import Rows, as_rows, finite_rows
from vaelocity.models.scaler import Standardizer
from vaelocity.threshold import Threshold

Floats = npt.NDArray[np.float32]

EXAMPLES = 32
"""Training rows a fitted model keeps, to become conformance rows of its file."""

_BATCH = 8192  # rows scored at a time


class Model(nn.Module):
    """Standardise, encode, decode; all tensors float32. Use `Autoencoder` or `VAE`.

    A model is scored, encoded and so on at its deterministic point (a VAE at z = mu), in eval mode,
    in batches of a fixed size: the same rows give the same bits. The methods that take rows X
    accept a float NumPy array or torch tensor [n, n_features] in the units of the features, float64
    being rounded to float32, and return NumPy float32. They raise TypeError for other dtypes,
    ValueError for other shapes and RuntimeError where the model was not fitted.

    history       dict of lists, one entry an epoch: epoch, loss, val_loss where there was
                  validation; for a VAE reconstruction and kl apart, too
    thresholds    those of the file it was loaded from; cleared by `fit`
    histograms    the score histograms of that file by kind of score; cleared by `fit`
    reference     how each feature was distributed in the rows of the last `fit`, or None
    provenance    what `fit` was given: seed, SHA-256 of the rows, ...
    initialised   False until `fit` has drawn the first weights. Set it to True to train from
                  weights of your own.
    """

    kinds: ClassVar[tuple[str, ...]]
    default_kind: ClassVar[str] = "reconstruction"
    latent_kind: ClassVar[str]

    examples: Tensor
    fitted: Tensor

    def __init__(
        self,
        n_features: int,
        latent: int,
        hidden: Sequence[int],
        activation: str | None,
        batch_norm: bool,
        feature_names: Sequence[str] | None,
    ) -> None:
        super().__init__()
        self.n_features = _positive(n_features, "n_features")
        self.latent = _positive(latent, "latent")
        self.hidden = tuple(_positive(width, "hidden") for width in hidden)
        self.activation = activation_name(activation)
        self.batch_norm = bool(batch_norm)
        self.feature_names = _feature_names(feature_names, n_features)
        encoded = self.latent * (2 if self.latent_kind == "gaussian" else 1)
        self.scaler = Standardizer(n_features)
        self.encoder = Network(
            [n_features, *self.hidden, encoded], self.activation, self.batch_norm
        )
        self.decoder = Network(
            [self.latent, *reversed(self.hidden), n_features], self.activation, self.batch_norm
        )
        self.register_buffer("examples", torch.zeros(EXAMPLES, n_features))
        self.register_buffer("fitted", torch.tensor(False))
        self.history: dict[str, list[float]] = {}
        self.thresholds: list[Threshold] = []
        self.histograms: dict[str, ScoreHistogram] = {}
        self.reference: Reference | None = None
        self.provenance: dict[str, Any] = {}
        self.optimizer_state: dict[str, Any] | None = None
        self.initialise(0)
        self.initialised = False

    # ---- What a kind of model defines

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON."""
        return {
            "n_features": self.n_features,
            "latent": self.latent,
            "hidden": list(self.hidden),
            "activation": self.activation,
            "batch_norm": self.batch_norm,
            "feature_names": self.feature_names,
        }

    def training_terms(
        self, x: Tensor, rng: ops.Rng, backend: str | None = None
    ) -> dict[str, Tensor]:
        """Per-sample losses of standardised rows: "loss" [n] is what is minimised, others beside
        it are recorded in the history. `rng`: the noise of training; `backend`: of the ops."""
        raise NotImplementedError

    def point(self, x: Tensor) -> Tensor:
        """Where standardised rows are decoded from: z (or mu), [n, latent]."""
        z: Tensor = self.encoder(x)
        return z

    def standardised_score(self, x: Tensor, kind: str) -> Tensor:
        """The score of standardised rows: [n], before saturation."""
        return ops.reconstruction_loss(x, self.decoder(self.point(x)))

    # ---- torch

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of x [n, n_features], in the units of x, differentiable."""
        return self.scaler.inverse(self.decoder(self.point(self.scaler(x))))

    def initialise(self, seed: int) -> None:
        """Draw new weights from `seed`; torch's global random numbers are neither used nor
        moved. The scaler keeps its statistics."""
        generator = torch.Generator().manual_seed(seed)
        for layer in (*self.encoder.dense(), *self.decoder.dense()):
            layer.initialise(generator)
        self.optimizer_state = None
        self.initialised = True

    # ---- Scores

    def score(self, X: Rows, kind: str | None = None) -> Floats:
        """Anomaly scores: float32 [n], higher is more anomalous.

        As the frozen scorer: a row with a NaN or infinity scores NaN, and a score beyond float32
        is float32's largest number.

        Args:
            X: [n, n_features].
            kind: one of `kinds`; None is `default_kind`.

        Raises: see the class; ValueError for an unknown kind.
        """
        kind = self._checked_kind(kind)

        def score(x: Tensor) -> Tensor:
            scores = self.standardised_score(self.scaler(x), kind)
            return saturated(scores, torch.isfinite(x).all(dim=1))

        return self._batched(score, as_rows(X, self.n_features, "X"))

    def score_features(self, X: Rows) -> Floats:
        """1/2 (y_j - x_j)^2 of every feature in the standardised space: float32 [n, n_features].

        A row's sum is its reconstruction score, up to float32 rounding.
        """

        def score(x: Tensor) -> Tensor:
            finite = torch.isfinite(x).all(dim=1, keepdim=True)
            x = self.scaler(x)
            return saturated(0.5 * (self.decoder(self.point(x)) - x).square(), finite)

        return self._batched(score, as_rows(X, self.n_features, "X"))

    # ---- The latent space

    def encode(self, X: Rows) -> Floats:
        """The latent point (a VAE's mu) of every row: float32 [n, latent]; NaN for a row that
        holds a NaN or an infinity."""

        def encode(x: Tensor) -> Tensor:
            return _nan_unless(finite_rows(x), self.point(self.scaler(x)))

        return self._batched(encode, as_rows(X, self.n_features, "X"))

    def decode(self, z: Rows) -> Floats:
        """Rows in the units of the features, float32 [n, n_features], from z [n, latent]."""

        def decode(z: Tensor) -> Tensor:
            return self.scaler.inverse(self.decoder(z))

        return self._batched(decode, as_rows(z, self.latent, "z"))

    def reconstruct(self, X: Rows) -> Floats:
        """decode(encode(X)): float32 [n, n_features] in the units of X; NaN for a row that holds
        a NaN or an infinity."""

        def reconstruct(x: Tensor) -> Tensor:
            return _nan_unless(finite_rows(x), self(x))

        return self._batched(reconstruct, as_rows(X, self.n_features, "X"))

    def interpolate(self, a: Rows, b: Rows, steps: int = 10) -> Floats:
        """Rows on the way from a to b, straight in the latent space: reconstruct(a) first,
        reconstruct(b) last.

        Args:
            a, b: one row [n_features] each, or as many rows each [n, n_features].
            steps: rows on the way, both ends among them; at least 2.

        Returns:
            float32 [steps, n_features], or [n, steps, n_features].
        """
        if steps < 2:
            raise ValueError(f"steps: expected at least 2, got {steps}")
        if a.shape != b.shape or a.ndim not in (1, 2):
            raise ValueError(f"a, b: expected two of one shape, got {a.shape} and {b.shape}")
        ends = [self.encode(row.reshape(-1, a.shape[-1])) for row in (a, b)]
        t = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
        z = (1 - t) * ends[0][:, None, :] + t * ends[1][:, None, :]
        rows = self.decode(z.reshape(-1, self.latent))
        return rows.reshape((*a.shape[:-1], steps, self.n_features))

    # ---- Training and saving

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
    ) -> Self:
        """Train on rows of normal events with Adam; scaling is learned on the first call.

        The loss of an epoch is the mean over the rows of weight * loss per row, weights having
        mean 1; see `training_terms`. The same arguments and seed give the same weights on one
        machine with one number of threads. torch's global random numbers are neither used nor
        moved.

        Called again it continues: same scaling, same optimizer state, next epoch. Without
        validation, 3 epochs and then 4 give the weights of 7 at once. A fit that does not finish
        (an exception, Ctrl-C) leaves the model as it was.

        Args:
            X: [n, n_features], finite. Held in memory on `device`; not copied where it is
                float32, contiguous and on `device` already.
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

        Raises:
            TypeError, ValueError: an argument that is wrong, rows that are not finite among them,
                or a checkpoint of another training.
            TrainingDiverged (a RuntimeError): the loss became NaN or infinite.
        """
        from vaelocity.models.training_data import training_data
        from vaelocity.train import Settings, train

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
        )
        data = training_data(self.n_features, X, weight, X_val, weight_val)
        if X_val is None and validation_fraction:
            data = data.held_out(validation_fraction, seed)
        train(self, data, settings)
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
            arguments: batch_size, lr, seed, device, progress as for `fit`.
        """
        return self.fit(X, epochs=1, weight=weight, patience=None, **arguments)

    def save(
        self,
        path: str | os.PathLike[str],
        kind: str | None = None,
        thresholds: Sequence[Threshold] | None = None,
        conformance: Rows | None = None,
        histograms: Sequence[ScoreHistogram] | None = None,
    ) -> None:
        """Freeze the model into a .vael file, for `vaelocity.load` and `models.load`.

        Args:
            path: an existing file is replaced, at once.
            kind: the score the file gives unless asked for another; None is `default_kind`.
            thresholds: from `threshold_for`; None keeps those of the file it was loaded from.
            conformance: rows [n, n_features] whose scores the file promises; None takes some of
                the training rows. Rows at the edges (a NaN, huge, tiny) are added.
            histograms: of held-out scores, at most one a kind, from `Scorer.histogram`; None keeps
                those of the file it was loaded from.

        Raises:
            ValueError: an unknown kind, two thresholds of one name, a threshold or a histogram of
                another model, weights that are not finite, scores of the C++ scorer that differ
                from this model's.
            RuntimeError: the model was not fitted.
        """
        from vaelocity.models.freeze import freeze

        self._check_fitted()
        kind = self._checked_kind(kind)
        chosen = self.thresholds if thresholds is None else thresholds
        rows = None
        if conformance is not None:
            rows = as_rows(conformance, self.n_features, "conformance").cpu().numpy()
        counted = self.histograms.values() if histograms is None else histograms
        freeze(self, path, kind, chosen, rows, list(counted))

    # ---- Helpers

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

    A NaN of a finite row (infinity minus infinity somewhere inside) is an overflow, too.
    """
    largest = torch.finfo(torch.float32).max
    scores = torch.where(scores <= largest, scores, largest)
    return _nan_unless(finite, scores)


def _nan_unless(finite: Tensor, values: Tensor) -> Tensor:
    """values, NaN in the rows where finite [n] is False."""
    if finite.ndim < values.ndim:
        finite = finite[:, None]
    return torch.where(finite, values, torch.nan)


def _positive(value: int, name: str) -> int:
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
