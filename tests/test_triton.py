"""The Triton kernels against float64 formulas: tests/triton/check_*.py, in Triton's interpreter
and on a GPU; and what only a GPU can show, waiting for the device and graphs.

The checks run in a process of their own, because TRITON_INTERPRET has to be set, or not, before the
kernels are imported.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

CHECKS = Path(__file__).parent / "triton"
gpu = pytest.mark.gpu
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
IN = ["1", pytest.param("0", marks=[gpu, needs_cuda])]


@pytest.mark.parametrize("interpret", IN, ids=["interpreter", "gpu"])
def test_checks(interpret: str) -> None:
    found = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=short", "--noconftest"),
            # pytest-benchmark warns where xdist is in use, and warnings are errors.
            *("-p", "no:cacheprovider", "-p", "no:benchmark"),
            *("-o", "python_files=check_*.py", "-o", f"pythonpath={CHECKS}"),
            # NumPy warns where the interpreter makes inf and NaN on purpose.
            *("-W", "ignore::RuntimeWarning", str(CHECKS)),
        ],
        env={**os.environ, "TRITON_INTERPRET": interpret},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


@gpu
@needs_cuda
class TestOnGpu:
    def test_no_launch_waits_for_the_device(self) -> None:
        """Every launcher, found by name: those of kernels/*.py that have variants."""
        from vaelocity import kernels

        def new(*shape: int, dtype: Any = torch.float32) -> Any:
            return torch.zeros(shape, dtype=dtype, device="cuda")

        ops = [
            importlib.import_module(f"vaelocity.kernels.{module.name}")
            for module in pkgutil.iter_modules(kernels.__path__)
        ]
        calls = [call for op in ops if hasattr(op, "variants") for call in op.variants(new)]
        assert calls
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Synchronization debug mode is a prototype")
            torch.cuda.set_sync_debug_mode("error")
        try:
            for launcher, *args in calls:
                launcher(*args)
        finally:
            torch.cuda.set_sync_debug_mode(before)

    def test_a_graph_draws_anew_at_every_replay(self) -> None:
        from vaelocity.kernels.reparameterize_kl import (
            reparameterize_kl,
            reparameterize_kl_backward,
        )

        mu, logvar = torch.randn(2, 300, 10, device="cuda")
        ones = torch.ones(300, device="cuda")

        def step(rng: Any) -> list[Any]:
            z, kl, *grads = mu.new_empty(300, 10), mu.new_empty(300), *mu.new_empty(2, 300, 10)
            reparameterize_kl(mu, logvar, rng, z, kl)
            reparameterize_kl_backward(z, ones, mu, logvar, rng, *grads)
            return [z, kl, *grads]

        blocks = torch.tensor([0, 750], device="cuda")
        rng = torch.tensor([7, 2**32 - 800], device="cuda")
        wants = [step(rng + i * blocks) for i in range(3)]
        assert not torch.equal(wants[0][0], wants[1][0])
        torch.cuda.synchronize()

        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            results = step(rng)
            rng += blocks
        for want in wants:
            graph.replay()
            assert all(torch.equal(r, w) for r, w in zip(results, want, strict=True))
