"""The random numbers of the ops: draws that are named, not stored."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Rng"]


class Rng:
    """A stream of normals, int64 [2] = (seed, offset), from which every draw takes the next blocks.

    A draw of n numbers is named by the seed and the offset at which it begins; the name is all
    that backward needs to make the same numbers again. The same seed and offset give the same
    numbers on every device. The numbers live on `device`, so that a CUDA graph or a compiled
    function draws new ones each time it runs, and nothing waits for the device.

    Args:
        seed: 0 to 2^64 - 1; None takes one from torch's default generator (torch.manual_seed).
        offset: blocks of 4 numbers that were drawn before.
        device: of the tensors it draws for.

    Raises:
        ValueError: seed or offset out of range.
    """

    def __init__(
        self,
        seed: int | None = None,
        offset: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        if seed is None:
            seed = int(torch.empty((), dtype=torch.int64).random_(-(2**63), None))
            seed %= 2**64
        words = [_bits(seed, "seed"), _bits(offset, "offset")]
        with torch.inference_mode(False):  # a name may be kept for a backward later
            self._state = torch.tensor(words, device=device)
        self._steps: dict[int, Tensor] = {}

    @property
    def state(self) -> Tensor:
        """int64 [2], the bits of seed and offset: assign what was read to go back there."""
        return self._state.clone()

    @state.setter
    def state(self, state: Tensor) -> None:
        if state.dtype != torch.int64 or state.shape != (2,):
            raise ValueError(f"state: expected int64 [2], got {state.dtype} {tuple(state.shape)}")
        if self._state.is_cuda:
            self._state.copy_(state)
        else:
            self._state = state.to(self._state.device, copy=True)

    @property
    def device(self) -> torch.device:
        """Of the tensors it draws for."""
        return self._state.device

    def draw(self, n: int) -> Tensor:
        """The name of the next draw of n numbers: int64 [2]. Advances by ceil(n / 4) blocks."""
        blocks = (n + 3) // 4
        name = self._state
        if name.is_cuda or torch.compiler.is_compiling():
            # In place: a graph of CUDA advances the memory that it was captured with.
            name = name.clone()
            self._state[1].add_(blocks)
            return name
        if torch.is_inference_mode_enabled():
            with torch.inference_mode(False):
                return self.draw(n)
        step = self._steps.get(blocks)
        if step is None:
            step = torch.tensor([0, blocks])
            self._steps = {**self._steps, blocks: step} if len(self._steps) < 8 else {blocks: step}
        self._state = name + step
        return name

    def __repr__(self) -> str:
        seed, offset = (value % 2**64 for value in self._state.tolist())
        return f"Rng(seed={seed}, offset={offset}, device={str(self.device)!r})"


def _bits(value: int, name: str) -> int:
    """The int64 with the bits of a u64."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise ValueError(f"{name}: expected an integer from 0 to 2^64 - 1, got {value!r}")
    return value - 2**64 if value >= 2**63 else value
