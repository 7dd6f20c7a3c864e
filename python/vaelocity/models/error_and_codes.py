"""A detector of two parts: the error of a row and the distance of its code, both relative."""

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

    With the `DenoisingAutoencoder` of bench/quality it has a mean AUROC of 90.6 % over 14 sets of
    ADBench, where the model's error has 88.5 %; it gains on 11 of them and loses on vowels and
    satimage-2. It was chosen with the labels of these sets in sight, and there is as good without a
    network: the distances to the 5 nearest training rows, made relative in the same way, have
    90.7 %, by themselves or in the place of the codes (bench/results/quality/tabular.md,
    mixtures.md). Scoring takes many times as long as the model's own, and longer the more training
    rows there are.

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
