"""Ways to train the same network: ours, a plain loop, the same compiled, and PyOD as shipped.

Each is built for rows [n, D], kind "Autoencoder" or "VAE" and a batch size, and gives a function
that trains for EPOCHS epochs more. All but PyOD take the same steps: Adam with one learning rate,
over standardised rows in random order, network D-64-32-16-32-64-D with relu.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Rows = npt.NDArray[np.float32]
Fit = Callable[[], object]
Error = Callable[[], float]
"""The mean reconstruction loss that was reached; NaN where there is none to compare."""

HIDDEN, LATENT, LR = (64, 32), 16, 1e-3
EPOCHS = 4
FLOOR = "the products alone"
ONE_ROW = "steps of one row"
MEASURES = (FLOOR, ONE_ROW)
"""What is timed to explain the others, and trains nothing of use."""


def vaelocity(rows: Rows, kind: str, batch: int) -> tuple[Fit, Error]:
    """`fit` of the package, which goes on where it stopped: checks and history included."""
    return _ours(rows, kind, batch, None)


def vaelocity_reference(rows: Rows, kind: str, batch: int) -> tuple[Fit, Error]:
    """The same with backend="reference": plain torch, with the noise of the contract."""
    return _ours(rows, kind, batch, "reference")


def _ours(rows: Rows, kind: str, batch: int, backend: str | None) -> tuple[Fit, Error]:
    from vaelocity import models

    model = getattr(models, kind)(rows.shape[1], latent=LATENT, hidden=HIDDEN)

    def fit() -> None:
        model.fit(rows, epochs=EPOCHS, batch_size=batch, lr=LR, progress=False, backend=backend)

    return fit, lambda: float(np.mean(model.score(rows)))


class Plain(nn.Module):
    """The network and the loss as one writes them."""

    def __init__(self, d: int, variational: bool) -> None:
        super().__init__()
        self.variational = variational
        widths = [d, *HIDDEN, LATENT * (2 if variational else 1)]
        self.encoder = _dense(widths)
        self.decoder = _dense([LATENT, *reversed(HIDDEN), d])

    def forward(self, x: Tensor) -> Tensor:
        """The mean loss of standardised rows."""
        z = self.encoder(x)
        if not self.variational:
            return (0.5 * (self.decoder(z) - x).square()).sum(1).mean()
        mu, logvar = z.chunk(2, 1)
        y = self.decoder(mu + torch.exp(0.5 * logvar) * torch.randn_like(mu))
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
        return ((0.5 * (y - x).square()).sum(1) + kl).mean()

    def error(self, x: Tensor) -> float:
        """The mean reconstruction loss at z = mu."""
        with torch.no_grad():
            z = self.encoder(x)[:, :LATENT]
            return float((0.5 * (self.decoder(z) - x).square()).sum(1).mean())


def _dense(widths: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def plain_loop(rows: Rows, kind: str, batch: int) -> tuple[Fit, Error]:
    """A loop in eager torch, as short as it can be: no history, no checks."""
    return _loop(rows, kind, batch, lambda step: step)


def compiled_loop(rows: Rows, kind: str, batch: int) -> tuple[Fit, Error]:
    """The same loop with its whole step given to torch.compile."""
    return _loop(rows, kind, batch, torch.compile)


def _loop(rows: Rows, kind: str, batch: int, wrap: Callable[[Any], Any]) -> tuple[Fit, Error]:
    torch.manual_seed(0)
    x = torch.from_numpy(rows)
    x = (x - x.mean(0)) / x.std(0)
    model = Plain(x.shape[1], kind == "VAE")
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)

    def step(part: Tensor) -> None:
        optimizer.zero_grad()
        model(part).backward()
        optimizer.step()

    step = wrap(step)

    def fit() -> None:
        for _ in range(EPOCHS):
            for index in torch.randperm(len(x)).tensor_split(-(-len(x) // batch)):
                step(x[index])

    return fit, lambda: model.error(x)


def products_alone(rows: Rows, kind: str, batch: int) -> tuple[Fit, Error]:
    """Nothing but the products of the layers and of their gradients, over and over on the same
    rows: what no loop of these steps that calls torch's products can be faster than."""
    torch.manual_seed(0)
    plain = Plain(rows.shape[1], kind == "VAE")
    layers = [
        layer
        for network in (plain.encoder, plain.decoder)
        for layer in network
        if isinstance(layer, nn.Linear)
    ]
    steps = -(-len(rows) // batch)
    n = -(-len(rows) // steps)
    inputs = [torch.randn(n, layer.in_features) for layer in layers]
    grads = [torch.randn(n, layer.out_features) for layer in layers]

    @torch.no_grad()
    def fit() -> None:
        for _ in range(EPOCHS * steps):
            for layer, x in zip(layers, inputs, strict=True):
                torch.addmm(layer.bias, x, layer.weight.t())
            for i, (layer, x, grad) in enumerate(zip(layers, inputs, grads, strict=True)):
                grad.t().mm(x)
                if i:
                    grad.mm(layer.weight)

    return fit, lambda: float("nan")


def steps_of_one_row(rows: Rows, kind: str, batch: int) -> tuple[Fit, Error]:
    """As many steps as the others take, by ours, of one row each: what calls cost, whatever their
    rows are."""
    steps = -(-len(rows) // batch)
    fit, _ = _ours(rows[:steps], kind, 1, None)
    return fit, lambda: float("nan")


def pyod(rows: Rows, kind: str, batch: int) -> tuple[Fit, Error]:
    """`fit` of PyOD as shipped, anew each time, with its own network of the same widths."""
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.vae import VAE

    common: dict[str, Any] = {"lr": LR, "epoch_num": EPOCHS, "batch_size": batch, "verbose": 0}
    if kind == "VAE":
        hidden = list(HIDDEN)
        model = VAE(
            encoder_neuron_list=hidden, decoder_neuron_list=hidden[::-1], latent_dim=LATENT,
            **common,
        )  # fmt: skip
    else:
        model = AutoEncoder(hidden_neuron_list=[*HIDDEN, LATENT], **common)

    def fit() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            model.fit(rows)

    return fit, lambda: float("nan")


CONTENDERS: dict[str, Callable[[Rows, str, int], tuple[Fit, Error]]] = {
    "vaelocity": vaelocity,
    "vaelocity, reference": vaelocity_reference,
    "torch eager loop": plain_loop,
    "torch.compile loop": compiled_loop,
    "pyod": pyod,
    FLOOR: products_alone,
    ONE_ROW: steps_of_one_row,
}
