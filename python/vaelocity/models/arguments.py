"""Constructor arguments of models, checked."""

from __future__ import annotations

import math

import numpy as np


def count(value: int, name: str) -> int:
    """`value` as an int. Raises ValueError unless it is an integer of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(f"{name}: expected an integer of at least 0, got {value!r}")
    return int(value)


def share(value: float, name: str) -> float:
    """`value` as a float. Raises ValueError unless it is from 0 to 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: expected a number from 0 to 1, got {value!r}")
    return float(value)


def not_negative(value: float, name: str) -> float:
    """`value` as a float. Raises ValueError unless it is finite and at least 0."""
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name}: expected a finite number of at least 0, got {value!r}")
    return float(value)
