"""An output that stays within what a column can be: an angle within pi, a pseudorapidity within the
detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vaelocity.models.columns import Column, column_numbers, finite_float32

if TYPE_CHECKING:
    from vaelocity.models.base import Model

Floats = npt.NDArray[np.float32]


class Bound(nn.Module):
    """The last layer of a decoder: of the columns with a limit, y becomes limit * tanh(y), in the
    units in which a column is standardised; the others stay as they are.

    As public training code for autoencoders of the level-1 trigger has it, on the data set of
    Govorkova et al., Nature Mach. Intell. 4 (2022) 154, arXiv:2108.03986: its `make_mse` takes
    pi tanh for phi, and 3.0, 2.1 and 4.0 tanh for the pseudorapidity of electrons, muons and jets.
    What the network gives goes into the tanh as it is, not divided by the limit. The paper itself
    was not compared.

    limits: {column: positive float}. model: whose scaler turns limits into standardised units,
    (limit tanh(y) - mean) / scale.
    """

    def __init__(self, limits: Mapping[int, float], model: Model) -> None:
        super().__init__()
        self.limits = dict(sorted(limits.items()))
        values = torch.zeros(model.n_features)
        values[list(self.limits)] = torch.tensor(list(self.limits.values()))
        # Not part of the state: the file says it.
        self.register_buffer("limit", values.to(model.scaler.mean.device), persistent=False)
        # Past nn.Module, to which the model would be a part of this one.
        object.__setattr__(self, "_model", model)

    def folded(self) -> tuple[Floats, Floats]:
        """weight and bias of the file's step, float32 [width] each."""
        weight, bias = self._standardised()
        return weight.cpu().numpy(), bias.cpu().numpy()

    def forward(self, y: Tensor) -> Tensor:
        weight, bias = self._standardised()
        return torch.where(weight > 0, weight * torch.tanh(y) + bias, y)

    def _standardised(self) -> tuple[Tensor, Tensor]:
        model: Model = self.__dict__["_model"]
        limit, inverse = self.get_buffer("limit"), 1 / model.scaler.scale
        return limit * inverse, torch.where(limit > 0, -model.scaler.mean * inverse, 0)


def limits_of(limits: Mapping[Column, float], names: Sequence[str]) -> dict[int, float]:
    """{number of the column: limit}. Raises ValueError naming the argument."""
    numbers = column_numbers("bound", limits, names)
    found = {}
    for number, value in zip(numbers, limits.values(), strict=True):
        found[number] = finite_float32("bound", value)
        if not found[number] > 0:
            raise ValueError(f"bound: expected positive limits, got {value!r}")
    return found
