"""How an op is declared: two operators, the reference, and which arguments have gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaelocity.ops import _dispatch
from vaelocity.ops._autograd import Gradients
from vaelocity.ops._operator import Operator, Result


@dataclass(frozen=True)
class Backward:
    """The backward operator of an op, <name>_backward.

    schema     "(Tensor grad_<output>, ..., <arguments of the op by name>) -> ..."
    empty      memory of its results
    gradients  the arguments that its results are gradients of, in order
    passed     argument: number of the output whose gradient is the argument's, unchanged

    An argument of the op that it does not take must have no influence on any gradient.
    """

    schema: str
    empty: Callable[..., Result]
    gradients: tuple[str, ...]
    passed: Mapping[str, int] = field(default_factory=dict)


class Op:
    """An op: call it with the arguments of its schema, checked and in the layout of kernels.

    Args:
        name: of the op, of its file at every hop, and of its forward operator.
        schema, empty: see `Operator`.
        reference: the formula in plain torch, of the same arguments; differentiable, for any
            floating type and device, under every transform of torch.func.
        backward: None for an op without gradients.
    """

    def __init__(
        self,
        name: str,
        schema: str,
        *,
        empty: Callable[..., Result],
        reference: Callable[..., Result],
        backward: Backward | None = None,
    ) -> None:
        self.name = name
        self.reference = reference
        self.forward = Operator(name, schema, empty)
        self.names: tuple[str, ...] = (name,)
        self.gradients: Gradients | None = None
        if backward is not None:
            operator = Operator(f"{name}_backward", backward.schema, backward.empty)
            self.names = (name, operator.name)
            self.gradients = Gradients(
                self.forward, operator, reference, backward.gradients, dict(backward.passed)
            )

    def __call__(self, *args: Any, backend: str | None = None) -> Any:
        """The result; see `_dispatch.choose` for who computes it."""
        chosen = _dispatch.choose(self.name, self.names, self.gradients, args, backend)
        if chosen == "reference":
            return self.reference(*args)
        if torch.compiler.is_compiling() or _dispatch.intercepted(args):
            return self.forward.overload(*args)
        if self.gradients is not None and self.gradients.wanted(args):
            return self.gradients.apply(chosen, *args)
        return self.forward.run(chosen, args)

    def backward(
        self, grads: Sequence[Tensor], args: Sequence[Any], backend: str | None = None
    ) -> list[Tensor | None]:
        """Gradients of the arguments, in their order, from those of the results: what autograd
        would find, for a training step that keeps no graph. grads and args are in the layout of
        kernels; an argument without a gradient has None."""
        assert self.gradients is not None
        chosen = _dispatch.choose(self.name, self.names, self.gradients, args, backend)
        return self.gradients.without_graph(chosen, grads, args)
