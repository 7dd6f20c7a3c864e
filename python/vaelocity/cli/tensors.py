"""The tensors of a model file, read without PyTorch and without safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.bfloat16 import from_bits

_TYPES = {"F32": "<f4", "U8": "u1", "BF16": "<u2"}


class TensorFile:
    """A safetensors file: the length of the header (u64, little-endian), a JSON header, bytes.

    Nothing is checked here: load the file with `vaelocity.load` first, which checks all of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as handle:
            size = int.from_bytes(handle.read(8), "little")
            header = json.loads(handle.read(size))
        self._begin = 8 + size
        self._entries = {name: entry for name, entry in header.items() if name != "__metadata__"}

    @property
    def shapes(self) -> dict[str, list[int]]:
        return {name: list(entry["shape"]) for name, entry in self._entries.items()}

    def span(self, name: str) -> tuple[int, int]:
        """Where the bytes of a tensor begin and end in the file."""
        begin, end = self._entries[name]["data_offsets"]
        return self._begin + begin, self._begin + end

    def read(self, name: str) -> npt.NDArray[Any]:
        """One tensor as an array of its own; of bfloat16 the float32 of the same values."""
        begin, end = self.span(name)
        with self.path.open("rb") as handle:
            handle.seek(begin)
            data = handle.read(end - begin)
        entry = self._entries[name]
        array = np.frombuffer(data, _TYPES[entry["dtype"]]).reshape(entry["shape"])
        return from_bits(array) if entry["dtype"] == "BF16" else array
