"""The folder of a score that looks at neighbours.

model.vael            the model
training.safetensors  arrays of the training rows, float32
neighbours.json       format, settings, the identity of the model, the SHA-256 of the arrays' file,
                      and `identity`, the SHA-256 of all of these
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.bundle import BundleError, read_bundle, write_atomically
from vaelocity.models.base import Model

FORMAT = 1
INDEX, MODEL, TRAINING = "neighbours.json", "model.vael", "training.safetensors"

Floats = npt.NDArray[np.float32]


def write(
    folder: str | os.PathLike[str],
    model: Model,
    settings: Mapping[str, Any],
    arrays: Mapping[str, Floats],
) -> None:
    """The index last: parts of two writings are refused."""
    from safetensors.numpy import save

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    model.save(place / MODEL)
    data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    write_atomically(place / TRAINING, data)
    content = {
        "format": FORMAT,
        **settings,
        "model": read_bundle(place / MODEL, frozen=False)[0]["identity"],
        "training": hashlib.sha256(data).hexdigest(),
    }
    content["identity"] = _digest(content)
    write_atomically(place / INDEX, (json.dumps(content, indent=1) + "\n").encode())


def read(
    folder: str | os.PathLike[str], score: str, names: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """The index and the arrays, every part verified to be the one that was written.

    score: the class whose folder it has to be; names: of the arrays.

    Raises:
        OSError: a file cannot be read.
        BundleError: a file is damaged, of a newer version, or is not the one that was written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    place = Path(folder)
    content = read_index(place)
    try:
        if content["score"] != score:
            raise ValueError(f"a {content['score']}, expected a {score}")
        data = (place / TRAINING).read_bytes()
        if hashlib.sha256(data).hexdigest() != content["training"]:
            raise ValueError(
                f"{TRAINING} is damaged, or of other rows than the ones that were saved"
            )
        if read_bundle(place / MODEL, frozen=False)[0]["identity"] != content["model"]:
            raise ValueError(f"{MODEL} is another model than the one that was saved")
        arrays = load(data)
        return content, {name: arrays[name] for name in names}
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise BundleError(f"{place / INDEX}: no score can be made of it: {error}") from error


def read_index(folder: Path) -> dict[str, Any]:
    """What neighbours.json says. Raises OSError, BundleError as `read` does."""
    data = (folder / INDEX).read_bytes()
    try:
        content: dict[str, Any] = json.loads(data)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, this version reads {FORMAT}")
        if content["identity"] != _digest(content):
            raise ValueError("it is damaged")
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder / INDEX}: no score can be made of it: {error}") from error
    return content


def _digest(content: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in content.items() if name != "identity"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
