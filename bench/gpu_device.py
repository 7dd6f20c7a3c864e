"""The clock of the GPU benchmarks, and a stand-in that runs the same code without a GPU."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]
Call = Callable[[], object]

_IN_A_ROW = 50


class Device(Protocol):
    """What the benchmarks need of a GPU. Times are seconds a call, one for every repeat."""

    name: str
    arch: str
    real: bool
    torch_device: str

    def scorer(self, path: Path, precision: str, config: Any = None) -> Any:
        """A CudaScorer there."""

    def put(self, rows: npt.NDArray[np.float32], kind: str) -> Any:
        """Rows on the device as fp32 or bf16."""

    def empty(self, n: int) -> Any:
        """float32 [n] there."""

    def accepted(self, n: int) -> Any:
        """Memory for n accepted events there."""

    def take(self, scores: Any) -> npt.NDArray[np.float64]:
        """Scores as NumPy."""

    def kernel_seconds(self, call: Call, repeats: int = 20) -> Seconds:
        """On the device's clock, the L2 cache cold before each call."""

    def warm_seconds(self, call: Call, repeats: int = 20) -> Seconds:
        """On the device's clock, one of many calls in a row in a CUDA graph: no cold cache, and
        nothing of the host's time."""

    def call_seconds(self, call: Call, repeats: int = 20) -> Seconds:
        """On the host's clock, until the device is done."""

    def graph(self, call: Call) -> Call:
        """The call captured in a CUDA graph: what replays it."""


def make_device(dry_run: bool) -> Device:
    """This machine's GPU, or the interpreter.

    Raises RuntimeError where there is no GPU and it is not a dry run.
    """
    if dry_run:
        return Interpreter()
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("no CUDA device here; --dry-run goes through everything but the launch")
    return Gpu()


class Gpu:
    """The current CUDA device."""

    real = True
    torch_device = "cuda"

    def __init__(self) -> None:
        import torch

        from vaelocity.cuda.device import arch, resolve

        self._torch = torch
        self._where = resolve(None)
        self.name = torch.cuda.get_device_name(self._where)
        self.arch = arch(self._where)
        # Written between two calls: several times the L2 cache.
        self._flush = torch.empty(1 << 28, dtype=torch.int8, device=self._where)

    def scorer(self, path: Path, precision: str, config: Any = None) -> Any:
        from vaelocity.cuda.scorer import CudaScorer

        return CudaScorer(path, None, precision, self._where, config=config)

    def put(self, rows: npt.NDArray[np.float32], kind: str) -> Any:
        tensor = self._torch.from_numpy(rows).to(self._where)
        return tensor.bfloat16() if kind == "bf16" else tensor

    def empty(self, n: int) -> Any:
        return self._torch.empty(n, device=self._where)

    def accepted(self, n: int) -> Any:
        from vaelocity.cuda.accept import Accepted

        return Accepted.empty(n, self._where)

    def take(self, scores: Any) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = scores.double().cpu().numpy()
        return found

    def kernel_seconds(self, call: Call, repeats: int = 20) -> Seconds:
        return self._events(call, repeats, cold=True)

    def warm_seconds(self, call: Call, repeats: int = 20) -> Seconds:
        def many() -> None:
            for _ in range(_IN_A_ROW):
                call()

        return self._events(self.graph(many), repeats, cold=False) / _IN_A_ROW

    def _events(self, call: Call, repeats: int, cold: bool) -> Seconds:
        cuda = self._torch.cuda
        call()
        times = []
        for _ in range(repeats):
            start, stop = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
            if cold:
                self._flush.zero_()
            # Long enough for the host to queue what follows: no gap between event and kernel.
            cuda._sleep(200_000)
            start.record()
            call()
            stop.record()
            cuda.synchronize()
            times.append(start.elapsed_time(stop) / 1e3)
        return np.array(times)

    def call_seconds(self, call: Call, repeats: int = 20) -> Seconds:
        call()
        self._torch.cuda.synchronize()
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            call()
            self._torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        return np.array(times)

    def graph(self, call: Call) -> Call:
        graph = self._torch.cuda.CUDAGraph()
        side = self._torch.cuda.Stream()
        side.wait_stream(self._torch.cuda.current_stream())
        with self._torch.cuda.stream(side):
            call()
        self._torch.cuda.current_stream().wait_stream(side)
        with self._torch.cuda.graph(graph):
            call()
        return graph.replay  # type: ignore[no-any-return]


class Interpreter:
    """Triton's interpreter on the CPU. Its times mean nothing; everything up to the launch, and the
    kernels' arithmetic, is what a GPU gets. TRITON_INTERPRET=1 must be set from the start."""

    name = "dry run"
    arch = "sm_90"
    real = False
    torch_device = "cpu"

    def __init__(self) -> None:
        if os.environ.get("TRITON_INTERPRET") != "1":
            raise RuntimeError("--dry-run: set TRITON_INTERPRET=1 before starting Python")
        import torch

        self._torch = torch

    def scorer(self, path: Path, precision: str, config: Any = None) -> Any:
        from vaelocity.cuda.scorer import CudaScorer

        return CudaScorer(path, None, precision, self._torch.device("cpu"), config=config)

    def put(self, rows: npt.NDArray[np.float32], kind: str) -> Any:
        tensor = self._torch.from_numpy(rows)
        return tensor.bfloat16().float() if kind == "bf16" else tensor

    def empty(self, n: int) -> Any:
        return self._torch.empty(n)

    def accepted(self, n: int) -> Any:
        from vaelocity.cuda.accept import Accepted

        return Accepted.empty(n, self._torch.device("cpu"))

    def take(self, scores: Any) -> npt.NDArray[np.float64]:
        found: npt.NDArray[np.float64] = scores.double().numpy()
        return found

    def kernel_seconds(self, call: Call, repeats: int = 20) -> Seconds:
        return self.call_seconds(call, 1)

    def warm_seconds(self, call: Call, repeats: int = 20) -> Seconds:
        return self.call_seconds(call, 1)

    def call_seconds(self, call: Call, repeats: int = 20) -> Seconds:
        start = time.perf_counter()
        call()
        return np.array([time.perf_counter() - start])

    def graph(self, call: Call) -> Call:
        return call
