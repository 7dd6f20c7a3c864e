"""The losses of two players: a discriminator, and what wants to pass for real."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

LOSSES = ("hinge", "non_saturating")


def loss_name(loss: str) -> str:
    """`loss`. Raises ValueError if it is none of LOSSES."""
    if loss not in LOSSES:
        raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {loss!r}")
    return loss


def discriminator_loss(real: Tensor, fake: Tensor, loss: str) -> Tensor:
    """Of the discriminator's logits [n] of what is real and what is not: [n].

    hinge: relu(1 - real) + relu(1 + fake) (Lim and Ye, arXiv:1705.02894); non_saturating:
    softplus(-real) + softplus(fake) (Goodfellow et al., arXiv:1406.2661).
    """
    if loss == "hinge":
        return F.relu(1 - real) + F.relu(1 + fake)
    return F.softplus(-real) + F.softplus(fake)


def adversarial_loss(fake: Tensor, loss: str) -> Tensor:
    """Of the logits [n] of what wants to pass for real: -fake, or softplus(-fake): [n]."""
    return -fake if loss == "hinge" else F.softplus(-fake)
