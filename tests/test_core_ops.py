"""The fused C++ kernels, called as the CPU backend calls them: against float64 formulas and their
autograd, in spans, with any mixture of dtypes, and bit for bit on every instruction set.

Run as a program, it prints a digest of every kernel's bits on the instruction set it runs with.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vaelocity import _core

KINDS = ["squared_error", "absolute_error", "huber", "bce_with_logits", "gaussian_nll"]
HALVES = [torch.bfloat16, torch.float16]
SHAPES = [(b, d) for d in (1, 3, 5, 16, 17, 57, 59, 64, 784) for b in (1, 7)]
SHAPES += [(0, 5), (3, 0), (3, 257)]
MAX = torch.finfo(torch.float32).max
DELTA, NOISE, DROP, BETA = 0.7, 0.3, 0.4, 0.6


@dataclass
class Call:
    """A kernel's arguments, its outputs (poisoned) and what they must hold."""

    name: str
    args: list[Any]
    outputs: list[Tensor]
    expected: list[Tensor]

    def run(self, begin: int = 0, end: int | None = None) -> list[Tensor]:
        rows = len(self.outputs[0]) if end is None else end
        getattr(_core.ops, self.name)(*self.args, *self.outputs, begin, rows)
        return self.outputs

    def check(self) -> None:
        for got, expected in zip(self.run(), self.expected, strict=True):
            tolerance = {"rtol": 1e-5, "atol": 1e-5} if got.dtype == torch.float32 else {}
            torch.testing.assert_close(got, expected.to(got.dtype), **tolerance)


