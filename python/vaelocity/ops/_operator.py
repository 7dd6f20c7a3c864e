"""One operator of torch.library: its schema, the memory of its results, its kernels by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vaelocity.backends import BACKENDS

Result = Tensor | tuple[Tensor, ...]

_LIBRARY = torch.library.Library("vaelocity", "DEF")  # type: ignore[no-untyped-call]


class Operator:
    """torch.ops.vaelocity.<name>, for the CPU and CUDA.

    Args:
        name: of the operator and of its kernel in every backend.
        schema: "(Tensor mu, ...) -> Tensor". Data is [B, D]; a per-sample result is [B].
        empty: memory for the results, from the arguments; the operator's fake, too. See
            `_memory`.
    """

    def __init__(self, name: str, schema: str, empty: Callable[..., Result]) -> None:
        parsed = torch._C.parse_schema(f"vaelocity::{name}{schema}")
        self.name = name
        self.arguments = [argument.name for argument in parsed.arguments]
        self.tensors = [
            i for i, argument in enumerate(parsed.arguments) if "Tensor" in str(argument.type)
        ]
        self.empty = empty
        self._kernels: dict[str, Callable[..., None]] = {}
        _LIBRARY.define(  # type: ignore[no-untyped-call]
            name + schema, tags=[torch.Tag.pt2_compliant_tag]
        )
        for key, backend in (("CPU", "cpu"), ("CUDA", "triton")):
            function = self._implementation(backend)
            _LIBRARY.impl(name, function, key)  # type: ignore[no-untyped-call]
        torch.library.register_fake(f"vaelocity::{name}", empty, lib=_LIBRARY)
        self.overload = getattr(torch.ops.vaelocity, name).default
        BACKENDS["cpu"].unavailable(name)

    def run(self, backend: str, args: tuple[Any, ...] | list[Any]) -> Result:
        """The results, from a backend's kernel. Not seen by torch's dispatcher."""
        for i in self.tensors:
            value = args[i]
            if value is not None and not value.is_contiguous() and not _rows_in_line(value):
                args = [*args[:i], value.contiguous(), *args[i + 1 :]]
        outputs = self.empty(*args)
        kernel = self._kernels.get(backend)
        if kernel is None:
            kernel = self._kernels[backend] = BACKENDS[backend].kernel(self.name)
        if isinstance(outputs, tuple):
            kernel(*args, *outputs)
        else:
            kernel(*args, outputs)
        return outputs

    def _implementation(self, backend: str) -> Callable[..., Result]:
        """What torch's dispatcher calls."""

        def implementation(*args: Any) -> Result:
            if (why := BACKENDS[backend].reject((self.name,), args)) is not None:
                raise RuntimeError(f"vaelocity::{self.name}: backend {backend!r}: {why}")
            return self.run(backend, args)

        return implementation


def _rows_in_line(value: Tensor) -> bool:
    """Whether kernels take its strides: neighbouring columns side by side; of [B] any."""
    return value.dim() != 2 or value.stride(1) == 1
