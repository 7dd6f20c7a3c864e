"""The formulas in plain torch: any device, any floating type, every kind of differentiation.

It has no kernels: `vaelocity.ops` calls an op's reference() itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def reject(names: Sequence[str], args: Sequence[Any]) -> str | None:
    """Never: it takes every call."""
    return None


def unavailable(name: str) -> str | None:
    """Never: every op has a reference."""
    return None
