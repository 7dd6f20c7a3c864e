"""The best detector of the tables: an error and a distance of codes, both relative."""

from __future__ import annotations

from vaelocity.models.code_neighbours import CodeNeighbours
from vaelocity.models.ensemble import Ensemble
from vaelocity.models.latent import LatentModel
from vaelocity.models.relative_score import RelativeScore
from vaelocity.models.rows import Rows


def error_and_codes(
    model: LatentModel, X: Rows, neighbours: int = 5, kind: str | None = None
) -> Ensemble:
    """How badly a row is reconstructed, and how far its code is from others, as one score.

    The mean of `RelativeScore` and `CodeNeighbours` (relative), standardised by their mean and
    standard deviation over the training rows: an `Ensemble`, which saves it and loads it.

    With the `DenoisingAutoencoder` of bench/quality it has the highest mean AUROC of everything
    with a network there: 90.6 % over 14 sets of ADBench, the model's own error 88.5 %
    (bench/results/quality/tabular.md). The distance to the 5 nearest training rows themselves, made
    relative in the same way and with nothing learned, has 90.7 %: what a network adds is the
    reconstruction, and an error of every feature.

    Args:
        model: fitted, with a latent space, at best one that is wide (64 there).
        X: the rows it was trained on, [N, n_features], finite; or other normal rows.
        neighbours: of each row, fewer than N.
        kind: of the model's scores; None is its own.

    Raises: as `RelativeScore` and `CodeNeighbours`.
    """
    error = RelativeScore(model, X, neighbours, kind)
    codes = CodeNeighbours(model, X, neighbours)
    return Ensemble([error, codes], by="deviation")
