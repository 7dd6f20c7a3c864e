"""Cases of an op, made from a seed: one list serves tests, benchmark and support table."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

SHAPES = (
    (1, 1), (7, 3), (8, 5), (17, 16), (4, 17), (31, 57), (33, 59), (64, 64), (3, 784),
    (255, 16), (257, 1), (0, 5), (0, 0), (3, 0),
)  # fmt: skip
LAYOUTS = ("offset", "rows", "columns", "expanded")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Maker:
    """Makes the tensors of a case: always the same, in its dtype and layout."""

    def __init__(self, case: Case, device: str | torch.device) -> None:
        self.case, self.device = case, torch.device(device)
        self._generator = torch.Generator().manual_seed(zlib.crc32(case.name.encode()))

    def normal(
        self, b: int, d: int, scale: float = 1.0, dtype: torch.dtype | None = None
    ) -> Tensor:
        """[b, d] from N(0, scale^2), in the case's dtype unless another is given."""
        return self.given(scale * torch.randn(b, d, generator=self._generator), dtype)

    def uniform(self, b: int, d: int) -> Tensor:
        """[b, d] in [0, 1)."""
        return self.given(torch.rand(b, d, generator=self._generator))

    def given(self, values: Any, dtype: torch.dtype | None = None) -> Tensor:
        """Numbers [b, d] in the case's dtype and layout."""
        tensor = torch.as_tensor(values, dtype=torch.float32).to(dtype or self.case.dtype)
        return _laid_out(tensor.to(self.device), self.case.layout)

    def weight(self, d: int) -> Tensor:
        """[d], float32, from 0 to 2."""
        return 2 * torch.rand(d, generator=self._generator).to(self.device)

    def mask(self, b: int, d: int) -> Tensor:
        """bool [b, d], three quarters True."""
        return (torch.rand(b, d, generator=self._generator) < 0.75).to(self.device)

    def integers(self, high: int, n: int) -> Tensor:
        """int64 [n] in [0, high)."""
        return torch.randint(high, (n,), generator=self._generator).to(self.device)

    def draw(self) -> Tensor:
        """The name of a draw, near a carry into the high word of the counter."""
        return torch.tensor([0x1234_5678_9ABC_DEF0, 2**32 - 2], device=self.device)


@dataclass(frozen=True)
class Case:
    """One call of an op.

    name      unique in the op
    make      the arguments by name, without `backend`
    dtype     of the data
    layout    contiguous; offset in its storage; rows with a gap; columns (inner stride not 1);
              expanded (every row the same memory)
    rtol      allowed relative error of results in float32 against float64; a half type is allowed
              one rounding more
    atol      the same, absolute: what cancellation in a sum leaves
    expected  results that are stated, not computed: of the first result, one a sample
    """

    name: str
    make: Callable[[Maker], Mapping[str, Any]]
    dtype: torch.dtype = torch.float32
    layout: str = "contiguous"
    rtol: float = 1e-5
    atol: float = 1e-6
    expected: Sequence[float] | None = field(default=None)

    def arguments(self, device: str | torch.device = "cpu") -> dict[str, Any]:
        """The arguments, on a device."""
        return dict(self.make(Maker(self, device)))

    def __str__(self) -> str:
        return self.name


Example = Callable[[Maker, int, int], Mapping[str, Any]]


def standard(example: Example, prefix: str = "", **options: Any) -> tuple[Case, ...]:
    """Every shape in float32; every layout and half type at one odd shape."""
    return tuple(_standard(example, prefix, options))


def sample(example: Example, prefix: str, **options: Any) -> tuple[Case, ...]:
    """A few shapes and every dtype: for the variants of an op beside its standard cases."""
    cases = _standard(example, prefix, options)
    return tuple(c for c in cases if c.name.removeprefix(prefix) in _SAMPLE)


_SAMPLE = ("1x1", "33x59", "0x5", "33x17-rows", "33x17-bfloat16", "33x17-float16")


def _standard(example: Example, prefix: str, options: dict[str, Any]) -> Iterator[Case]:
    def at(b: int, d: int) -> Callable[[Maker], Mapping[str, Any]]:
        return lambda maker: example(maker, b, d)

    for b, d in SHAPES:
        yield Case(f"{prefix}{b}x{d}", at(b, d), **options)
    for layout in LAYOUTS:
        yield Case(f"{prefix}33x17-{layout}", at(33, 17), layout=layout, **options)
    for dtype in DTYPES[1:]:
        name = str(dtype).removeprefix("torch.")
        yield Case(f"{prefix}33x17-{name}", at(33, 17), dtype=dtype, **options)
        yield Case(
            f"{prefix}33x17-columns-{name}", at(33, 17), dtype=dtype, layout="columns", **options
        )


def _laid_out(tensor: Tensor, layout: str) -> Tensor:
    """The same numbers (of the first row, for expanded), in another layout."""
    b, d = tensor.shape
    if layout == "offset":
        storage = tensor.new_full((b * d + 3,), torch.nan)
        found = storage[3:].view(b, d)
    elif layout == "rows":
        found = tensor.new_full((b, d + 5), torch.nan)[:, 2 : 2 + d]
    elif layout == "columns":
        found = tensor.new_full((d, b), torch.nan).t()
    elif layout == "expanded":
        return tensor[:1].expand(b, d)
    else:
        return tensor
    found.copy_(tensor)
    return found
