"""The only place where a backend is chosen."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from vaelocity.backends import BACKENDS

if TYPE_CHECKING:
    from vaelocity.ops._autograd import Gradients

FORCED = os.environ.get("VAELOCITY_BACKEND") or None
"""The backend of every call that does not ask for one; read once, when vaelocity.ops is imported.
"""

_warned: set[tuple[str, str]] = set()


def choose(
    op: str,
    names: Sequence[str],
    gradients: Gradients | None,
    args: Sequence[Any],
    backend: str | None,
) -> str:
    """The first backend that takes the call; or the one asked for.

    Raises:
        ValueError: no backend has that name.
        RuntimeError: it cannot take the call; the error says why.
    """
    wanted = backend or FORCED
    if wanted is not None:
        if (why := rejection(wanted, names, gradients, args)) is not None:
            raise RuntimeError(f"{op}: backend {wanted!r} was asked for, but {why}")
        return wanted
    if _beyond_kernels(gradients, args) is None:
        for name, module in BACKENDS.items():
            if module.reject(names, args) is None:
                return name
            _warn_if_broken(name, names, args)
    return "reference"


def rejection(
    backend: str, names: Sequence[str], gradients: Gradients | None, args: Sequence[Any]
) -> str | None:
    """Why this backend cannot take the call, or None. ValueError if there is none so called."""
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "reference":
        return None
    found: str | None = BACKENDS[backend].reject(names, args)
    return found or _beyond_kernels(gradients, args)


def _beyond_kernels(gradients: Gradients | None, args: Sequence[Any]) -> str | None:
    """Why no kernel can take the call, whatever the backend."""
    if not torch.compiler.is_compiling():
        if torch._C._are_functorch_transforms_active():
            return "transforms of torch.func go through the reference"
        if forward_ad._current_level >= 0:
            return "forward-mode differentiation goes through the reference"
    if gradients is not None and torch.is_grad_enabled():
        for i in gradients.others:
            if args[i] is not None and args[i].requires_grad:
                return f"only the reference has the gradient of {gradients.names[i]}"
    return None


def intercepted(args: Sequence[Any]) -> bool:
    """Whether torch has to see the operator: a mode, a trace, a profile, a subclass of Tensor."""
    if (
        torch._C._len_torch_dispatch_stack() > 0
        or torch._C._get_tracing_state() is not None
        or torch.autograd.profiler._is_profiler_enabled
    ):
        return True
    for value in args:
        kind = type(value)
        if kind is Tensor or kind is torch.nn.Parameter:
            continue
        if isinstance(value, Tensor):
            return True
    return False


def _warn_if_broken(backend: str, names: Sequence[str], args: Sequence[Any]) -> None:
    """Say once that a backend that would have served could not be imported."""
    if backend != "triton" or torch.compiler.is_compiling() or not _on_cuda(args):
        return
    why = BACKENDS[backend].unavailable(names[0])
    if why is not None and (backend, names[0]) not in _warned:
        _warned.add((backend, names[0]))
        warnings.warn(
            f"{names[0]}: CUDA tensors go through the slower reference, for the {backend} backend "
            f"is not to be had: {why}",
            RuntimeWarning,
            stacklevel=4,
        )


def _on_cuda(args: Sequence[Any]) -> bool:
    return any(isinstance(value, Tensor) and value.is_cuda for value in args)
