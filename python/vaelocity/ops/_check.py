"""Checks of the ops' arguments, and the layout [B, D] that every kernel takes."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor

from vaelocity.ops.rng import Rng

_LARGEST = sys.float_info.max


def rows(value: Any, name: str) -> Tensor:
    """value [B, ...] as [B, D]. Raises TypeError unless it is a floating tensor, ValueError for
    fewer than two dimensions."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise TypeError(f"{name}: expected a floating tensor [B, D], got {described(value)}")
    if value.dim() == 2:
        return value
    if value.dim() < 2:
        raise ValueError(f"{name}: expected a floating tensor [B, D], got {described(value)}")
    return value.flatten(1)


def like(value: Tensor, name: str, other: Tensor, other_name: str) -> None:
    """Raises ValueError unless both have one shape and one device."""
    if value.shape != other.shape:
        raise ValueError(
            f"{name}: expected the shape of {other_name}, {tuple(other.shape)}, "
            f"got {tuple(value.shape)}"
        )
    same_device(value, name, other, other_name)


def same_device(value: Tensor | Rng, name: str, other: Tensor, other_name: str) -> None:
    """Raises ValueError unless both are on one device."""
    if value.device != other.device:
        raise ValueError(
            f"{name}: expected a tensor on the device of {other_name}, {other.device}, "
            f"got one on {value.device}"
        )


def draw(rng: Any, n: int, data: Tensor, data_name: str) -> Tensor:
    """The name of a draw of n numbers: the next of an Rng, or one that was drawn before."""
    if isinstance(rng, Rng):
        same_device(rng, "rng", data, data_name)
        return rng.draw(n)
    check_draw(rng)
    same_device(rng, "rng", data, data_name)
    return rng  # type: ignore[no-any-return]


def check_draw(rng: Any) -> None:
    """Raises TypeError unless it is the name of a draw."""
    if not isinstance(rng, Tensor) or rng.dtype != torch.int64 or rng.shape != (2,):
        raise TypeError(
            "rng: expected an ops.Rng, or an int64 tensor [2] that its draw() returned, "
            f"got {described(rng)}"
        )


def number(value: Any, name: str, low: float = -_LARGEST, high: float = _LARGEST) -> float:
    """A finite float in [low, high]; else ValueError. By comparisons only: in torch.compile it may
    be a symbol."""
    try:
        found = value if isinstance(value, float) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if low <= found <= high:
        return found
    bounds = f" from {low:g}" if low > -_LARGEST else ""
    bounds += f" to {high:g}" if high < _LARGEST else ""
    raise ValueError(f"{name}: expected a finite number{bounds}, got {value!r}")


def described(value: Any) -> str:
    """What something is, for an error."""
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return type(value).__name__
