"""Where a CudaScorer runs: a CUDA device; or the CPU under Triton's interpreter, for tests, with
TRITON_INTERPRET=1 set before the first kernel is imported."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import torch


def resolve(device: str | torch.device | None) -> torch.device:
    """The device that was asked for; None takes the current CUDA device.

    Raises RuntimeError where torch finds no CUDA device, ValueError for another kind of device.
    """
    if device is not None and torch.device(device).type == "cpu" and _interpreted():
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError(
            "backend: 'cuda' needs a CUDA device, and torch finds none "
            f"(torch {torch.__version__}); backend='cpu' needs no GPU"
        )
    where = torch.device("cuda" if device is None else device)
    if where.type != "cuda":
        raise ValueError(f"device: expected a CUDA device, got {str(where)!r}")
    return torch.device("cuda", torch.cuda.current_device() if where.index is None else where.index)


def current(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Triton launches on the current device: make it this one."""
    return contextlib.nullcontext() if device.type == "cpu" else torch.cuda.device(device)


def arch(device: torch.device) -> str:
    """ "sm_90", "gfx942"; the interpreter passes for sm_90."""
    if device.type == "cpu":
        return "sm_90"
    if torch.version.hip:
        name: str = torch.cuda.get_device_properties(device).gcnArchName
        return name.split(":", maxsplit=1)[0]
    return "sm_{}{}".format(*torch.cuda.get_device_capability(device))


def copies_tensors(device: torch.device) -> bool:
    """Whether it has a tensor memory accelerator: Hopper and what came after. The interpreter's
    stand-in reads from columns at multiples of 16 bytes alone."""
    if device.type == "cpu" or torch.version.hip:
        return False
    return torch.cuda.get_device_capability(device) >= (9, 0)


def multiprocessors(device: torch.device) -> int:
    """How many programs run at once, if each needs a whole multiprocessor."""
    if device.type == "cpu":
        return 2
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


def upload(values: Any, device: torch.device) -> torch.Tensor:
    """A float32 array, or a uint16 array of bfloat16 bits, as a tensor on the device.

    The interpreter computes nonsense in bfloat16, so that there the same values are float32.
    """
    if values.dtype != "uint16":
        return torch.from_numpy(values).to(device, copy=True)
    tensor = torch.from_numpy(values.view("int16")).view(torch.bfloat16)
    return tensor.float() if device.type == "cpu" else tensor.to(device, copy=True)


def scratch(elements: int, kind: str, device: torch.device) -> torch.Tensor:
    """Memory for scratch tiles of Triton's type `kind` (bf16 or fp32)."""
    narrow = kind == "bf16" and device.type != "cpu"
    return torch.empty(elements, dtype=torch.bfloat16 if narrow else torch.float32, device=device)


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"
