"""The events that a threshold accepts, alone: what leaves the GPU of a trigger.

The scorer's kernel counts what each of its programs accepts; kernels/score_accept.py puts their
rows and scores one behind the other, in the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from vaelocity.cuda import device as _device

Tensor = torch.Tensor

_BLOCK = 1024


@dataclass(frozen=True)
class Accepted:
    """Device memory for accepted events.

    index    int64 [capacity]: their rows, ascending
    scores   float32 [capacity]
    count    int64 [1]: how many were accepted; where these are more than `capacity`, the first of
             them are in `index` and `scores`
    """

    index: Tensor
    scores: Tensor
    count: Tensor

    @classmethod
    def empty(cls, capacity: int, device: torch.device) -> Accepted:
        """Memory for `capacity` events."""
        return cls(
            torch.empty(capacity, dtype=torch.int64, device=device),
            torch.empty(capacity, dtype=torch.float32, device=device),
            torch.zeros(1, dtype=torch.int64, device=device),
        )

    def taken(self) -> tuple[Tensor, Tensor]:
        """(index, scores) of the events that are there, [m] each. Waits for the device."""
        m = min(int(self.count), len(self.index))
        return self.index[:m], self.scores[:m]

    def check(self, device: torch.device) -> None:
        """Raises ValueError for memory that the kernel cannot write to."""
        capacity = len(self.index) if self.index.ndim == 1 else 0
        wanted = (
            ("index", self.index, torch.int64, capacity),
            ("scores", self.scores, torch.float32, capacity),
            ("count", self.count, torch.int64, 1),
        )
        for name, tensor, dtype, n in wanted:
            fits = tensor.dtype == dtype and tuple(tensor.shape) == (n,)
            if not (fits and tensor.device == device and tensor.is_contiguous()):
                raise ValueError(
                    f"accepted.{name}: expected contiguous {dtype} of shape ({n},) on {device}, "
                    f"got {tensor.dtype} of shape {tuple(tensor.shape)} on {tensor.device}"
                )


class Compaction:
    """The second launch of a call that wants accepted events.

    most: programs that the scorer launches at most. per_program: int32 [most], what each of them
    accepts: the scorer's kernel writes it, the next one reads it.
    """

    def __init__(self, most: int, device: torch.device) -> None:
        self._programs = 1 << (most - 1).bit_length()
        self.per_program = torch.zeros(most, dtype=torch.int32, device=device)

    def count(self, scores: Tensor, threshold: float, programs: int, block_rows: int) -> None:
        """Count what each program's rows come to, where no kernel of the scorer did it."""
        from vaelocity.kernels.score_accept import score_accept_count

        kernel: Any = score_accept_count
        with _device.current(scores.device):
            kernel[(programs,)](
                scores,
                len(scores),
                threshold,
                self.per_program,
                programs,
                BM=block_rows,
                BLOCK=_BLOCK,
            )

    def run(
        self, into: Accepted, scores: Tensor, threshold: float, programs: int, block_rows: int
    ) -> None:
        """Compact scores [n] that `programs` programs have made in tiles of block_rows rows."""
        from vaelocity.kernels.score_accept import score_accept

        kernel: Any = score_accept
        with _device.current(scores.device):
            kernel[(programs,)](
                scores,
                len(scores),
                threshold,
                self.per_program,
                into.index,
                into.scores,
                into.count,
                len(into.index),
                programs,
                BM=block_rows,
                PROGRAMS=self._programs,
                BLOCK=_BLOCK,
            )
