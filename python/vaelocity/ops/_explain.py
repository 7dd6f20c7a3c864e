"""Which backend takes a call, and why the others do not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from vaelocity.backends import BACKENDS
from vaelocity.ops import _dispatch
from vaelocity.ops.rng import Rng

OPS: dict[str, ModuleType] = {}
"""The file of every op by its name: the function of that name, OP, reference and CASES."""


def explain(op: str | Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, str | None]:
    """What every backend says to a call: None where it would take it, else why not.

    The first that takes it, in this order, is the one that computes the call.

    Args:
        op: an op or its name.
        args, kwargs: what it would be called with.

    Raises: ValueError for an unknown op; TypeError for arguments that it does not have.
    """
    name = op if isinstance(op, str) else getattr(op, "__name__", repr(op))
    if name not in OPS:
        raise ValueError(f"op: expected one of {', '.join(sorted(OPS))}, got {name!r}")
    bound = inspect.signature(getattr(OPS[name], name)).bind(*args, **kwargs).arguments
    declared = OPS[name].OP
    found = [bound.get(argument) for argument in declared.forward.arguments]
    found = [value.state if isinstance(value, Rng) else value for value in found]
    return {
        backend: _dispatch.rejection(backend, declared.names, declared.gradients, found)
        for backend in BACKENDS
    }
