"""Training steps of dense networks without autograd's graph.

For a batch of some hundred rows building the graph and walking back through it is a large part of
the time (bench/results/*/fit.md, beside a plain loop). These steps take the same products in the
same order as autograd does, so that their numbers are its numbers, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vaelocity import ops
from vaelocity.models.base import StepWithoutGraph
from vaelocity.models.layers import LEAKY_RELU_SLOPE, Network, activated

_aten = torch.ops.aten

_GRADIENTS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "identity": lambda grad, h, y: grad,
    "relu": lambda grad, h, y: _aten.threshold_backward(grad, y, 0),
    "leaky_relu": lambda grad, h, y: _aten.leaky_relu_backward(grad, h, LEAKY_RELU_SLOPE, False),
    "tanh": lambda grad, h, y: _aten.tanh_backward(grad, y),
    "sigmoid": lambda grad, h, y: _aten.sigmoid_backward(grad, y),
    "elu": lambda grad, h, y: _aten.elu_backward(grad, 1, 1, 1, False, h),
    "silu": lambda grad, h, y: _aten.silu_backward(grad, h),
    "gelu": lambda grad, h, y: _aten.gelu_backward(grad, h),
}
"""Of an activation y of h, from the gradient of y: what autograd calls."""


class _Layers:
    """A network for one batch at a time: forward keeps what backward takes."""

    def __init__(self, network: Network) -> None:
        self._layers = [
            (layer.linear.weight, layer.linear.bias, layer.activation) for layer in network.dense()
        ]
        self._kept: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        """The network of x [n, n_in]."""
        self._kept.clear()
        for weight, bias, activation in self._layers:
            h = torch.addmm(bias, x, weight.t())
            y = activated(h, activation)
            self._kept.append((x, h, y))
            x = y
        return x

    def backward(self, grad: Tensor, of_input: bool) -> Tensor:
        """From the gradient of the result [n, n_out]: those of the parameters, in their .grad,
        and that of the input where it is wanted."""
        for i in reversed(range(len(self._layers))):
            weight, bias, activation = self._layers[i]
            x, h, y = self._kept[i]
            grad = _GRADIENTS[activation](grad, h, y)
            if weight.grad is None or bias.grad is None:
                weight.grad, bias.grad = grad.t().mm(x), grad.sum(0)
            else:
                torch.mm(grad.t(), x, out=weight.grad)
                torch.sum(grad, 0, out=bias.grad)
            if i or of_input:
                grad = grad.mm(weight)
        return grad


def autoencoder_step(encoder: Network, decoder: Network, backend: str | None) -> StepWithoutGraph:
    """Of 1/2 ||y - x||^2."""
    encode, decode = _Layers(encoder), _Layers(decoder)

    @torch.no_grad()
    def step(x: Tensor, gradient: Tensor, rng: ops.Rng) -> dict[str, Tensor]:
        y = decode.forward(encode.forward(x))
        loss, grad = _reconstruction(x, y, gradient, backend)
        encode.backward(decode.backward(grad, of_input=True), of_input=False)
        return {"loss": loss}

    return step


def vae_step(
    encoder: Network, decoder: Network, beta: float, backend: str | None
) -> StepWithoutGraph:
    """Of 1/2 ||y - x||^2 + beta * KL, y being decoded from a sample."""
    encode, decode = _Layers(encoder), _Layers(decoder)
    sample = ops.OPS["reparameterize_kl"].OP

    @torch.no_grad()
    def step(x: Tensor, gradient: Tensor, rng: ops.Rng) -> dict[str, Tensor]:
        mu, logvar = encode.forward(x).chunk(2, dim=1)
        draw = rng.draw(mu.numel())
        z, kl = ops.reparameterize_kl(mu, logvar, draw, backend=backend)
        reconstruction, grad = _reconstruction(x, decode.forward(z), gradient, backend)
        grad_z = decode.backward(grad, of_input=True)
        grads = sample.backward((grad_z, beta * gradient), (mu, logvar, draw), backend)
        encode.backward(torch.cat(grads[:2], dim=1), of_input=False)
        return {"loss": reconstruction + beta * kl, "reconstruction": reconstruction, "kl": kl}

    return step


def _reconstruction(
    x: Tensor, y: Tensor, gradient: Tensor, backend: str | None
) -> tuple[Tensor, Tensor]:
    """The squared error of rows [n, d], [n], and the gradient of sum(gradient * it) by y."""
    loss = ops.reconstruction_loss(x, y, backend=backend)
    args = (x, y, "squared_error", 1.0, None, None)
    grad = ops.OPS["reconstruction_loss"].OP.backward((gradient,), args, backend)[1]
    return loss, grad
