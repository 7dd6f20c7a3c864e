"""Training by several processes, one a device: plain torch.distributed, as torchrun starts it.

    # torchrun --nproc-per-node 2 train.py
    with distributed.group("cuda") as device:
        model.fit(X, device=device)
        model.save("model.vael")

Every process has all rows. A batch of `fit` is shared out by rows, gradients are added up, and
every process takes the same step: losses and weights are those of one process with the same
batch_size, but for the rounding of sums. The noise of a row is the one that a single process would
draw for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vaelocity import ops

__all__ = ["ProcessFailed", "group", "is_first"]

_MESSAGE_BYTES = 512
_QUAD = 4
"""Rows are shared out by four, so that a draw for a part begins at a block of the noise."""

_Result = TypeVar("_Result")


class ProcessFailed(RuntimeError):
    """Another process of the training failed; the message says which, and how."""


@contextlib.contextmanager
def group(device: str = "cpu") -> Iterator[torch.device]:
    """Inside, the processes that torchrun started train one model together; alone without it.

    Args:
        device: "cpu" (gloo) or "cuda" (nccl, a GPU for every process of a machine).

    Yields:
        The device of this process.

    Raises:
        ValueError: another device.
    """
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device: expected 'cpu' or 'cuda', got {device!r}")
    where = torch.device(device)
    if device == "cuda":
        where = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(where)
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield where
        return
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield where
    finally:
        dist.destroy_process_group()


def is_first() -> bool:
    """Whether this process writes for all: it is alone, or the first of its group."""
    return not _grouped() or dist.get_rank() == 0


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()


class Processes:
    """The processes of a training, of which this is one. Alone, everything here does nothing."""

    def __init__(self) -> None:
        self.size = dist.get_world_size() if _grouped() else 1
        self.rank = dist.get_rank() if self.size > 1 else 0
        nccl = self.size > 1 and dist.get_backend() == "nccl"
        self._device = torch.device("cuda", torch.cuda.current_device()) if nccl else "cpu"
        self._failure: Exception | None = None

    def check_device(self, device: torch.device) -> None:
        """Raises ValueError for a training where the group cannot add up."""
        if torch.device(self._device).type == "cuda" and device.type != "cuda":
            raise ValueError(
                f"device: the group's backend is nccl, for 'cuda' alone, got {str(device)!r}"
            )

    # ---- Shares

    def share(self, n: int) -> slice:
        """This process's rows of a batch of n: whole quads, as equally as they go."""
        quads = -(-n // _QUAD)
        first, end = (_QUAD * (quads * rank // self.size) for rank in (self.rank, self.rank + 1))
        return slice(min(first, n), min(end, n))

    def rng(self, seed: int, device: torch.device) -> ops.Rng:
        """Noise for batches whose rows are shared out."""
        return (SharedRng if self.size > 1 else ops.Rng)(seed, device=device)

    def place(self, noise: ops.Rng, n: int) -> slice:
        """This process's rows of the next batch of n, for which `noise` draws from here on."""
        share = self.share(n)
        if isinstance(noise, SharedRng):
            noise.part, noise.of = share, n
        return share

    @property
    def least_rows(self) -> int:
        """The smallest batch of which every process has a row."""
        return _QUAD * (self.size - 1) + 1

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace every gradient by the sum over the processes."""
        if self.size == 1:
            return
        # One sum for all, of the same length in every process, whatever has failed here.
        flat = torch.cat([self._gradient(parameter).flatten() for parameter in parameters])
        self._reduce(flat)
        at = 0
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.copy_(flat[at : at + parameter.numel()].view_as(parameter))
            at += parameter.numel()

    def _gradient(self, parameter: nn.Parameter) -> Tensor:
        if parameter.grad is None or self._failure is not None:
            return torch.zeros_like(parameter)
        return parameter.grad

    def add(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sums over the processes of float64 scalars; all must have the same names."""
        if self.size == 1 or not values:
            return dict(values)
        names = sorted(values)
        total = torch.stack([values[name] for name in names])
        self._reduce(total)
        return dict(zip(names, total, strict=True))

    def _reduce(self, values: Tensor) -> None:
        with _told():
            dist.all_reduce(values)

    # ---- All or none

    def attempt(self, function: Callable[..., _Result], *arguments: Any) -> _Result | None:
        """function(*arguments). With others an error is kept for `check`, and nothing is done any
        more until then: the others wait for this process in every sum. The function must not wait
        for them itself."""
        if self.size == 1:
            return function(*arguments)
        if self._failure is None:
            try:
                return function(*arguments)
            except Exception as error:
                self._failure = error
        return None

    def check(self) -> None:
        """Go on if no process failed.

        Raises what failed here; ProcessFailed where it failed elsewhere.
        """
        if self.size == 1:
            return
        failure, self._failure = self._failure, None
        texts = [text.decode(errors="replace") for text in self._all(_text_of(failure))]
        if failure is not None:
            raise failure
        for rank, text in enumerate(texts):
            if text:
                raise ProcessFailed(f"process {rank} of {self.size} failed: {text}")

    def check_same(self, what: Mapping[str, object]) -> None:
        """Raise ValueError, in all processes, unless all have the same (JSON)."""
        if self.size == 1:
            return
        own = [hashlib.sha256(json.dumps(what[name]).encode()).digest()[:16] for name in what]
        found = self._all(b"".join(own))
        differ = {
            name
            for theirs in found
            for i, name in enumerate(what)
            if theirs[16 * i : 16 * i + 16] != found[0][16 * i : 16 * i + 16]
        }
        if differ:
            names = ", ".join(name for name in what if name in differ)
            raise ValueError(f"fit: the processes differ in {names}; give all of them the same")

    def from_first(self, data: bytes | None) -> bytes | None:
        """What the first process has: a file's content, or None."""
        if self.size == 1:
            return data
        size = torch.tensor([-1 if data is None else len(data)], device=self._device)
        with _told():
            dist.broadcast(size, 0)
            if int(size) < 0:
                return None
            content = torch.empty(int(size), dtype=torch.uint8, device=self._device)
            if self.rank == 0 and data:
                content.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
            dist.broadcast(content, 0)
        return content.cpu().numpy().tobytes()

    def take_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of the first process."""
        if self.size == 1:
            return
        with _told():
            for tensor in tensors:
                there = tensor.detach().to(self._device)
                dist.broadcast(there, 0)
                tensor.detach().copy_(there)

    def _all(self, data: bytes) -> list[bytes]:
        """A few bytes of every process, by rank."""
        padded = len(data).to_bytes(4, "little") + data[:_MESSAGE_BYTES]
        row = bytearray(padded.ljust(4 + _MESSAGE_BYTES, b"\0"))
        own = torch.frombuffer(row, dtype=torch.uint8).to(self._device)
        rows = [torch.empty_like(own) for _ in range(self.size)]
        with _told():
            dist.all_gather(rows, own)
        found = [row.cpu().numpy().tobytes() for row in rows]
        return [row[4 : 4 + int.from_bytes(row[:4], "little")] for row in found]


class SharedRng(ops.Rng):
    """The noise of a batch's rows that are this process's, `part`, as one process would draw it.

    A draw is taken to be of n / rows numbers for every row.
    """

    part = slice(0, 1)
    of = 1

    def draw(self, n: int) -> Tensor:
        """The name of the draw for the rows of `part`; advances as for the `of` rows of all."""
        width, rest = divmod(n, self.part.stop - self.part.start)
        if rest:
            rows = self.part.stop - self.part.start
            raise ValueError(f"rng: a draw of {n} numbers for {rows} rows, which do not divide it")
        name = super().draw(width * self.of).clone()
        name[1] += self.part.start * width // 4
        return name


def _text_of(failure: Exception | None) -> bytes:
    if failure is None:
        return b""
    return f"{type(failure).__name__}: {failure}".encode()[:_MESSAGE_BYTES]


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """torch says in many ways that a process is gone."""
    try:
        yield
    except RuntimeError as error:
        text = (str(error).splitlines() or [""])[0]
        raise ProcessFailed(f"a process of the training was lost: {text}") from error
