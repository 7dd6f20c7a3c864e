"""PyTorch through torch.compile."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Sequence
from itertools import count
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from vaelocity.benchmark.peers.protocol import Call, Way
from vaelocity.frozen import Network, Rows

if TYPE_CHECKING:
    import torch

    Score = Callable[[torch.Tensor], torch.Tensor]

NAME = "torch.compile"
LIBRARY = "torch"
INFORMATION = None

_AUTOTUNED = (1, 4096)
_numbers = count()
_kept: dict[tuple[str, int, str | None], Score] = {}


def ways(network: Network, n: int) -> Sequence[Way]:
    """The default mode, and max-autotune with frozen weights: half a minute of compiling each, so
    BENCH_QUICK leaves it out, and so do numbers of rows where it was hardly faster."""
    found = [_way("default", network, n, None, False)]
    if not os.environ.get("BENCH_QUICK") and n in _AUTOTUNED:
        found.append(_way("max-autotune, frozen", network, n, "max-autotune", True))
    return found


def _way(name: str, network: Network, n: int, mode: str | None, freezing: bool) -> Way:
    import torch

    key = (network.name, n, mode)
    if key not in _kept:
        _kept[key] = _compiled(network, n, mode, freezing)
    function = _kept[key]

    def bind(rows: Rows) -> Call:
        tensor = torch.from_numpy(rows)

        @torch.inference_mode()
        def call() -> torch.Tensor:
            return function(tensor)

        with torch.compiler.set_stance("fail_on_recompile"):
            call()
        return call

    return Way(name, bind)


def _compiled(network: Network, n: int, mode: str | None, freezing: bool) -> Score:
    """A compiled module, warm for n rows.

    Each has a forward with a code object of its own: what torch has compiled is kept by code
    object, and looked through one by one at every call.
    """
    import torch
    from torch._inductor import config

    from vaelocity.benchmark.peers.torch_module import ScoreModule

    torch.set_num_threads(1)
    plain = ScoreModule.forward
    name = f"forward{next(_numbers)}"
    forward = FunctionType(plain.__code__.replace(co_name=name), plain.__globals__, name)
    module: ScoreModule = type("ScoreModule", (ScoreModule,), {"forward": forward})(network)
    function: Any = torch.compile(module, mode=mode, dynamic=False)
    warm = torch.zeros(n, network.n_features)
    quiet = contextlib.redirect_stderr(io.StringIO())  # the autotuner's tables
    with torch.inference_mode(), config.patch(freezing=freezing), quiet:
        function(warm)
        function(warm)
    return cast("Score", function)
