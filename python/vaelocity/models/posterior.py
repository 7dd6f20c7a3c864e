"""What the posterior of a VAE tells: units in use, nats per unit, a bound on log p(x)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vaelocity import ops
from vaelocity.models.base import Floats, nan_unless
from vaelocity.models.rows import Rows, as_rows
from vaelocity.models.vae import VAE, kl_terms

ACTIVE = 0.01
"""The variance over the rows from which on the mean of a unit moves (Burda et al.)."""

_LOOKED_AT = 4096  # training rows by which `fit` judges
_ROWS = 1024  # rows times k samples are in memory at a time


class PosteriorCollapse(UserWarning):
    """No latent unit of a VAE carries anything about the rows."""


def kl_per_dimension(model: VAE, X: Rows) -> Floats:
    """The mean over rows X [n, n_features] of every latent unit's KL in nats: float32 [latent]."""
    mean = _posteriors(model, X, kl_terms).mean(axis=0, dtype=np.float64)
    found: Floats = mean.astype(np.float32)
    return found


def active_units(model: VAE, X: Rows, least: float = ACTIVE) -> npt.NDArray[np.bool_]:
    """Which latent units the rows X [n, n_features] move: the variance of mu_k over them is more
    than `least` (Burda, Grosse and Salakhutdinov, arXiv:1509.00519). bool [latent]."""
    found: npt.NDArray[np.bool_] = model.encode(X).var(axis=0, dtype=np.float64) > least
    return found


def importance_weighted_bound(model: VAE, X: Rows, k: int = 64, seed: int = 0) -> Floats:
    """A lower bound of log p(x) in nats, in the standardised space: float32 [n].

    The logarithm of the mean over k samples z of q(z|x) of p(x|z) p(z) / q(z|x), where p(x|z) is
    normal with the decoder's mean and variance 1 (Burda et al., arXiv:1509.00519). k = 1 is the
    evidence lower bound (beta = 1) with one sample; it rises with k to log p(x), and how far it
    rises is what the approximate posterior lacks.

    Args:
        model: fitted.
        X: [n, n_features]; a row with a NaN or infinity gives NaN.
        k: samples a row.
        seed: of the samples; they depend on the row's place in X.

    Raises: ValueError for k < 1; see `Model` for the others.
    """
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    rows = as_rows(X, model.n_features, "X")
    model._check_fitted()
    rng = ops.Rng(seed, device=model.scaler.mean.device)
    with model._evaluating(), torch.inference_mode():
        step = max(1, _ROWS // k)
        parts = [
            _bound(model, part.to(rng.device), k, rng).cpu() for part in torch.split(rows, step)
        ]
        found: Floats = torch.cat(parts).numpy()
    return found


def _bound(model: VAE, x: Tensor, k: int, rng: ops.Rng) -> Tensor:
    scorable, x = model._scorable(x), model.scaler(x)
    counts = model.counts(x)
    n = model.n_features if counts is None else counts.sum(dim=1).repeat_interleave(k)
    mu, logvar = (part.repeat_interleave(k, dim=0) for part in model.posterior(x))
    eps = ops.philox_normal(mu.shape, rng)
    z = mu + torch.exp(0.5 * logvar) * eps
    error = model.error(x.repeat_interleave(k, dim=0), model.decoder(z))
    log_x = -error - 0.5 * n * math.log(2 * math.pi)
    # log p(z) - log q(z|x); the constants of the two normals cancel.
    log_ratio = 0.5 * (eps.square() + logvar - z.square()).sum(dim=1)
    bound = torch.logsumexp((log_x + log_ratio).view(-1, k), dim=1) - math.log(k)
    return nan_unless(scorable, bound)


def norm_correlation(model: VAE, X: Rows) -> float:
    """The rank correlation over the rows X of the reconstruction score with the squared norm of the
    standardised row, which is the score of a decoder that gives the mean whatever it is asked:
    1 where the model has learned nothing that its score would show."""
    from scipy.stats import spearmanr

    rows = as_rows(X, model.n_features, "X")
    x = model.seen(model.scaler(rows.to(model.scaler.mean.device)))
    norm = x.square().sum(dim=1).cpu().numpy()
    return float(spearmanr(model.score(X, "reconstruction"), norm).statistic)


def warn_of_collapse(model: VAE, x: Tensor) -> None:
    """Warn with `PosteriorCollapse` if some of the rows x move no latent unit."""
    some = x[:: max(1, len(x) // _LOOKED_AT)]
    if len(some) < 2 or active_units(model, some).any():
        return
    warnings.warn(
        f"the posterior collapsed: the rows move none of the {model.latent} latent units, the "
        "decoder gives the mean, and the reconstruction score is the squared norm of the "
        "standardised row. A smaller beta, a warmup, free_bits or a longer training helps.",
        PosteriorCollapse,
        stacklevel=4,
    )


def _posteriors(model: VAE, X: Rows, function: Callable[[Tensor, Tensor], Tensor]) -> Floats:
    def posterior(x: Tensor) -> Tensor:
        return nan_unless(model._scorable(x), function(*model.posterior(model.scaler(x))))

    return model._batched(posterior, as_rows(X, model.n_features, "X"))
