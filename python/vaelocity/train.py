"""The training loop of every model: Adam over index batches of rows that are in memory already.

Epoch e of a training takes its order and its noise from (seed, e) alone, e counted over the
model's whole life. So a training that was stopped goes on as if it had not been, without any
random state to keep.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from vaelocity import ops
from vaelocity.drift import MOST_ROWS, Reference
from vaelocity.models import snapshot as snapshots
from vaelocity.models.snapshot import Progress, Snapshot
from vaelocity.models.training_data import Part, TrainingData

if TYPE_CHECKING:
    from vaelocity.models.base import Model, StepWithoutGraph

SCHEDULES = ("constant", "cosine")

_ORDER, _NOISE, _VALIDATION_NOISE = range(3)
_VALIDATION_BATCH = 8192

Terms = dict[str, float]


class TrainingDiverged(RuntimeError):
    """The loss became NaN or infinite; the model is as it was before the training."""


@dataclass(frozen=True)
class Settings:
    """The arguments of `Model.fit` of the same names. Raises ValueError for impossible ones."""

    epochs: int
    batch_size: int
    lr: float
    seed: int
    device: torch.device
    progress: bool
    patience: int | None
    checkpoint: str | os.PathLike[str] | None
    backend: str | None
    weight_decay: float
    schedule: str

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("patience", 1)):
            value = getattr(self, name)
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if not (whole and value >= least) and not (name == "patience" and value is None):
                raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr: expected a positive number, got {self.lr!r}")
        if self.backend not in (None, *ops.BACKENDS):
            names = ", ".join(ops.BACKENDS)
            raise ValueError(f"backend: expected one of {names} or None, got {self.backend!r}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(
                f"weight_decay: expected a number of at least 0, got {self.weight_decay!r}"
            )
        if self.schedule not in SCHEDULES:
            names = " or ".join(SCHEDULES)
            raise ValueError(f"schedule: expected {names}, got {self.schedule!r}")


def train(model: Model, data: TrainingData, settings: Settings) -> None:
    """Train `model` in place; see `Model.fit`. If it fails the model is as it was."""
    normed = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules())
    if normed and min(len(data.train), settings.batch_size) < 2:
        raise ValueError("batch_norm: needs batches of at least 2 rows; see batch_size and X")
    model.to(settings.device)
    before = snapshots.take(model)
    optimizer_before, initialised_before = model.optimizer_state, model.initialised
    try:
        _Training(model, data.to(settings.device), settings).run()
    except BaseException:
        snapshots.restore(before, model)
        model.optimizer_state, model.initialised = optimizer_before, initialised_before
        raise
    finally:
        model.eval()


class _Training:
    def __init__(self, model: Model, data: TrainingData, settings: Settings) -> None:
        self.model, self.data, self.settings = model, data, settings
        self._cosine = settings.schedule == "cosine"
        self._prepare_model()
        self.players = model.players()
        self.optimizers = {
            name: torch.optim.AdamW(
                parameters,
                lr=settings.lr,
                weight_decay=settings.weight_decay,
                fused=True,
                **model.adam,
            )
            for name, parameters in self.players.items()
        }
        if model.optimizer_state is not None:
            start = snapshots.take(model) | model.optimizer_state
            snapshots.restore(start, model, self.optimizers)
        self.best: Snapshot | None = None
        self.first_epoch = len(model.history.get("epoch", []))
        history = {name: list(values) for name, values in model.history.items()}
        self.progress = Progress(self._identity(), history)

    def _prepare_model(self) -> None:
        """First weights, scaling and conformance rows, unless it has been fitted before."""
        model, data = self.model, self.data
        if bool(model.fitted):
            return
        if not model.initialised:
            model.initialise(self.settings.seed)
        model.begin(data.train.x, data.train.weight)

    def _identity(self) -> dict[str, object]:
        """What must be equal for a checkpoint to be of this training; epochs may be more."""
        if self.settings.checkpoint is None:
            return {}
        settings = self.settings
        return {
            "seed": int(settings.seed),
            "batch_size": int(settings.batch_size),
            "lr": float(settings.lr),
            "backend": settings.backend,
            "weight_decay": float(settings.weight_decay),
            # What the learning rate is in an epoch depends on how many there will be.
            "schedule": [settings.schedule, settings.epochs if self._cosine else None],
            "patience": None if settings.patience is None else int(settings.patience),
            "model": type(self.model).__name__,
            "architecture": self.model.arguments(),
            "data": self.data.digest(),
            "weights at the start": snapshots.digest(snapshots.take(self.model, self.optimizers)),
        }

    # ---- The loop

    def run(self) -> None:
        model, data = self.model, self.data
        resumed = self._resumed()
        judged = model.validates and bool(model.fitted)
        if judged and not resumed and data.validation is not None:
            self._note_best(self._validate(data.validation)["loss"])
        last = self.first_epoch + self.settings.epochs
        name = type(model).__name__
        with _bar(name, self.settings.progress, self.settings.epochs) as show:
            for epoch in range(self._epochs_done(), last):
                if self._stopped():
                    break
                show(epoch - self.first_epoch, self.progress.history)
                self._epoch(epoch)
            show(self.settings.epochs, self.progress.history)
        if self.best is not None:
            snapshots.restore(self.best, model, self.optimizers)
        self._finish()

    def _epochs_done(self) -> int:
        return len(self.progress.history.get("epoch", []))

    def _stopped(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.progress.stale >= patience

    def _epoch(self, epoch: int) -> None:
        """One pass over the rows, its line in the history, and the checkpoint."""
        line: Terms = {"epoch": epoch + 1, **self._optimise(epoch)}
        if self.data.validation is not None:
            held = self._validate(self.data.validation)
            line |= {f"val_{name}": value for name, value in held.items()}
        wrong = [name for name, value in line.items() if not math.isfinite(value)]
        if wrong:
            raise TrainingDiverged(
                f"training diverged in epoch {epoch + 1}: {wrong[0]} is {line[wrong[0]]}; a "
                "smaller lr helps, or rows without extreme outliers"
            )
        for name, value in line.items():
            self.progress.history.setdefault(name, []).append(value)
        if "val_loss" in line and self.model.validates:
            self.progress.stale += 1
            self._note_best(line["val_loss"])
        if self.settings.checkpoint is not None:
            now = snapshots.take(self.model, self.optimizers)
            snapshots.write_checkpoint(self.settings.checkpoint, self.progress, now, self.best)

    def _optimise(self, epoch: int) -> Terms:
        """Steps over all rows in random order; the mean of every term on the way."""
        part, model = self.data.train, self.model.train()
        order = torch.randperm(len(part), generator=self._generator(_ORDER, epoch))
        noise = ops.Rng(self._seed(_NOISE, epoch), device=part.x.device)
        short = self._short_step()
        sums = _Sums()
        batches = order.to(part.x.device).tensor_split(-(-len(part) // self.settings.batch_size))
        for i, index in enumerate(batches):
            self._set_learning_rate(epoch + i / len(batches))
            x = model.scaler(part.x.index_select(0, index))
            weight = None if part.weight is None else part.weight.index_select(0, index)
            label = None if part.label is None else part.label.index_select(0, index)
            # The gradient of the mean of weight * loss, without the two steps it would take.
            gradient = (x.new_ones(len(x)) if weight is None else weight) / len(x)
            for player in self.players:
                if short is not None:
                    terms = short(x, gradient, noise)
                else:
                    terms = self._backpropagated(player, x, gradient, label, noise)
                self.optimizers[player].step()
                sums.add(terms, weight, self._prefix(player))
            model.after_step()
        return sums.means(len(part))

    def _short_step(self) -> StepWithoutGraph | None:
        """See `Model.step_without_graph`; only where every parameter is trained, and is itself the
        weight of its layer."""
        trained = [parameter.requires_grad for parameter in self.model.parameters()]
        derived = [is_parametrized(layer) for layer in self.model.modules()]
        if len(self.players) > 1 or not all(trained) or any(derived):
            return None
        return self.model.step_without_graph(self.settings.backend)

    def _backpropagated(
        self, player: str, x: Tensor, gradient: Tensor, label: Tensor | None, noise: ops.Rng
    ) -> dict[str, Tensor]:
        """The terms of a player's loss of standardised rows x, and its gradients, by autograd."""
        terms = self._terms(player, x, label, noise)
        self.optimizers[player].zero_grad()
        # A loss that runs through another player's layers leaves them without a gradient.
        own = [parameter for parameter in self.players[player] if parameter.requires_grad]
        inputs = None if len(self.players) == 1 else own
        terms["loss"].backward(gradient, inputs=inputs)  # type: ignore[no-untyped-call]
        return terms

    def _terms(
        self, player: str, x: Tensor, label: Tensor | None, noise: ops.Rng
    ) -> dict[str, Tensor]:
        extra: dict[str, Any] = {} if label is None else {"label": label}
        if len(self.players) > 1:
            extra["player"] = player
        return self.model.training_terms(x, noise, self.settings.backend, **extra)

    def _prefix(self, player: str) -> str:
        return "" if player == next(iter(self.players)) else f"{player}_"

    def _set_learning_rate(self, at: float) -> None:
        """Of the schedule, `at` so many epochs of the model's life; see `Settings.schedule`."""
        if not self._cosine:
            return
        share = (at - self.first_epoch) / self.settings.epochs
        lr = self.settings.lr * 0.5 * (1 + math.cos(math.pi * share))
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = lr

    @torch.no_grad()
    def _validate(self, part: Part) -> Terms:
        """The mean of every term over the validation rows, in eval mode, with the same noise
        every time: epochs differ by their weights only."""
        model = self.model.eval()
        noise = ops.Rng(self._seed(_VALIDATION_NOISE, 0), device=part.x.device)
        sums = _Sums()
        for at in range(0, len(part), _VALIDATION_BATCH):
            rows = slice(at, at + _VALIDATION_BATCH)
            x = model.scaler(part.x[rows])
            weight = None if part.weight is None else part.weight[rows]
            label = None if part.label is None else part.label[rows]
            for player in self.players:
                sums.add(self._terms(player, x, label, noise), weight, self._prefix(player))
        return sums.means(len(part))

    def _generator(self, purpose: int, epoch: int) -> torch.Generator:
        return torch.Generator().manual_seed(self._seed(purpose, epoch))

    def _seed(self, purpose: int, epoch: int) -> int:
        mixed = np.random.SeedSequence((int(self.settings.seed), purpose, epoch))
        return int(mixed.generate_state(1, np.uint64)[0])

    def _note_best(self, loss: float) -> None:
        if self.progress.best_loss is None or loss < self.progress.best_loss:
            self.progress.best_loss, self.progress.stale = loss, 0
            self.best = snapshots.take(self.model, self.optimizers)

    # ---- Before and after

    def _resumed(self) -> bool:
        """Take over the checkpoint, if there is one of this very training."""
        path = self.settings.checkpoint
        if path is None or not Path(path).exists():
            return False
        progress, now, best = snapshots.read_checkpoint(path)
        if progress.identity != self.progress.identity:
            if progress.history == self.model.history:
                return False  # of the training that this one continues
            names = self.progress.identity
            other = [name for name in names if progress.identity.get(name) != names[name]]
            raise ValueError(
                f"checkpoint: {os.fspath(path)} is of another training (other: "
                f"{', '.join(other)}); delete it or give another path"
            )
        done = len(progress.history["epoch"]) - self.first_epoch
        if done > self.settings.epochs:
            raise ValueError(
                f"epochs: {self.settings.epochs}, but {os.fspath(path)} is {done} epochs on"
            )
        snapshots.restore(now, self.model, self.optimizers)
        self.progress, self.best = progress, best
        return True

    def _finish(self) -> None:
        model = self.model
        state = snapshots.take(model, self.optimizers)
        model.optimizer_state = {k: v for k, v in state.items() if k.startswith("optimizer.")}
        model.history = self.progress.history
        model.thresholds, model.histograms = [], {}
        rows = self.data.some_rows(MOST_ROWS)
        complete = rows[np.isfinite(rows).all(axis=1)]
        model.reference = Reference.of(complete) if len(complete) else None
        model.provenance = {
            "seed": int(self.settings.seed),
            "data_sha256": self.data.rows_digest(),
            "rows": len(self.data.train),
            "batch_size": int(self.settings.batch_size),
            "lr": float(self.settings.lr),
            "weight_decay": float(self.settings.weight_decay),
            "schedule": self.settings.schedule,
        }
        model.fitted.fill_(True)


