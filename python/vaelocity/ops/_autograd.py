"""The gradients of an op: saved arguments in, the backward operator or the reference out.

In eager mode an autograd.Function calls the kernels directly. Where torch looks in between
(torch.compile, a mode, a tensor subclass) the same two functions are registered with the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vaelocity.ops._operator import Operator, Result


class Gradients:
    """See `Backward` for the arguments."""

    def __init__(
        self,
        forward: Operator,
        backward: Operator,
        reference: Callable[..., Result],
        gradients: Sequence[str],
        passed: dict[str, int],
    ) -> None:
        self._forward, self._backward, self._reference = forward, backward, reference
        self.names = forward.arguments
        at = forward.arguments.index
        self.positions = sorted([at(name) for name in gradients] + [at(name) for name in passed])
        """Arguments of the op that have a gradient from a kernel."""
        self.others = [i for i in forward.tensors if i not in self.positions]
        """Tensors whose gradients only the reference has, if they have any."""
        self._computed = [at(name) for name in gradients]
        self._passed = [(at(name), output) for name, output in passed.items()]
        self._n_grads = sum(name.startswith("grad") for name in backward.arguments)
        taken = [at(name) for name in backward.arguments[self._n_grads :]]
        self._saved = [i for i in taken if i in forward.tensors]
        self._constants = [i for i in taken if i not in forward.tensors]
        self._taken = taken
        self._order = [
            (i in self._saved, (self._saved if i in self._saved else self._constants).index(i))
            for i in taken
        ]
        self._n_arguments = len(forward.arguments)
        self.apply = _eager_function(self)
        torch.library.register_autograd(
            f"vaelocity::{forward.name}",
            lambda ctx, *grads: tuple(self.backward(ctx, grads, self._call_overload)),
            setup_context=lambda ctx, inputs, output: self.save(ctx, inputs),
        )
        torch.library.register_autograd(f"vaelocity::{backward.name}", self._second_order)

    def wanted(self, args: Sequence[Any]) -> bool:
        """Whether one of these arguments needs a gradient."""
        if torch.is_grad_enabled():
            for i in self.positions:
                if args[i].requires_grad:
                    return True
        return False

    def save(self, ctx: Any, args: Sequence[Any]) -> None:
        """Keep what backward takes: of tensors only arguments, never anything that was computed."""
        ctx.save_for_backward(*[args[i] for i in self._saved])
        ctx.constants = [args[i] for i in self._constants]

    def backward(
        self, ctx: Any, grads: Sequence[Tensor], run: Callable[..., Result]
    ) -> list[Tensor | None]:
        """Gradients of all arguments of the op, by `run` of the backward operator's arguments;
        by the reference where the gradient is to be differentiated again."""
        saved, constants = ctx.saved_tensors, ctx.constants
        args = [saved[i] if is_saved else constants[i] for is_saved, i in self._order]
        if torch.is_grad_enabled():
            return self._by_reference(dict(zip(self._taken, args, strict=True)), grads)
        return self._placed(run((*grads[: self._n_grads], *args)), grads)

    def without_graph(
        self, backend: str, grads: Sequence[Tensor], args: Sequence[Any]
    ) -> list[Tensor | None]:
        """Gradients of all arguments of the op from those of its results, by a backend."""
        if backend == "reference":
            with torch.enable_grad():
                found = self._by_reference(dict(enumerate(args)), grads)
            return [None if grad is None else grad.detach() for grad in found]
        taken = [args[i] for i in self._taken]
        results = self._backward.run(backend, [*grads[: self._n_grads], *taken])
        return self._placed(results, grads)

    def _placed(self, results: Result, grads: Sequence[Tensor]) -> list[Tensor | None]:
        """What the backward operator gave, each at the place of its argument."""
        found: list[Tensor | None] = [None] * self._n_arguments
        if len(self._computed) == 1:
            found[self._computed[0]] = results  # type: ignore[assignment]
        else:
            for i, result in zip(self._computed, results, strict=True):
                found[i] = result
        for i, output in self._passed:
            found[i] = grads[output]
        return found

    def _call_overload(self, args: Sequence[Any]) -> Result:
        found: Result = self._backward.overload(*args)
        return found

    def _by_reference(self, kept: dict[int, Any], grads: Sequence[Tensor]) -> list[Tensor | None]:
        """The same gradients, differentiable, by autograd through the reference."""
        args = [
            kept[i] if i in kept else self._stand_in(i, grads[0]) for i in range(self._n_arguments)
        ]
        for i in self.positions:
            # A view of its own, should one tensor be passed for two arguments.
            args[i] = args[i].view_as(args[i])
            if not args[i].requires_grad:
                args[i] = args[i].detach().requires_grad_()
        outputs = self._reference(*args)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if o.requires_grad]
        results = torch.autograd.grad(
            [output for output, _ in pairs],
            [args[i] for i in self.positions],
            [grad for _, grad in pairs],
            create_graph=True,
            allow_unused=True,
        )
        found: list[Tensor | None] = [None] * len(args)
        for i, result in zip(self.positions, results, strict=True):
            found[i] = result
        return found

    def _stand_in(self, i: int, grad: Tensor) -> Any:
        """For an argument that backward does not take: it has no influence, so that any value of
        the right shape and type will do. Data that is not taken has the shape of the result."""
        if i not in self._forward.tensors:
            return 0.0
        if self.names[i] == "rng":
            return grad.new_zeros(2, dtype=torch.int64)
        return torch.zeros_like(grad)

    def _second_order(self, ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        raise RuntimeError(
            f"{self._backward.name} has no gradient of its own: differentiate "
            f"vaelocity.ops.{self._forward.name} twice instead"
        )


def _eager_function(gradients: Gradients) -> Callable[..., Any]:
    """apply(backend, *args) of a Function in the ctx style: with setup_context it costs 10 us more.

    The apply of the C++ base class, for what Function.apply does before is for torch.func, whose
    transforms never come here.
    """
    forward, backward = gradients._forward, gradients._backward

    class Fused(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, backend: str, *args: Any) -> Result:
            gradients.save(ctx, args)
            ctx.backend = backend
            outputs = forward.run(backend, args)
            if isinstance(outputs, tuple):
                for each in outputs:
                    if not each.is_floating_point():
                        ctx.mark_non_differentiable(each)
            return outputs

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Any:
            found = gradients.backward(ctx, grads, partial(backward.run, ctx.backend))
            return (None, *found)

    Fused.__name__ = Fused.__qualname__ = forward.name
    apply: Callable[..., Any] = super(torch.autograd.Function, Fused).apply
    return apply
