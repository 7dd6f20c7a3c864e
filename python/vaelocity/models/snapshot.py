"""The state of a training in the middle: kept in memory, and in a checkpoint file without pickle.

A snapshot is a flat dict of tensors: "module.<key>" for the model's state,
"optimizer.<player>.<i>.<name>" for Adam's state of parameter i of a player.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaelocity.bundle import write_atomically

Snapshot = dict[str, Tensor]
Optimizers = Mapping[str, torch.optim.Optimizer]
"""By player, see `Model.players`."""

_FORMAT = 2


def take(model: nn.Module, optimizers: Optimizers | None = None) -> Snapshot:
    """Copies of the model's and the optimizers' tensors."""
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    for player, optimizer in (optimizers or {}).items():
        for index, values in optimizer.state_dict()["state"].items():
            start = f"optimizer.{player}.{index}"
            state |= {f"{start}.{name}": value for name, value in values.items()}
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def restore(snapshot: Snapshot, model: nn.Module, optimizers: Optimizers | None = None) -> None:
    """Put the model and the optimizers where they were; these keep their learning rates."""
    model.load_state_dict(_below(snapshot, "module."))
    for player, optimizer in (optimizers or {}).items():
        values: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below(snapshot, f"optimizer.{player}.").items():
            index, _, key = name.partition(".")
            values.setdefault(int(index), {})[key] = tensor.clone()
        optimizer.load_state_dict({**optimizer.state_dict(), "state": values})


def digest(snapshot: Snapshot) -> str:
    """SHA-256 of a snapshot."""
    found = hashlib.sha256()
    for name in sorted(snapshot):
        found.update(name.encode())
        found.update(snapshot[name].cpu().contiguous().numpy().data)
    return found.hexdigest()


def _below(tensors: Snapshot, prefix: str) -> Snapshot:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


@dataclass
class Progress:
    """How far a training is.

    identity   what makes it this training: arguments, data, the state it began with
    history    of the model, the epochs before this training included
    best_loss  lowest validation loss of this training; None before the first
    stale      epochs since then
    """

    identity: dict[str, Any]
    history: dict[str, list[float]] = field(default_factory=dict)
    best_loss: float | None = None
    stale: int = 0


def write_checkpoint(
    path: str | os.PathLike[str], progress: Progress, now: Snapshot, best: Snapshot | None
) -> None:
    """Write all of it, at once; a crash leaves the checkpoint before."""
    from safetensors.torch import save

    tensors = {f"now.{name}": tensor.cpu() for name, tensor in now.items()}
    tensors |= {f"best.{name}": tensor.cpu() for name, tensor in (best or {}).items()}
    text = json.dumps({"format": _FORMAT, **asdict(progress)}, allow_nan=False)
    write_atomically(path, save(tensors, {"vaelocity.checkpoint": text}))


def read_checkpoint(
    path: str | os.PathLike[str],
) -> tuple[Progress, Snapshot, Snapshot | None]:
    """What `write_checkpoint` wrote. Raises ValueError if the file is none of its."""
    return parse_checkpoint(Path(path).read_bytes(), path)


def parse_checkpoint(
    data: bytes, path: str | os.PathLike[str]
) -> tuple[Progress, Snapshot, Snapshot | None]:
    """The content of a file that `write_checkpoint` wrote; errors name `path`."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
        size = int.from_bytes(data[:8], "little")
        content = json.loads(data[8 : 8 + size])["__metadata__"]["vaelocity.checkpoint"]
        fields = json.loads(content)
        if fields.pop("format") != _FORMAT:
            raise ValueError("written by another version")
        progress = Progress(**fields)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"checkpoint: {os.fspath(path)} is no checkpoint of this version ({error})"
        ) from None
    best = _below(tensors, "best.")
    return progress, _below(tensors, "now."), best or None
