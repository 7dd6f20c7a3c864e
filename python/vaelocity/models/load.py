"""From a .vael file back to a model that can be trained on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vaelocity.bundle import BundleError, read_bundle
from vaelocity.identity import is_frozen
from vaelocity.models.base import EXAMPLES, Model
from vaelocity.models.dense import DenseModel
from vaelocity.models.file_parts import Tensors, get_module, get_parts, get_state
from vaelocity.models.latent import LatentModel
from vaelocity.models.layers import Network


def load(path: str | os.PathLike[str], classes: Sequence[type[Model]] = ()) -> Model:
    """The trainable model of a .vael file, on the CPU, with its history and thresholds.

    classes: models of your own that the file may be of; found by their names.

    It scores as the model that was saved, bit for bit on one machine. The optimizer's state is not
    in the file: `fit` goes on with a fresh one.

    Raises:
        OSError: the file cannot be read.
        BundleError: it is damaged (see `read_bundle`), or no model of this package.
    """
    metadata, tensors = read_bundle(path, frozen=False)
    try:
        return _rebuilt(metadata, tensors, classes)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(f"{os.fspath(path)}: no model can be made of it: {error}") from error


def _rebuilt(metadata: dict[str, Any], tensors: Tensors, classes: Sequence[type[Model]]) -> Model:
    model = _class(metadata["module"]["class"], classes)(**metadata["module"]["args"])
    get_module(model, metadata, tensors)
    get_state(model, metadata, tensors)
    if is_frozen(metadata):
        if isinstance(model, DenseModel):
            _get_layers(model, metadata, tensors)
        elif not (isinstance(model, LatentModel) and model.frozen_kinds()):
            raise BundleError(f"module: {type(model).__name__} has no frozen form")
    get_parts(model, metadata, tensors)
    return model.eval()


def _class(name: str, classes: Sequence[type[Model]]) -> type[Model]:
    from vaelocity import models

    for own in classes:
        if own.__name__ == name:
            return own
    found = getattr(models, name, None) if name in models.__all__ else None
    if not (isinstance(found, type) and issubclass(found, Model)):
        raise BundleError(f"module: unknown class {name!r}; see classes")
    return found


@torch.no_grad()
def _get_layers(model: DenseModel, metadata: dict[str, Any], tensors: Tensors) -> None:
    """The layers of a frozen model, and the training rows among its conformance rows."""
    if bounds := metadata["module"].get("bounds"):
        model.restore_bounds(dict(bounds))
    for part in ("encoder", "decoder"):
        dense = [step for step in metadata[part] if step["op"] == "dense"]
        _restore(getattr(model, part), part, dense, tensors)
    if "examples" in metadata["module"].get("state", {}):
        return
    names = metadata["conformance"]
    rows = tensors[names["rows"]][: names["data_rows"]]
    if len(rows):
        kept = np.linspace(0, len(rows) - 1, EXAMPLES).round().astype(int)
        model.examples.copy_(torch.from_numpy(rows[kept]))


def _restore(
    network: Network, part: str, steps: Sequence[dict[str, Any]], tensors: Tensors
) -> None:
    """The layers' weights: unfolded ones where the file has them."""
    layers = network.dense()
    if len(layers) != len(steps):
        raise BundleError(f"{part}: {len(steps)} layers, the module's arguments say {len(layers)}")
    prefix = f"module.{part}."
    state = {
        name.removeprefix(prefix): torch.from_numpy(values)
        for name, values in tensors.items()
        if name.startswith(prefix)
    }
    if state:
        own = network.state_dict()
        network.load_state_dict(own | state)
        return
    for layer, step in zip(layers, steps, strict=True):
        layer.set_folded(tensors[step["weight"]], tensors[step["bias"]])
