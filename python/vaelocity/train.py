"""The training loop of every model: Adam over index batches of rows that are in memory already.

Epoch e of a training takes its order and its noise from (seed, e) alone, e counted over the
model's whole life. So a training that was stopped goes on as if it had not been, without any
random state to keep.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from vaelocity import ops
from vaelocity.distributed import Processes
from vaelocity.drift import MOST_ROWS, Reference
from vaelocity.models import snapshot as snapshots
from vaelocity.models.snapshot import Progress, Snapshot
from vaelocity.models.training_data import Part, TrainingData
from vaelocity.training_bar import bar
from vaelocity.training_graph import GraphSteps
from vaelocity.training_optimizers import apart, optimizers
from vaelocity.training_steps import Steps, Sums

if TYPE_CHECKING:
    from vaelocity.models.base import Model

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
    cuda_graph: bool = False

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
        if self.cuda_graph and self.device.type != "cuda":
            raise ValueError(f"cuda_graph: needs device='cuda', got {str(self.device)!r}")


def train(model: Model, data: TrainingData, settings: Settings, processes: Processes) -> None:
    """Train `model` in place; see `Model.fit`. If it fails the model is as it was."""
    processes.attempt(processes.check_device, settings.device)
    processes.attempt(_check_shares, model, data, settings, processes.size, processes.least_rows)
    processes.check()
    normed = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules())
    if normed and min(len(data.train), settings.batch_size) < 2:
        raise ValueError("batch_norm: needs batches of at least 2 rows; see batch_size and X")
    model.to(settings.device)
    before = snapshots.take(model)
    optimizer_before, initialised_before = model.optimizer_state, model.initialised
    try:
        arguments = (model, data.to(settings.device), settings, processes)
        training = processes.attempt(_Training, *arguments)
        processes.check()
        assert training is not None
        training.run()
    except BaseException:
        snapshots.restore(before, model)
        model.optimizer_state, model.initialised = optimizer_before, initialised_before
        raise
    finally:
        apart(model)
        model.eval()


def _check_shares(
    model: Model, data: TrainingData, settings: Settings, size: int, least: int
) -> None:
    """Raises ValueError for what `size` processes cannot share out; least: rows of a batch."""
    if size == 1:
        return
    if not model.rows_apart:
        raise ValueError(
            f"fit: a {type(model).__name__} with these arguments cannot be trained by {size} "
            "processes: the loss of a row depends on others of its batch, or its noise is not "
            "drawn row by row"
        )
    if settings.cuda_graph:
        raise ValueError("cuda_graph: not with several processes")
    n = len(data.train)
    smallest = n // -(-n // settings.batch_size)
    few = f"rows are too few for {size} processes, which need {least}"
    if smallest < least:
        raise ValueError(f"batch_size: steps of {smallest} {few}")
    if data.validation is not None and len(data.validation) < least:
        raise ValueError(f"X_val: {len(data.validation)} {few}")


class _Training:
    def __init__(
        self, model: Model, data: TrainingData, settings: Settings, processes: Processes
    ) -> None:
        self.model, self.data, self.settings = model, data, settings
        self.processes = processes
        self._cosine = settings.schedule == "cosine"
        self._prepare_model()
        self.optimizers = optimizers(model, settings)
        if model.optimizer_state is not None:
            start = snapshots.take(model) | model.optimizer_state
            snapshots.restore(start, model, self.optimizers)
        kind = GraphSteps if settings.cuda_graph else Steps
        self.steps = kind(model, self.optimizers, settings.backend, processes)
        self.best: Snapshot | None = None
        self.first_epoch = len(model.history.get("epoch", []))
        history = {name: list(values) for name, values in model.history.items()}
        self.progress = Progress({}, history)

    def _prepare_model(self) -> None:
        """First weights, scaling and conformance rows, unless it has been fitted before."""
        model, data = self.model, self.data
        if bool(model.fitted):
            return
        if not model.initialised:
            model.initialise(self.settings.seed)
        model.begin(data.train.x, data.train.weight)

    def _identity(self) -> dict[str, object]:
        """What must be equal for a checkpoint to be of this training, where epochs may be more;
        and in all of its processes."""
        if self.settings.checkpoint is None and self.processes.size == 1:
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
            "preprocess": getattr(self.model.scaler, "steps", []),
            "data": self.data.digest(),
            "weights at the start": snapshots.digest(snapshots.take(self.model, self.optimizers)),
        }

    # ---- The loop

    def run(self) -> None:
        model, data = self.model, self.data
        self._begin_together()
        resumed = self._resumed()
        judged = model.validates and bool(model.fitted)
        if judged and not resumed and data.validation is not None:
            self._note_best(self._validate(data.validation)["loss"])
        last = self.first_epoch + self.settings.epochs
        name = type(model).__name__
        shown = self.settings.progress and self.processes.rank == 0
        with bar(name, shown, self.settings.epochs) as show:
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
            if self.processes.rank == 0:
                where = self.settings.checkpoint
                write = snapshots.write_checkpoint
                self.processes.attempt(write, where, self.progress, now, self.best)
            self.processes.check()

    def _optimise(self, epoch: int) -> Terms:
        """Steps over all rows in random order; the mean of every term on the way."""
        part, model = self.data.train, self.model.train()
        order = torch.randperm(len(part), generator=self._generator(_ORDER, epoch))
        noise = self.processes.rng(self._seed(_NOISE, epoch), part.x.device)
        self.steps.begin_epoch(part, noise)
        sums = Sums()
        batches = order.to(part.x.device).tensor_split(-(-len(part) // self.settings.batch_size))
        for i, index in enumerate(batches):
            self._set_learning_rate(epoch + i / len(batches))
            sums.add(self.steps.take(index))
            model.after_step()
        return self._means(sums, len(part))

    def _means(self, sums: Sums, n: int) -> Terms:
        """Of n rows, of all processes."""
        self.processes.check()
        totals = self.processes.add(sums.totals())
        return {name: float(total) / n for name, total in totals.items()}

    def _set_learning_rate(self, at: float) -> None:
        """Of the schedule, `at` so many epochs of the model's life; see `Settings.schedule`."""
        if not self._cosine:
            return
        share = (at - self.first_epoch) / self.settings.epochs
        lr = self.settings.lr * 0.5 * (1 + math.cos(math.pi * share))
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                if isinstance(group["lr"], torch.Tensor):
                    group["lr"].fill_(lr)
                else:
                    group["lr"] = lr

    @torch.no_grad()
    def _validate(self, part: Part) -> Terms:
        """The mean of every term over the validation rows, in eval mode, with the same noise
        every time: epochs differ by their weights only."""
        self.model.eval()
        noise = self.processes.rng(self._seed(_VALIDATION_NOISE, 0), part.x.device)
        sums = Sums()
        for at in range(0, len(part), _VALIDATION_BATCH):
            here = self.processes.place(noise, min(_VALIDATION_BATCH, len(part) - at))
            if here.start < here.stop:
                rows = part.cut(slice(at + here.start, at + here.stop))
                sums.add(self.processes.attempt(self.steps.terms, rows, noise) or {})
        return self._means(sums, len(part))

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

    def _begin_together(self) -> None:
        """All processes from the state of the first one, with the same arguments and rows."""
        together, model = self.processes, self.model
        if together.size > 1:
            start = snapshots.take(model, self.optimizers)
            together.check_same({"models": [*start]})
            together.take_first(start.values())
            snapshots.restore(start, model, self.optimizers)
        identity = together.attempt(self._identity)
        together.check()
        self.progress.identity = identity or {}
        together.check_same(
            {
                **self.progress.identity,
                "epochs": int(self.settings.epochs),
                "checkpoint": self.settings.checkpoint is not None,
                "history": self.progress.history,
            }
        )

    def _resumed(self) -> bool:
        """Take over the checkpoint, if there is one of this very training."""
        path = self.settings.checkpoint
        if path is None:
            return False
        data = None
        if self.processes.rank == 0 and Path(path).exists():
            data = self.processes.attempt(Path(path).read_bytes)
        self.processes.check()
        data = self.processes.from_first(data)
        if data is None:
            return False
        progress, now, best = snapshots.parse_checkpoint(data, path)
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
