"""The C++ kernels (csrc/src/ops) on CPU tensors, shared out over torch.get_num_threads() threads.

A kernel computes rows [begin, end) and every row on its own, so that the number of threads does
not change a bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from vaelocity import _core

DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_SPAN = 1 << 17
"""Elements that one thread takes at least: some 100 us of work, so that waking a thread pays."""
_FLAT = ("philox_normal",)
"""Operators whose span is one of elements, not of rows; it begins at a multiple of 4."""

_pool: ThreadPoolExecutor | None = None
_pool_threads = 0


def reject(names: Sequence[str], args: Sequence[Any]) -> str | None:
    """Why the kernels cannot take these arguments, or None."""
    for value in args:
        if isinstance(value, Tensor):
            if not value.is_cpu:
                return f"it takes tensors on the CPU, got one on {value.device}"
            if value.is_floating_point() and value.dtype not in DTYPES:
                return f"it takes float32, bfloat16 and float16, got {value.dtype}"
        elif type(value) is torch.dtype and value not in DTYPES:
            return f"it gives float32, bfloat16 and float16, not {value}"
    for name in names:
        if (why := _MISSING.get(name)) is not None:
            return why
    return None


_MISSING: dict[str, str] = {}
"""Why an operator has no kernel; a dict, which torch.compile can look into."""


def unavailable(name: str) -> str | None:
    """Why there is no kernel of this name, or None."""
    if not hasattr(getattr(_core, "ops", None), name):
        _MISSING[name] = f"there is no C++ kernel {name}"
    return _MISSING.get(name)


def kernel(name: str) -> Callable[..., None]:
    """kernel(*args, *outputs) over all rows of the outputs."""
    function: Callable[..., None] = getattr(_core.ops, name)

    def elements(*args: Any) -> None:
        flat = args[-1].view(-1)
        _share(function, (*args[:-1], flat), flat.shape[0], flat.shape[0])

    def rows(*args: Any) -> None:
        n: int = args[-1].shape[0]
        if torch.get_num_threads() == 1:
            function(*args, 0, n)
        else:
            _share(function, args, n, max(a.numel() for a in args if isinstance(a, Tensor)))

    return elements if name in _FLAT else rows


def _share(function: Callable[..., None], args: tuple[Any, ...], n: int, size: int) -> None:
    """function over [0, n) in as many spans as there are threads, each of _SPAN elements at least
    and beginning at a multiple of 4. `size`: elements of the largest tensor."""
    threads = min(torch.get_num_threads(), size // _SPAN)
    if threads <= 1:
        function(*args, 0, n)
        return
    step = -(-n // threads)
    step += -step % 4
    spans = [(at, min(n, at + step)) for at in range(step, n, step)]
    pending = [_threads().submit(function, *args, *span) for span in spans]
    try:
        function(*args, 0, min(n, step))
    finally:
        for future in pending:
            future.result()


def _threads() -> ThreadPoolExecutor:
    """The pool, which grows with torch's number of threads."""
    global _pool, _pool_threads
    wanted = torch.get_num_threads() - 1
    if _pool is None or _pool_threads < wanted:
        _pool, _pool_threads = ThreadPoolExecutor(wanted, "vaelocity"), wanted
    return _pool


def _forget_threads() -> None:
    global _pool  # noqa: PLW0603
    _pool = None


os.register_at_fork(after_in_child=_forget_threads)  # threads do not survive a fork