def poisoned(shape: tuple[int, ...] | torch.Size, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.full(shape, torch.nan, dtype=dtype)


def noise(rng: Tensor, b: int, d: int) -> Tensor:
    eps = poisoned((b * d,))
    _core.ops.philox_normal([b * d], rng, torch.float32, eps, 0, b * d)
    return eps.view(b, d).double()


class Inputs:
    """Random inputs [b, d], their dtypes in turn, two of three with rows further apart than d."""

    def __init__(self, b: int, d: int, *dtypes: torch.dtype) -> None:
        self.b, self.d, self.dtypes, self.made = b, d, dtypes or (torch.float32,), 0
        self.generator = torch.Generator().manual_seed(b * 1000 + d)
        self.rng = torch.tensor([2**62 + 3, 2**32 - 2])

    def matrix(self, width: int | None = None, uniform: bool = False) -> Tensor:
        make = torch.rand if uniform else torch.randn
        width = self.d if width is None else width
        dtype = self.dtypes[self.made % len(self.dtypes)]
        self.made += 1
        return make(self.b, width + self.made % 3, generator=self.generator).to(dtype)[:, :width]

    def per_row(self) -> Tensor:
        """A gradient of a per-sample sum, every second of a tensor."""
        return torch.randn(2 * self.b, generator=self.generator)[::2]

    def sums(self) -> Tensor:
        return poisoned((self.b,))


def doubles(*tensors: Tensor) -> list[Tensor]:
    return [t.double().requires_grad_() for t in tensors]


def forward_and_backward(
    name: str,
    args: list[Any],
    outputs: list[Tensor],
    values: list[Tensor],
    grads: list[Tensor],
    backward_args: list[Any],
    inputs: list[tuple[Tensor, Tensor]],
) -> Iterator[Call]:
    """inputs: (the kernel's input, its float64 twin) whose gradients the backward writes."""
    yield Call(name, args, outputs, [v.detach() for v in values])
    twins = [twin for _, twin in inputs]
    expected = torch.autograd.grad(values, twins, [g.double() for g in grads], allow_unused=True)
    written = [poisoned(tensor.shape, tensor.dtype) for tensor, _ in inputs]
    filled = [torch.zeros_like(t) if e is None else e for e, t in zip(expected, twins, strict=True)]
    yield Call(f"{name}_backward", [*grads, *backward_args], written, filled)


def kl_formula(mu: Tensor, logvar: Tensor) -> Tensor:
    return 0.5 * (mu * mu + torch.expm1(logvar) - logvar).sum(1)


def loss_formula(
    x: Tensor, y: Tensor, kind: str, mask: Tensor | None = None, weight: Tensor | None = None
) -> Tensor:
    d = x.shape[1]
    term = {
        "squared_error": lambda: 0.5 * (y - x) ** 2,
        "absolute_error": lambda: abs(y - x),
        "huber": lambda: F.huber_loss(y, x, reduction="none", delta=DELTA),
        "bce_with_logits": lambda: F.binary_cross_entropy_with_logits(y, x, reduction="none"),
        "gaussian_nll": lambda: 0.5 * (y[:, d:] + (x - y[:, :d]) ** 2 * torch.exp(-y[:, d:])),
    }[kind]()
    if weight is not None:
        term = term * weight
    return (term if mask is None else torch.where(mask, term, 0.0)).sum(1)


def gaussian_kl(i: Inputs) -> Iterator[Call]:
    mu, logvar = i.matrix(), i.matrix()
    m, s = doubles(mu, logvar)
    yield from forward_and_backward(
        "gaussian_kl",
        [mu, logvar],
        [i.sums()],
        [kl_formula(m, s)],
        [i.per_row()],
        [mu, logvar],
        [(mu, m), (logvar, s)],
    )


def reparameterize(i: Inputs) -> Iterator[Call]:
    mu, logvar, grad = i.matrix(), i.matrix(), i.matrix()
    m, s = doubles(mu, logvar)
    yield from forward_and_backward(
        "reparameterize",
        [mu, logvar, i.rng],
        [poisoned(mu.shape, mu.dtype)],
        [m + torch.exp(s / 2) * noise(i.rng, i.b, i.d)],
        [grad],
        [logvar, i.rng],
        [(logvar, s)],
    )


def reparameterize_kl(i: Inputs) -> Iterator[Call]:
    mu, logvar, grad = i.matrix(), i.matrix(), i.matrix()
    m, s = doubles(mu, logvar)
    yield from forward_and_backward(
        "reparameterize_kl",
        [mu, logvar, i.rng],
        [poisoned(mu.shape, mu.dtype), i.sums()],
        [m + torch.exp(s / 2) * noise(i.rng, i.b, i.d), kl_formula(m, s)],
        [grad, i.per_row()],
        [mu, logvar, i.rng],
        [(mu, m), (logvar, s)],
    )


def featured(i: Inputs, x: Tensor) -> Iterator[tuple[Tensor | None, Tensor | None]]:
    """No mask and no weight, each alone, both; what a mask leaves out is NaN."""
    yield None, None
    mask = torch.rand(i.b, i.d, generator=i.generator) > 0.3
    weight = torch.rand(i.d, generator=i.generator)
    yield None, weight
    yield mask[:1].expand(i.b, i.d), weight
    x[~mask] = torch.nan
    yield mask, None


def reconstruction_loss(i: Inputs) -> Iterator[Call]:
    for kind in KINDS:
        x = i.matrix(uniform=True)
        y = i.matrix(2 * i.d if kind == "gaussian_nll" else i.d)
        for mask, weight in featured(i, x):
            (twin,) = doubles(y)
            known = x.double() if mask is None else torch.where(mask, x.double(), 0.0)
            rest = [x, y, kind, DELTA, mask, weight]
            yield from forward_and_backward(
                "reconstruction_loss",
                rest,
                [i.sums()],
                [loss_formula(known, twin, kind, mask, weight)],
                [i.per_row()],
                rest,
                [(y, twin)],
            )


def elbo(i: Inputs) -> Iterator[Call]:
    for kind in KINDS:
        x, mu, logvar = i.matrix(uniform=True), i.matrix(4), i.matrix(4)
        y = i.matrix(2 * i.d if kind == "gaussian_nll" else i.d)
        yy, m, s = doubles(y, mu, logvar)
        weight = torch.rand(i.d, generator=i.generator)
        loss, kl = loss_formula(x.double(), yy, kind, None, weight), kl_formula(m, s)
        rest = [x, y, mu, logvar, BETA, kind, DELTA, None, weight]
        yield from forward_and_backward(
            "elbo",
            rest,
            [i.sums(), i.sums(), i.sums()],
            [loss + BETA * kl, loss, kl],
            [i.per_row(), i.per_row(), torch.ones(1).expand(i.b)],
            rest,
            [(y, yy), (mu, m), (logvar, s)],
        )


def sparsity(i: Inputs) -> Iterator[Call]:
    z = i.matrix()
    z[:, ::3] = 0
    (twin,) = doubles(z)
    yield from forward_and_backward(
        "sparsity", [z], [i.sums()], [twin.abs().sum(1)], [i.per_row()], [z], [(z, twin)]
    )


def corrupt(i: Inputs) -> Iterator[Call]:
    x, grad = i.matrix(), i.matrix()
    n = i.b * i.d
    for scale, drop in ((NOISE, DROP), (0.0, DROP), (NOISE, 0.0), (NOISE, 1.0)):
        # The first word of a pair decides the radius, but every word of a block decides a drop:
        # the words are not to be had from the normals, so tests/test_philox.py checks those.
        kept = torch.zeros(i.b, i.d, dtype=torch.bool)
        noisy = x.double() + scale * noise(i.rng, i.b, i.d)
        scratch = torch.empty(i.b, i.d)
        _core.ops.corrupt(x, i.rng, 0.0, drop, scratch, kept, 0, i.b)
        outputs = [poisoned(x.shape, x.dtype), torch.zeros(i.b, i.d, dtype=torch.bool)]
        yield Call(
            "corrupt",
            [x, i.rng, scale, drop],
            outputs,
            [torch.where(kept, noisy, 0.0), kept],
        )
        assert n == 0 or drop != 1.0 or not kept.any()
        assert drop != 0.0 or kept.all()
        yield Call(
            "corrupt_backward",
            [grad, i.rng, drop],
            [poisoned(x.shape, x.dtype)],
            [torch.where(kept, grad.double(), 0.0)],
        )


def diffuse(i: Inputs) -> Iterator[Call]:
    x0, grad = i.matrix(), i.matrix()
    alpha_bar = torch.linspace(0.999, 0.001, 50)
    t = torch.randint(50, (2 * i.b,), generator=i.generator)[::2]
    (x,) = doubles(x0)
    signal, sigma = alpha_bar.double()[t].sqrt(), (1 - alpha_bar)[t].double().sqrt()
    yield from forward_and_backward(
        "diffuse",
        [x0, t, alpha_bar, i.rng],
        [poisoned(x0.shape, x0.dtype)],
        [signal[:, None] * x + sigma[:, None] * noise(i.rng, i.b, i.d)],
        [grad],
        [t, alpha_bar],
        [(x0, x)],
    )


def denoising_loss(i: Inputs) -> Iterator[Call]:
    prediction = i.matrix()
    (p,) = doubles(prediction)
    yield from forward_and_backward(
        "denoising_loss",
        [prediction, i.rng],
        [i.sums()],
        [0.5 * ((p - noise(i.rng, i.b, i.d)) ** 2).sum(1)],
        [i.per_row()],
        [prediction, i.rng],
        [(prediction, p)],
    )


OPS: list[Callable[[Inputs], Iterator[Call]]] = [
    gaussian_kl,
    reparameterize,
    reparameterize_kl,
    reconstruction_loss,
    elbo,
    sparsity,
    corrupt,
    diffuse,
    denoising_loss,
]
each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)


