"""The steps of a training: a batch's gradients, and what the optimisers make of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.parametrize import is_parametrized

from vaelocity import ops
from vaelocity.distributed import Processes
from vaelocity.models.training_data import Part
from vaelocity.training_optimizers import InLine

if TYPE_CHECKING:
    from vaelocity.models.base import Model, StepWithoutGraph

Terms = dict[str, Tensor]
"""By name: [n] each."""


@dataclass(frozen=True)
class _Batch:
    """Standardised rows, their weights and labels, and the gradient of the loss by the rows'."""

    x: Tensor
    weight: Tensor | None
    label: Tensor | None
    gradient: Tensor


class Steps:
    """The players of a model in turn, each with an optimiser of his own."""

    part: Part
    noise: ops.Rng

    def __init__(
        self,
        model: Model,
        optimizers: Mapping[str, torch.optim.Optimizer],
        backend: str | None,
        processes: Processes,
    ) -> None:
        self.model, self._backend, self._processes = model, backend, processes
        self._optimizers = optimizers
        self.players = model.players()
        self._trained = {
            name: [parameter for parameter in parameters if parameter.requires_grad]
            for name, parameters in self.players.items()
        }
        self._short: StepWithoutGraph | None = None

    def begin_epoch(self, part: Part, noise: ops.Rng) -> None:
        """The rows and the noise of the steps that follow."""
        self.part, self.noise = part, noise
        self._short = self._short_step()
        for optimizer in self._optimizers.values():
            if isinstance(optimizer, InLine):
                optimizer.check()

    def take(self, index: Tensor) -> Terms:
        """One step of every player by the mean loss of the rows `index`, int64 [n]: weight * term
        of all terms, of those rows that are this process's."""
        here = index[self._processes.place(self.noise, len(index))]
        given = self._processes.attempt(self._batch, here, len(index))
        found: Terms = {}
        for player in self.players:
            terms = self._processes.attempt(self._gradients, player, given)
            self._processes.add_gradients(self._trained[player])
            self._optimizers[player].step()
            found |= self._named(player, terms or {}, None if given is None else given.weight)
        return found

    def terms(self, part: Part, noise: ops.Rng) -> Terms:
        """weight * term of all terms, without a step."""
        x = self.model.scaler(part.x)
        found: Terms = {}
        for player in self.players:
            terms = self._terms(player, x, part.label, noise)
            found |= self._named(player, terms, part.weight)
        return found

    def _named(self, player: str, terms: Terms, weight: Tensor | None) -> Terms:
        """Under their names in the history."""
        prefix = "" if player == next(iter(self.players)) else f"{player}_"
        return {
            prefix + name: term.detach() if weight is None else term.detach() * weight
            for name, term in terms.items()
        }

    def _batch(self, index: Tensor, of: int) -> _Batch:
        rows = self.part.pick(index)
        x, weight = self.model.scaler(rows.x), rows.weight
        # The gradient of the mean of weight * loss, without the two steps it would take.
        gradient = x.new_full((len(x),), 1 / of) if weight is None else weight / of
        return _Batch(x, weight, rows.label, gradient)

    def _gradients(self, player: str, batch: _Batch) -> Terms:
        if self._short is not None:
            return self._short(batch.x, batch.gradient, self.noise)
        return self._backpropagated(player, batch)

    def _backpropagated(self, player: str, batch: _Batch) -> Terms:
        """The terms of a player's loss, and its gradients, by autograd."""
        terms = self._terms(player, batch.x, batch.label, self.noise)
        self._optimizers[player].zero_grad()
        # A loss that runs through another player's layers leaves them without a gradient.
        inputs = None if len(self.players) == 1 else self._trained[player]
        loss = terms["loss"]
        loss.backward(batch.gradient, inputs=inputs)  # type: ignore[no-untyped-call]
        return terms

    def _terms(self, player: str, x: Tensor, label: Tensor | None, noise: ops.Rng) -> Terms:
        extra: dict[str, Any] = {} if label is None else {"label": label}
        if len(self.players) > 1:
            extra["player"] = player
        return self.model.training_terms(x, noise, self._backend, **extra)

    def _short_step(self) -> StepWithoutGraph | None:
        """Only where every parameter is trained, and is itself the weight of its layer."""
        trained = [parameter.requires_grad for parameter in self.model.parameters()]
        derived = [is_parametrized(layer) for layer in self.model.modules()]
        if len(self.players) > 1 or not all(trained) or any(derived):
            return None
        return self.model.step_without_graph(self._backend)


class Sums:
    """Sums of terms over rows, in float64 and on the device: nothing waits for it, and what is
    done per batch is little, for batches are many and small."""

    _KEPT = 128

    def __init__(self) -> None:
        self._parts: dict[str, list[Tensor]] = {}
        self._totals: dict[str, Tensor] = {}

    def add(self, terms: Terms) -> None:
        """Terms of some rows."""
        for name, term in terms.items():
            parts = self._parts.setdefault(name, [])
            parts.append(term)
            if len(parts) >= self._KEPT:
                self._add_up(name, parts)

    def totals(self) -> dict[str, Tensor]:
        """The sums so far, float64 scalars."""
        for name, parts in self._parts.items():
            if parts:
                self._add_up(name, parts)
        return self._totals

    def _add_up(self, name: str, parts: list[Tensor]) -> None:
        total = torch.cat(parts).sum(dtype=torch.float64)
        self._totals[name] = self._totals[name] + total if name in self._totals else total
        parts.clear()
