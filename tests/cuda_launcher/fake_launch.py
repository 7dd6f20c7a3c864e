"""CudaScorer through Triton's own launch path with a driver that loads and launches nothing: what
is compiled, how often, and what a launch is given. A process of its own: the driver is global.

    python fake_launch.py MODEL.vael
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.tools.tensor_descriptor import TensorDescriptor

MULTIPROCESSORS = 132
launches: list[dict[str, Any]] = []
loaded: list[str] = []


class Utils:
    """Of the driver: loads nothing."""

    def load_binary(self, name: str, kernel: bytes, shared: int, device: int) -> tuple[int, ...]:
        loaded.append(name)
        return 1, 2, 100, 0, 1024

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 232448, "multiprocessor_count": MULTIPROCESSORS, "warpSize": 32}


class Launcher:
    """What a kernel is launched with, by name."""

    def __init__(self, source: Any, metadata: Any) -> None:
        self._names = list(source.signature)

    def __call__(self, x: int, y: int, z: int, stream: int, *rest: Any) -> None:
        arguments = dict(zip(self._names, rest[-len(self._names) :], strict=True))
        numbers = {k: v for k, v in arguments.items() if isinstance(v, int | float)}
        given = [k for k, v in arguments.items() if isinstance(v, torch.Tensor | TensorDescriptor)]
        launches.append({"grid": [x, y, z], "stream": stream, "tensors": given, **numbers})


class Driver:
    """A Hopper GPU that is not there."""

    utils = Utils()
    launcher_cls = Launcher

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 77

    def get_current_target(self) -> Any:
        return GPUTarget("cuda", 90, 32)


def main() -> None:
    triton.runtime.driver.set_active(Driver())
    from vaelocity.cuda import device
    from vaelocity.cuda.scorer import CudaScorer

    # The device is the CPU: it need not be asked, and bfloat16 must stay bfloat16.
    device.current = lambda where: contextlib.nullcontext()
    device.multiprocessors = lambda where: MULTIPROCESSORS
    device.upload = lambda values, where: (
        torch.from_numpy(values.view("int16")).view(torch.bfloat16)
        if values.dtype == "uint16"
        else torch.from_numpy(values)
    )
    scorer = CudaScorer(sys.argv[1], None, "bf16", torch.device("cpu"))
    out = torch.empty(100_000)
    for n in (1, 16, 1000, 0, 1000):
        scorer.score(torch.zeros(n, scorer.n_features), out[:n])
    few = len(loaded)
    for n in (4097, 100_000, 65_536, 100_000):
        scorer.score(torch.zeros(n, scorer.n_features), out[:n])
    many = len(loaded)
    scorer.predict(torch.zeros(20, 64)[:, : scorer.n_features], 3.5)
    alone = len(launches)
    device.copies_tensors = lambda where: True
    grouped = CudaScorer(sys.argv[1], None, "bf16", torch.device("cpu"))
    grouped.score(torch.zeros(100_003, scorer.n_features), torch.empty(100_003))
    grouped.score(torch.zeros(5000, 64)[:, : scorer.n_features], out[:5000])
    found, in_groups = launches[:alone], launches[alone:]
    print(
        json.dumps(
            {
                "few": few,
                "many": many,
                "all": len(loaded),
                "launches": found,
                "in_groups": in_groups,
            }
        )
    )


if __name__ == "__main__":
    main()
