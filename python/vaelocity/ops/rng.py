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

    state: Tensor
    """The live state, int64 [2]; the bits of u64 numbers. For a checkpoint: state.clone(), and
    state.copy_(kept) to go back there."""

    def __init__(
        self,
        seed: int | None = None,
        offset: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        if seed is None:
            seed = int(torch.empty((), dtype=torch.int64).random_(-(2**63), None))
            seed %= 2**64
        self.state = torch.tensor([_bits(seed, "seed"), _bits(offset, "offset")], device=device)

    def draw(self, n: int) -> Tensor:
        """The name of the next draw of n numbers: int64 [2]. Advances by ceil(n / 4) blocks."""
        name = self.state.clone()
        self.state[1].add_((n + 3) // 4)
        return name

    def __repr__(self) -> str:
        seed, offset = (value % 2**64 for value in self.state.tolist())
        return f"Rng(seed={seed}, offset={offset}, device={str(self.state.device)!r})"


def _bits(value: int, name: str) -> int:
    """The int64 with the bits of a u64."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise ValueError(f"{name}: expected an integer from 0 to 2^64 - 1, got {value!r}")
    return value - 2**64 if value >= 2**63 else value