class _Sums:
    """Sums of weight * term over rows, in float64 and on the device: nothing waits for it, and
    what is done per batch is little, for batches are many and small."""

    _KEPT = 128

    def __init__(self) -> None:
        self._parts: dict[str, list[Tensor]] = {}
        self._totals: dict[str, Tensor] = {}

    def add(self, terms: dict[str, Tensor], weight: Tensor | None, prefix: str) -> None:
        for name, term in terms.items():
            value = term.detach()
            parts = self._parts.setdefault(prefix + name, [])
            parts.append(value if weight is None else value * weight)
            if len(parts) >= self._KEPT:
                self._add_up(prefix + name, parts)

    def _add_up(self, name: str, parts: list[Tensor]) -> None:
        total = torch.cat(parts).sum(dtype=torch.float64)
        self._totals[name] = self._totals[name] + total if name in self._totals else total
        parts.clear()

    def means(self, n: int) -> Terms:
        for name, parts in self._parts.items():
            if parts:
                self._add_up(name, parts)
        return {name: float(total) / n for name, total in self._totals.items()}


Show = Callable[[int, dict[str, list[float]]], None]


@contextmanager
def _bar(name: str, wanted: bool, epochs: int) -> Iterator[Show]:
    """A progress bar on standard error if that is a terminal."""
    if not (wanted and sys.stderr.isatty()):
        yield lambda done, history: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    text = TextColumn("{task.description}")
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), text, Remaining())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=epochs)

        def show(done: int, history: dict[str, list[float]]) -> None:
            last = {name: history[name][-1] for name in ("loss", "val_loss") if name in history}
            shown = "  ".join(f"{name} {value:.4g}" for name, value in last.items())
            bar.update(task, completed=done, description=shown)

        yield show
