"""Dense layers under a condition: a time, a label."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from vaelocity.models.labels import LabelEmbedding
from vaelocity.models.layers import Dense, activated

CONDITION_WIDTH = 64


class ConditionedNetwork(nn.Module):
    """Dense layers from widths[0] to widths[-1]; a condition shifts the input of every activation.

    It is no column beside those of the row: among 64 others two features would hardly count.
    Called as network(x [n, widths[0]], condition [n, CONDITION_WIDTH] or None).
    """

    def __init__(self, widths: Sequence[int], activation: str, conditioned: bool) -> None:
        super().__init__()
        self.activation = activation
        *hidden, last = pairwise(widths)
        self.layers = nn.ModuleList(_linear(n_in, n_out) for n_in, n_out in hidden)
        shifted = hidden if conditioned else []
        self.shifts = nn.ModuleList(_linear(CONDITION_WIDTH, n_out) for _, n_out in shifted)
        self.last = _linear(*last)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if self.shifts:
                x = x + self.shifts[i](condition)
            x = activated(x, self.activation)
        y: Tensor = self.last(x)
        return y


class LabelledNetwork(nn.Module):
    """Dense layers over a row and its label; network(x [n, widths[0]], label int64 [n] or None).

    Args:
        widths: of the row, of the hidden layers and of the result.
        activation: of the hidden layers.
        n_classes: labels are below it; 0 for a network that is called with None.
    """

    def __init__(self, widths: Sequence[int], activation: str, n_classes: int) -> None:
        super().__init__()
        self.label = LabelEmbedding(n_classes, CONDITION_WIDTH) if n_classes else None
        self.network = ConditionedNetwork(widths, activation, n_classes > 0)

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        y: Tensor = self.network(x, None if self.label is None else self.label(label))
        return y


def _linear(n_in: int, n_out: int) -> Dense:
    return Dense(n_in, n_out, "identity", batch_norm=False)
