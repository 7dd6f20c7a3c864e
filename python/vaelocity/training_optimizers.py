"""The optimisers of a training, one a player."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

if TYPE_CHECKING:
    from vaelocity.models.base import Model
    from vaelocity.train import Settings

_CACHE_LINE = 16
"""Numbers of four bytes."""


def optimizers(model: Model, settings: Settings) -> dict[str, torch.optim.AdamW]:
    """By player; see `Model.players`."""
    graph = settings.cuda_graph
    lr: float | Tensor = settings.lr
    if graph and settings.schedule != "constant":
        # A graph keeps its learning rate, so one that changes is a tensor there.
        lr = torch.tensor(settings.lr, device=settings.device)
    players = model.players()
    kind = InLine if len(players) == 1 and _suits(list(model.parameters())) else torch.optim.AdamW
    return {
        name: kind(
            parameters,
            lr=lr,
            weight_decay=settings.weight_decay,
            fused=True,
            capturable=graph,
            **model.adam,
        )
        for name, parameters in players.items()
    }


def _suits(parameters: Sequence[nn.Parameter]) -> bool:
    """Whether they can be in line. On a GPU a kernel for each would add its gradient to it."""
    trained = all(each.requires_grad for each in parameters)
    cpu = all(each.device.type == "cpu" for each in parameters)
    return trained and cpu and len({each.dtype for each in parameters}) == 1


def apart(model: Model) -> None:
    """Give parameters that lie in line memory of their own again, and no gradient."""
    for each in model.parameters():
        if each.untyped_storage().nbytes() > each.nbytes:
            each.data, each.grad = each.data.clone(), None


class InLine(torch.optim.AdamW):
    """AdamW of parameters that lie in line in one tensor, their gradients in another.

    What torch does for each parameter in a step it does once: worth some per cent of the time of a
    training in small batches. A parameter without a gradient has the gradient 0. The state is that
    of the parameters one by one, so that a training may go on with torch's own. `apart` ends it.

    Args:
        parameters: floating, of one dtype and device. They, and their .grad, become views.
        settings: of torch.optim.AdamW.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], **settings: Any) -> None:
        self._parameters = list(parameters)
        with torch.no_grad():
            line = nn.Parameter(_joined(self._parameters))
        self._gradient = line.grad = torch.zeros_like(line)
        super().__init__([line], **settings)
        values, grads = self._views(line.detach()), self._views(self._gradient)
        for each, value, grad in zip(self._parameters, values, grads, strict=True):
            each.data, each.grad = value, grad

    def check(self) -> None:
        """Raises RuntimeError where somebody gave a parameter or its gradient other memory."""
        kept = (self.param_groups[0]["params"][0], self._gradient)
        for i, each in enumerate(self._parameters):
            for now, line in zip((each, each.grad), kept, strict=True):
                if now is None or now.untyped_storage().data_ptr() != line.data_ptr():
                    raise RuntimeError(
                        f"parameter {i} of shape {tuple(each.shape)}, or its gradient, was "
                        "replaced during the training: change it in place"
                    )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """All gradients become 0, whatever set_to_none says: their memory is the line's."""
        self._gradient.zero_()

    def state_dict(self) -> dict[str, Any]:
        """As torch.optim.AdamW has it of these parameters; views."""
        found = super().state_dict()
        if found["state"]:
            whole = found["state"][0]
            parts = {name: list(self._parts(value)) for name, value in whole.items()}
            found["state"] = {
                i: {name: values[i] for name, values in parts.items()}
                for i in range(len(self._parameters))
            }
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of what `state_dict` gave, here or in torch.optim.AdamW."""
        state = state_dict["state"]
        if state:
            each = [state[i] for i in range(len(self._parameters))]
            whole = {
                name: _joined([values[name] for values in each]) if value.dim() else value
                for name, value in each[0].items()
            }
            state_dict = {**state_dict, "state": {0: whole}}
        super().load_state_dict(state_dict)

    def _parts(self, value: Tensor) -> Iterator[Tensor]:
        """Of a state: the number of steps, which counts for each by itself, or its pieces."""
        return self._views(value) if value.dim() else (value.clone() for _ in self._parameters)

    def _views(self, line: Tensor) -> Iterator[Tensor]:
        pieces = torch.split(line, [_padded(each.numel()) for each in self._parameters])
        for piece, each in zip(pieces, self._parameters, strict=True):
            yield piece[: each.numel()].view(each.shape)


def _padded(n: int) -> int:
    """Elements of the line that a parameter of n takes: each begins on a cache line, for products
    of matrices elsewhere may be rounded otherwise."""
    return -(-n // _CACHE_LINE) * _CACHE_LINE


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """The line of parameters, or of what belongs to each of their elements; 0 between them."""
    return torch.cat([pad(each.flatten(), (0, -each.numel() % _CACHE_LINE)) for each in tensors])