def test_no_kernel_is_left_out() -> None:
    tested = {name for op in OPS for name in (op.__name__, f"{op.__name__}_backward")}
    kernels = {name for name in dir(_core.ops) if not name.startswith("_")}
    assert kernels == tested | {"philox_normal"}


@each_op
@pytest.mark.parametrize(("b", "d"), SHAPES)
def test_values_and_gradients_are_those_of_the_formula(
    op: Callable[[Inputs], Iterator[Call]], b: int, d: int
) -> None:
    for call in op(Inputs(b, d)):
        call.check()


@each_op
@pytest.mark.parametrize(
    "dtypes", [HALVES[:1], HALVES[1:], [torch.float32, *HALVES], [torch.bfloat16, torch.float32]]
)
def test_any_mixture_of_dtypes_is_rounded_once(
    op: Callable[[Inputs], Iterator[Call]], dtypes: list[torch.dtype]
) -> None:
    for d in (5, 59, 300):
        for call in op(Inputs(5, d, *dtypes)):
            call.check()


def same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


@each_op
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_span_writes_its_rows_and_no_other_with_the_same_bits(
    op: Callable[[Inputs], Iterator[Call]], dtype: torch.dtype
) -> None:
    for whole, parts in zip(op(Inputs(7, 59, dtype)), op(Inputs(7, 59, dtype)), strict=True):
        expected = whole.run()
        untouched = [out.clone() for out in parts.outputs]
        parts.run(2, 6)
        for out, before, after in zip(parts.outputs, untouched, expected, strict=True):
            assert same_bits(out[:2], before[:2])
            assert same_bits(out[2:6], after[2:6])
            assert same_bits(out[6:], before[6:])
        parts.run(0, 2)
        parts.run(6, 7)
        for out, after in zip(parts.outputs, expected, strict=True):
            assert same_bits(out, after)


def digest() -> str:
    bits = hashlib.sha256()
    for op in OPS:
        for b, d, dtype in ((5, 59, torch.float32), (3, 300, torch.bfloat16), (9, 17, torch.half)):
            for call in op(Inputs(b, d, dtype)):
                for out in call.run():
                    # The sign and payload of a NaN are no part of the promise.
                    bits.update(out.nan_to_num(7.0).contiguous().view(torch.uint8).numpy())
    return bits.hexdigest()


def digest_with(isa: str) -> str:
    env = {**os.environ, "VAELOCITY_ISA": isa}
    command = [sys.executable, __file__]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def test_every_instruction_set_gives_the_same_bits() -> None:
    assert len({digest_with(isa) for isa in _core.available_isas()}) == 1


if __name__ == "__main__":
    print(digest())
