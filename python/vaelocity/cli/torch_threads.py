"""How many threads PyTorch computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# Below so many multiplications in a training step its threads wait for each other longer than they
# compute: on two free cores they win nothing, and where other programs run they take ten times as
# long as one thread does.
_WORTH_SHARING = 1 << 26


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """PyTorch computes with `count` threads inside, and with as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def training_threads(parameters: int, batch_size: int) -> int:
    """One where a training step is small, else as many as PyTorch is set to."""
    import torch

    return 1 if parameters * batch_size < _WORTH_SHARING else torch.get_num_threads()
