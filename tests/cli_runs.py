"""What the tests of the command line share: what a command said, and events to give it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["NAMES", "TINY", "Ran", "Run", "error_of", "events"]

NAMES = [f"f{j}" for j in range(6)]
TINY = ("--latent", "2", "--hidden", "16", "--epochs", "4", "--batch-size", "512")
"""A training of some tenths of a second."""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


Run = Callable[..., Ran]


def error_of(ran: Ran, code: int = 2) -> str:
    """The one line on stderr that an error is; nothing on stdout, no traceback."""
    assert ran.code == code, ran.err
    assert ran.out == ""
    lines = ran.err.splitlines()
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("vaelocity: error: ")
    return lines[0]


def events(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """n rows on a curved two-dimensional sheet in six dimensions, with a little noise."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    sheet = np.column_stack([a, b, a * b, a**2, a + b, b**2])
    return (sheet + 0.1 * rng.normal(size=(n, 6)) + shift).astype(np.float32)
