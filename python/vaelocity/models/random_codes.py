"""A number for what random codes decode to: rows like the data, or not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from vaelocity.models.latent import LatentModel
from vaelocity.models.rows import Rows, as_rows


class RandomCodes(NamedTuple):
    """How rows decoded from z ~ N(0, 1) compare with the data, in standard deviations.

    density   decoded rows inside a ball around a data row that reaches to its k-th neighbour,
              counted per ball and divided by k: 1 for rows like the data, 0 for rows far off, more
              than 1 for rows that crowd in the middle of the data, as blurred images do
    coverage  the share of these balls that hold a decoded row: 1 for rows like the data, 0 far off
    """

    density: float
    coverage: float


@torch.no_grad()
def random_codes(
    model: LatentModel, X: Rows, n: int = 2000, neighbours: int = 5, seed: int = 0
) -> RandomCodes:
    """Decode n random codes of a fitted model and compare them with at most n rows of X.

    Density and coverage of Naeem et al., arXiv:2002.09797. An autoencoder's codes lie anywhere, so
    that N(0, 1) seldom meets them; a VAE's KL pulls them there.

    Args:
        model: with a latent space.
        X: rows that training did not see, [m, n_features], more than `neighbours`.
        n: codes; more rows of X than n are thinned out evenly.
        neighbours: k.
        seed: of the codes.

    Raises: ValueError for too few rows; see `Model` for the others.
    """
    rows = as_rows(X, model.n_features, "X")
    if min(n, len(rows)) <= neighbours:
        raise ValueError(
            f"X, n: expected more than {neighbours} rows and codes (neighbours), got {len(rows)} "
            f"and {n}"
        )
    kept = np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(np.int64)
    device = model.scaler.mean.device

    def scaled(rows: torch.Tensor) -> torch.Tensor:
        standard: torch.Tensor = model.scaler(rows.to(device))
        return standard.cpu().double()

    data = scaled(rows.cpu()[torch.from_numpy(kept)])
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(n, model.latent, generator=generator)
    made = scaled(torch.from_numpy(model.decode(codes)))
    # The nearest row to a row is itself, at distance 0.
    radius = torch.cdist(data, data).kthvalue(neighbours + 1, dim=1).values
    inside = torch.cdist(data, made) < radius[:, None]
    density = float(inside.sum() / (neighbours * n))
    return RandomCodes(density, float(inside.any(dim=1).float().mean()))
