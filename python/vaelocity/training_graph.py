"""Training steps captured in a CUDA graph: one launch a step, where a small network's kernels take
less time than their launches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vaelocity import ops
from vaelocity.models.training_data import Part
from vaelocity.training_steps import Steps, Terms

_WARM_UP = 3
"""Steps of a batch size before it is captured: kernels are compiled, the optimisers' state is made.
They are steps of the training like all others."""


@dataclass(frozen=True)
class _Captured:
    """A step of one batch size. replay takes the rows that are in `index`, and writes `terms`."""

    index: Tensor
    terms: Terms
    replay: Callable[[], None]


class GraphSteps(Steps):
    """Steps of rows that stay where they are on the device, replayed from the fourth one on.

    A graph reads the memory that it was captured with: one index for every batch size, one stream
    of noise for all epochs, one optimiser's state. What `Model.after_step` does is not captured.
    """

    _own: ops.Rng | None = None

    def begin_epoch(self, part: Part, noise: ops.Rng) -> None:
        if self._own is None:
            self._own = noise
            self._captured: dict[int, _Captured] = {}
            self._warm: Counter[int] = Counter()
        else:
            self._own.state = noise.state
        super().begin_epoch(part, self._own)

    def take(self, index: Tensor) -> Terms:
        n = len(index)
        captured = self._captured.get(n)
        if captured is None:
            if self._warm[n] < _WARM_UP:
                self._warm[n] += 1
                return beside(lambda: super(GraphSteps, self).take(index), index.device)
            captured = self._captured[n] = self._capture(index.clone())
        captured.index.copy_(index)
        captured.replay()
        # The next replay overwrites them.
        return {name: term.clone() for name, term in captured.terms.items()}

    def _capture(self, index: Tensor) -> _Captured:
        for optimizer in self._optimizers.values():
            optimizer.zero_grad()  # the graph's gradients lie in memory of its own
        try:
            replay, terms = capture(lambda: super(GraphSteps, self).take(index), index.device)
        except RuntimeError as error:
            text = (str(error).splitlines() or [""])[0]
            name = type(self.model).__name__
            said = f"cuda_graph: a step of {name} cannot be captured: {text}"
            raise RuntimeError(said) from error
        return _Captured(index, terms, replay)


def beside(step: Callable[[], Terms], device: torch.device) -> Terms:
    """step() on another stream than the current one, as torch asks for before a capture."""
    with torch.cuda.device(device):
        current, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(current)
        with torch.cuda.stream(side):
            found = step()
        current.wait_stream(side)
    return found


def capture(step: Callable[[], Terms], device: torch.device) -> tuple[Callable[[], None], Terms]:
    """What runs step() again on the device alone, and the memory where its terms will be."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device), torch.cuda.graph(graph):
        terms = step()

    def replay() -> None:
        with torch.cuda.device(device):
            graph.replay()

    return replay, terms
