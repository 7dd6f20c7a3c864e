"""PyTorch in eager mode."""

from __future__ import annotations

from collections.abc import Sequence

from vaelocity.benchmark.peers.protocol import Call, Way
from vaelocity.frozen import Network, Rows

NAME = "torch eager"
LIBRARY = "torch"
INFORMATION = None


def ways(network: Network, n: int) -> Sequence[Way]:
    """A Sequential under inference_mode; the same with operations in place."""
    import torch

    from vaelocity.benchmark.peers.torch_module import ScoreModule

    torch.set_num_threads(1)

    def way(name: str, inplace: bool) -> Way:
        module = ScoreModule(network, inplace)

        def bind(rows: Rows) -> Call:
            tensor = torch.from_numpy(rows)

            @torch.inference_mode()
            def call() -> torch.Tensor:
                scores: torch.Tensor = module(tensor)
                return scores

            return call

        return Way(name, bind)

    return [way("nn.Sequential", False), way("in place", True)]
