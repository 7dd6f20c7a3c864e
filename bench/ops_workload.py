"""One call of an op, forward or both ways: by ours, by plain torch and by the reference."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from vaelocity import ops
from vaelocity.ops import _noise
from vaelocity.ops._case import Case

Function = Callable[..., Any]
"""Of the workload's arguments by name; gives a tensor or a tuple of tensors."""


@dataclass(frozen=True)
class Workload:
    """Something to compute.

    ours       with the fused ops
    plain      as one writes it in torch, within `as_one_writes_it`
    reference  the formula of the op
    leaves     the arguments that get gradients; none for forward alone
    """

    op: str
    size: str
    shape: tuple[int, int]
    arguments: Mapping[str, Any]
    leaves: Sequence[str]
    ours: Function
    plain: Function
    reference: Function
    rtol: float = 1e-5
    atol: float = 1e-6

    @property
    def direction(self) -> str:
        """What is computed of it."""
        return "forward and backward" if self.leaves else "forward"

    @property
    def title(self) -> str:
        """Its name among all workloads."""
        return f"{self.op} {self.size}, {self.direction}"

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return next(v.device for v in self.arguments.values() if isinstance(v, Tensor))

    def call(self, function: Function) -> Callable[[], list[Tensor]]:
        """The results, or the gradients of the leaves, by an implementation.

        The gradients of the results are given: of the mean for a per-sample loss, ones elsewhere.
        """
        arguments = dict(self.arguments)
        if not self.leaves:
            return lambda: results(function(**arguments))
        leaves = [arguments[name] for name in self.leaves]
        outputs = [each for each in results(function(**arguments)) if each.is_floating_point()]
        grads = [
            torch.full_like(each, 1 / max(1, len(each))) if each.dim() else torch.ones_like(each)
            for each in outputs
        ]

        def both() -> list[Tensor]:
            outputs = [each for each in results(function(**arguments)) if each.is_floating_point()]
            return list(torch.autograd.grad(outputs, leaves, grads))

        return both

    def idle(self) -> Callable[[], list[Tensor]]:
        """Forward and backward of one autograd.Function with these leaves and results that computes
        nothing: what torch takes whatever the kernels do."""
        leaves = [self.arguments[name] for name in self.leaves]
        outputs = [r for r in results(self.ours(**self.arguments)) if r.is_floating_point()]
        shapes = [each.shape for each in outputs]
        grads = [torch.ones_like(each) for each in outputs]

        class Idle(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *given: Tensor) -> tuple[Tensor, ...]:
                ctx.save_for_backward(*given)
                return tuple(given[0].new_empty(shape) for shape in shapes)

            @staticmethod
            def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
                return tuple(torch.empty_like(each) for each in ctx.saved_tensors)

        return lambda: list(torch.autograd.grad(Idle.apply(*leaves), leaves, grads))

    def expected(self) -> list[Tensor]:
        """What the reference gives in float64."""
        wide: dict[str, Any] = {}
        for name, value in self.arguments.items():
            floating = isinstance(value, Tensor) and value.is_floating_point()
            wide[name] = value.detach().double() if floating else value
            if name in self.leaves:
                wide[name].requires_grad_()
        copy = Workload(
            self.op, self.size, self.shape, wide, self.leaves,
            self.ours, self.plain, self.reference, self.rtol, self.atol,
        )  # fmt: skip
        return copy.call(self.reference)()


def results(found: Any) -> list[Tensor]:
    """One tensor or a tuple of them, as a list."""
    return list(found) if isinstance(found, tuple) else [found]


def of_case(name: str, case: Case, shape: tuple[int, int], device: str, backward: bool) -> Workload:
    """A call of an op."""
    declared = ops.OPS[name].OP
    arguments = case.arguments(device)
    leaves = []
    if backward and declared.gradients is not None:
        leaves = [declared.forward.arguments[i] for i in declared.gradients.positions]
        for leaf in leaves:
            arguments[leaf] = arguments[leaf].detach().requires_grad_()
    names = declared.forward.arguments

    def formula(**kwargs: Any) -> Any:
        return declared.reference(*[kwargs.get(each) for each in names])

    ours = getattr(ops, name)
    size = case.name
    return Workload(
        name, size, shape, arguments, leaves, ours, formula, formula, case.rtol, case.atol
    )


def of_size(name: str, b: int, d: int, device: str) -> Iterator[Workload]:
    """An op on [b, d]: forward, and with backward where it has one."""
    case = Case(f"{b}x{d}", lambda maker: ops.OPS[name].example(maker, b, d))
    yield of_case(name, case, (b, d), device, False)
    if ops.OPS[name].OP.gradients is not None:
        yield of_case(name, case, (b, d), device, True)


def vae_loss(b: int, d: int, z: int, device: str, backward: bool) -> Workload:
    """Everything of a VAE's training step but its network: noise, z, KL, reconstruction, mean.

    y and mu, logvar stand for what the decoder and the encoder give; z goes out to the decoder and
    its gradient comes back.
    """
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(b, n, generator=generator).to(device) for n in (d, d, z, z)]
    arguments: dict[str, Any] = dict(zip(("x", "y", "mu", "logvar"), made, strict=True))
    leaves = ["y", "mu", "logvar"] if backward else []
    for leaf in leaves:
        arguments[leaf].requires_grad_()
    arguments["rng"] = ops.Rng(1, device=device).draw(4)

    def ours(x: Tensor, y: Tensor, mu: Tensor, logvar: Tensor, rng: Tensor, **backend: Any) -> Any:
        sample, kl = ops.reparameterize_kl(mu, logvar, rng, **backend)
        return sample, (ops.reconstruction_loss(x, y, **backend) + kl).mean()

    def plain(x: Tensor, y: Tensor, mu: Tensor, logvar: Tensor, rng: Tensor) -> Any:
        sample = mu + torch.exp(0.5 * logvar) * _noise.normal(mu.shape, rng)
        kl = 0.5 * (mu.square() + torch.expm1(logvar) - logvar).sum(1)
        return sample, (0.5 * (y - x).square().sum(1) + kl).mean()

    def reference(**kwargs: Any) -> Any:
        return ours(**kwargs, backend="reference")

    size = f"B {b}, D {d}, Z {z}"
    return Workload("VAE loss", size, (b, d), arguments, leaves, ours, plain, reference)


@contextmanager
def as_one_writes_it() -> Iterator[None]:
    """References become plain torch: torch.randn instead of the noise contract, and sums without
    the rules for what is not finite."""

    def normal(shape: Sequence[int], draw: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, dtype=dtype, device=draw.device)

    def words(draw: Tensor, blocks: int, skip: int = 0) -> Tensor:
        return torch.randint(2**32, (blocks, 4), device=draw.device)

    plain: dict[str, Callable[..., Tensor]] = {
        "row_sum": lambda terms, *inputs: terms.sum(1),
        "weighted_sum": lambda first, weight, second: first + weight * second,
    }
    modules = [m for name, m in sys.modules.items() if name.startswith("vaelocity.ops.")]
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(_noise, "normal", normal))
        stack.enter_context(mock.patch.object(_noise, "words", words))
        for module in modules:
            for name, function in plain.items():
                if hasattr(module, name):
                    stack.enter_context(mock.patch.object(module, name, function))
        yield
