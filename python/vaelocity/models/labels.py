"""Labels as the input of a network, and as callers hand them in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vaelocity.models.rows import as_label


class LabelEmbedding(nn.Module):
    """A learned vector for each of `n_classes` labels: int64 [n] to float32 [n, width]."""

    def __init__(self, n_classes: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_classes, width))

    def forward(self, label: Tensor) -> Tensor:
        return self.weight.index_select(0, label)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """N(0, 1), as torch.nn.Embedding's own, from `generator`."""
        self.weight.copy_(torch.randn(self.weight.shape, generator=generator))


def labels_of(
    label: int | npt.ArrayLike | Tensor | None, n: int, n_classes: int, name: str = "label"
) -> Tensor | None:
    """int64 [n] of what a caller gave: one label for all, or one each. None stays None.

    Raises ValueError for a model without classes, a label out of range, another shape or dtype.
    """
    if label is None:
        return None
    given = label.detach().cpu().numpy() if isinstance(label, Tensor) else np.asarray(label)
    each = np.broadcast_to(given, (n,)) if given.ndim == 0 else given
    return as_label(each, n, n_classes, name)
