"""Denoising diffusion, and the diffusion time that a row looks like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaelocity import ops
from vaelocity.models.arguments import count, share
from vaelocity.models.average import WeightAverage
from vaelocity.models.base import Floats, Model, positive
from vaelocity.models.denoiser import Denoiser
from vaelocity.models.labels import labels_of
from vaelocity.models.layers import Network, activation_name

TIMES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Where on the way from data (0) to noise (1) the denoising score looks."""

PAIRS = 4
"""Noise vectors a time; each is used with both signs."""

BINS = 10
"""Of the diffusion time, over its first 0.9: later than that a row is noise and no more."""

_LAST_TIME = 0.9

_SCORE_NOISE = 0x5C0E
"""Seed of the noise of the score. Another one would be another score."""

_SAMPLES = 1024  # rows made at a time


class Diffusion(Model):
    """A denoising diffusion model with a cosine schedule, and a diffusion-time estimator.

    Forward: x_t = sqrt(a_t) x + sqrt(1 - a_t) eps (`ops.diffuse`), t = 0 ... steps - 1, with the
    a_t of Nichol and Dhariwal, arXiv:2102.09672, equation 17. Per row the denoiser minimises
    1/2 ||eps' - eps||^2 (Ho et al., arXiv:2006.11239, equation 14; `ops.denoising_loss` makes eps
    again from its name). Its network predicts v = sqrt(a_t) eps - sqrt(1 - a_t) x (Salimans and
    Ho, arXiv:2202.00512): eps' = sqrt(1 - a_t) x_t + sqrt(a_t) v'. The times of a batch are evenly
    spaced from one random start (Kingma et al., arXiv:2107.00630, appendix I.1).

    Score kinds:
        denoising: 1/2 ||eps' - eps||^2 + 1/2 ||x' - x||^2 (which is 1/2 ||v' - v||^2, as
            x' = sqrt(a_t) x_t - sqrt(1 - a_t) v'), averaged over the times in TIMES and over fixed
            noise vectors, the same for every row: a row's score depends on nothing but the row,
            up to the last bits, which torch's matrix products leave to the size of a batch.
        diffusion_time: how far from data a row looks, 0 to 1: the mean of a classifier's
            posterior over bins of t (Livernoche et al., arXiv:2305.18593, "DTE categorical"). It
            sees x_t / sqrt(a_t) = x + noise, so that a row to score is one at t = 0.

    Scores and samples come from an average of the weights over the steps of training.

    Args:
        n_features: columns of a row.
        hidden: widths of the hidden layers, of the denoiser and of the estimator.
        activation: of the hidden layers, see `Autoencoder`.
        steps: of the forward diffusion.
        n_classes: 0, or the number of labels: then `fit` needs label=, integers [n] from 0 to
            n_classes - 1, and `sample` takes one. Scores do not use labels.
        label_dropout: share of the rows that are trained on without their label, for guidance
            (Ho and Salimans, arXiv:2207.12598).
        ema: decay of the average of the weights; 0 takes the last weights.
        feature_names: of the columns; None gives x0, x1, ...
        network: a denoiser of your own, called as `Denoiser` is; None makes one of dense layers.
        estimator: an estimator of your own, [n, n_features] to logits [n, BINS].

    `fit` draws the weights of those of your layers that have initialise(generator). Such a model
    is saved only if it is a subclass whose arguments() make its networks again, and read by
    models.load(path, classes=[...]) with that subclass.
    """

    kinds = ("denoising", "diffusion_time")
    default_kind = "denoising"

    alpha_bar: Tensor

    def __init__(
        self,
        n_features: int,
        hidden: Sequence[int] = (256, 256, 256),
        activation: str | None = "relu",
        steps: int = 1000,
        n_classes: int = 0,
        label_dropout: float = 0.1,
        ema: float = 0.999,
        feature_names: Sequence[str] | None = None,
        network: nn.Module | None = None,
        estimator: nn.Module | None = None,
    ) -> None:
        super().__init__(n_features, feature_names)
        self.hidden = tuple(positive(width, "hidden") for width in hidden)
        self.activation = activation_name(activation)
        self.steps = positive(steps, "steps")
        self.n_classes = count(n_classes, "n_classes")
        self.label_dropout = share(label_dropout, "label_dropout")
        self.ema = share(ema, "ema")
        self.register_buffer("alpha_bar", cosine_schedule(self.steps), persistent=False)
        own = network is not None or estimator is not None
        self.own_networks = own and type(self) is Diffusion
        if network is None:
            arguments = (self.hidden, self.activation, self.steps, self.n_classes)
            network = Denoiser(n_features, *arguments)
        if estimator is None:
            widths = [n_features, *self.hidden, BINS]
            estimator = Network(widths, self.activation, batch_norm=False)
        self.network, self.estimator = network, estimator
        self.mean_network = WeightAverage(self.network, self.ema)
        self.mean_estimator = WeightAverage(self.estimator, self.ema)
        self.initialise(0)
        self.initialised = False

    def arguments(self) -> dict[str, Any]:
        return {
            **super().arguments(),
            "hidden": list(self.hidden),
            "activation": self.activation,
            "steps": self.steps,
            "n_classes": self.n_classes,
            "label_dropout": self.label_dropout,
            "ema": self.ema,
        }

    # ---- Training

    def initialise(self, seed: int) -> None:
        super().initialise(seed)
        self.mean_network.restart(self.network)
        self.mean_estimator.restart(self.estimator)

    def players(self) -> dict[str, list[nn.Parameter]]:
        return {"model": [*self.network.parameters(), *self.estimator.parameters()]}

    def training_terms(
        self,
        x: Tensor,
        rng: ops.Rng,
        backend: str | None = None,
        label: Tensor | None = None,
    ) -> dict[str, Tensor]:
        t = self._times(len(x), rng, backend)
        if label is not None:
            _, kept = ops.corrupt(x[:, :1], rng, drop=self.label_dropout, backend=backend)
            label = torch.where(kept[:, 0], label, self.n_classes)
        draw = rng.draw(x.numel())
        x_t = ops.diffuse(x, t, self.alpha_bar, draw, backend=backend)
        network, estimator = self._networks()
        noise, _ = self._noise_and_row(x_t, t, self._velocity(network, x_t, t, label))
        denoising = ops.denoising_loss(noise, draw, backend=backend)
        time = self._time_loss(estimator, x_t, t)
        return {"loss": denoising + time, "denoising": denoising, "time": time}

    def after_step(self) -> None:
        self.mean_network.update(self.network)
        self.mean_estimator.update(self.estimator)

    def _networks(self) -> tuple[nn.Module, nn.Module]:
        """Those that are trained, or in eval mode their averages, which score."""
        if self.training:
            return self.network, self.estimator
        return self.mean_network, self.mean_estimator

    def _times(self, n: int, rng: ops.Rng, backend: str | None) -> Tensor:
        """int64 [n] in 0 ... steps - 1, evenly spaced from one random start."""
        start: Tensor = torch.special.ndtr(ops.philox_normal((1,), rng, backend=backend))
        u = (start + torch.arange(n, device=start.device) / n) % 1
        t: Tensor = (u * self.steps).long().clamp(max=self.steps - 1)
        return t

    def _velocity(self, network: nn.Module, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        """v' [n, n_features]; without a label as if there were none."""
        if self.n_classes and label is None:
            label = torch.full_like(t, self.n_classes)
        v: Tensor = network(x_t, t, label)
        return v

    def _noise_and_row(self, x_t: Tensor, t: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """eps' and x', [n, n_features] each."""
        kept = self.alpha_bar[t][:, None]
        signal, noise = kept.sqrt(), (1 - kept).sqrt()
        return noise * x_t + signal * v, signal * x_t - noise * v

    def _time_loss(self, estimator: nn.Module, x_t: Tensor, t: Tensor) -> Tensor:
        """Cross-entropy of the bin of t, [n]; 0 for rows beyond the last bin."""
        last = _LAST_TIME * self.steps
        inside = t < last
        t = torch.where(inside, t, 0)
        logits = estimator(torch.where(inside[:, None], x_t, 0) / self.alpha_bar[t].sqrt()[:, None])
        return F.cross_entropy(logits, (t * (BINS / last)).long(), reduction="none") * inside

    # ---- Scores

    def standardised_score(self, x: Tensor, kind: str) -> Tensor:
        if kind == "diffusion_time":
            posterior: Tensor = self.mean_estimator(x).softmax(dim=1)
            bins = torch.arange(BINS, dtype=x.dtype, device=x.device)
            return posterior @ ((bins + 0.5) * (_LAST_TIME / BINS))
        # Not `ops.diffuse`: a named draw gives every row of a batch another noise.
        vectors = ops.philox_normal(
            (PAIRS, self.n_features), ops.Rng(_SCORE_NOISE, device=x.device)
        )
        total = torch.zeros_like(x[:, 0])
        for time in TIMES:
            t = torch.full((len(x),), int(time * self.steps), device=x.device)
            kept = self.alpha_bar[t[:1]]
            for eps in (*vectors, *-vectors):
                x_t = kept.sqrt() * x + (1 - kept).sqrt() * eps
                target = kept.sqrt() * eps - (1 - kept).sqrt() * x
                v = self._velocity(self.mean_network, x_t, t, None)
                total += ops.reconstruction_loss(target, v)
        return total / (len(TIMES) * 2 * PAIRS)

    # ---- New rows

    def sample(
        self,
        n: int,
        seed: int = 0,
        steps: int = 50,
        label: int | npt.ArrayLike | Tensor | None = None,
        guidance: float = 1.0,
    ) -> Floats:
        """n new rows in the units of the features: float32 [n, n_features].

        DDIM without noise on the way (Song et al., arXiv:2010.02502, eta = 0), from noise that is
        named by `seed`: the same seed gives the same rows, and the first rows of a larger n.

        Args:
            n: how many.
            seed: of the noise.
            steps: of the denoiser, evenly spaced over the diffusion; at most as many as it has.
            label: of a model with classes: one for all or one each; None draws from all of them.
            guidance: g in v' = v'(no label) + g (v'(label) - v'(no label)).

        Raises: ValueError for n, steps or labels out of range; RuntimeError if it was not fitted.
        """
        n = count(n, "n")
        if not 1 <= steps <= self.steps:
            raise ValueError(f"steps: expected 1 to {self.steps}, got {steps}")
        labels = labels_of(label, n, self.n_classes)
        start = ops.philox_normal((n, self.n_features), ops.Rng(seed))
        times = torch.linspace(self.steps - 1, 0, steps, dtype=torch.float64).round().long()
        parts = []
        for at in range(0, max(n, 1), _SAMPLES):
            given = None if labels is None else labels[at : at + _SAMPLES].to(self.alpha_bar.device)
            denoise = partial(self._denoised, times=times.tolist(), label=given, guidance=guidance)
            parts.append(self._batched(denoise, start[at : at + _SAMPLES]))
        return np.concatenate(parts)

    def _denoised(
        self, x: Tensor, times: list[int], label: Tensor | None, guidance: float
    ) -> Tensor:
        """Rows in the units of the features from the noise x, by way of `times`."""
        for i, time in enumerate(times):
            t = torch.full((len(x),), time, device=x.device)
            v = self._guided_velocity(x, t, label, guidance)
            noise, x = self._noise_and_row(x, t, v)
            if i + 1 < len(times):
                kept = self.alpha_bar[times[i + 1]]
                x = kept.sqrt() * x + (1 - kept).sqrt() * noise
        return self.scaler.inverse(x)

    def _guided_velocity(
        self, x_t: Tensor, t: Tensor, label: Tensor | None, guidance: float
    ) -> Tensor:
        """v' pushed from what it is without the label towards what it is with it."""
        labelled = self._velocity(self.mean_network, x_t, t, label)
        if label is None or guidance == 1:
            return labelled
        without = self._velocity(self.mean_network, x_t, t, None)
        return without + guidance * (labelled - without)


def cosine_schedule(steps: int) -> Tensor:
    """alpha_bar, float32 [steps]: cos^2 of t / steps, no step taking more than 0.999 of the rest.

    Nichol and Dhariwal, arXiv:2102.09672, equation 17.
    """
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    f = torch.cos((t + 0.008) / 1.008 * (math.pi / 2)).square()
    kept = (f[1:] / f[:-1]).clamp(min=0.001)
    return kept.cumprod(0).float()
