"""The Triton kernels (vaelocity.kernels) on CUDA tensors; in Triton's interpreter
(TRITON_INTERPRET=1) on CPU tensors as well, if it is asked for by name."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
_reasons: dict[str, str | None] = {}


def reject(names: Sequence[str], args: Sequence[Any]) -> str | None:
    """Why the kernels cannot take these arguments, or None. Imports triton only where nothing
    else speaks against it."""
    for value in args:
        if isinstance(value, Tensor):
            if not (value.is_cuda or (_INTERPRETED and value.is_cpu)):
                return f"it takes tensors on CUDA, got one on {value.device}"
            if value.is_floating_point() and value.dtype not in DTYPES:
                return f"it takes float32, bfloat16 and float16, got {value.dtype}"
        elif type(value) is torch.dtype and value not in DTYPES:
            return f"it gives float32, bfloat16 and float16, not {value}"
    for name in names:
        if (why := unavailable(name)) is not None:
            return why
    return None


def unavailable(name: str) -> str | None:
    """Why there is no kernel of this name, or None: it has been imported."""
    if name not in _reasons:
        try:
            _find(name)
            _reasons[name] = None
        except Exception as error:  # whatever goes wrong inside triton is the reason
            _reasons[name] = f"{type(error).__name__}: {error}"
    return _reasons[name]


# What torch.compiler.assume_constant_result would do after importing torch._dynamo, for a second.
unavailable._dynamo_marked_constant = True  # type: ignore[attr-defined]


def kernel(name: str) -> Callable[..., None]:
    """kernel(*args, *outputs): launches on the current stream of the outputs' device."""
    function = _find(name)

    def launch(*args: Any) -> None:
        if not args[-1].is_cuda:
            function(*args)
            return
        with torch.cuda.device(args[-1].device):
            function(*args)

    return launch


def _find(name: str) -> Callable[..., None]:
    """The launcher in vaelocity/kernels/<op>.py, which holds backward as well."""
    module = importlib.import_module(f"vaelocity.kernels.{name.removesuffix('_backward')}")
    function: Callable[..., None] = getattr(module, name)
    return function
