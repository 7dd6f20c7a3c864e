"""The peers on a GPU: torch eager, and torch.compile captured in a CUDA graph, in float32 (with
TF32 products) and under bfloat16 autocast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from vaelocity.benchmark.peers.torch_module import ScoreModule
from vaelocity.frozen import Network

Call = Callable[[], Any]


def peers(network: Network, rows: torch.Tensor) -> Iterator[tuple[str, str, Callable[[], Call]]]:
    """(name, precision whose error is allowed, what makes the call)."""
    torch.backends.cuda.matmul.allow_tf32 = True
    module = ScoreModule(network).to(rows.device)
    for name, allowed, dtype in (("tf32", "tf32", None), ("bf16", "bf16", torch.bfloat16)):
        yield f"torch eager {name}", allowed, lambda d=dtype: _eager(module, rows, d)
        yield (
            f"torch.compile {name} + CUDA graph",
            allowed,
            lambda d=dtype: _graphed(module, rows, d),
        )


def _eager(module: torch.nn.Module, rows: torch.Tensor, dtype: torch.dtype | None) -> Call:
    @torch.inference_mode()
    def call() -> torch.Tensor:
        with torch.autocast("cuda", dtype or torch.bfloat16, enabled=dtype is not None):
            scores: torch.Tensor = module(rows)
        return scores

    return call


def _graphed(module: torch.nn.Module, rows: torch.Tensor, dtype: torch.dtype | None) -> Call:
    torch.compiler.reset()
    compiled = _eager(torch.compile(module, dynamic=False), rows, dtype)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            compiled()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        scores = compiled()

    def call() -> torch.Tensor:
        graph.replay()
        return scores

    return call
