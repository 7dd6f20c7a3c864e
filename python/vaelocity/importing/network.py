"""From the chains of a graph to the steps of a .vael file: encoder, latent space, decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vaelocity.importing.chain import Activation, Affine, Chain, Dense, Operation

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Layer:
    """activation(x weight^T + bias), as a file holds it."""

    weight: Float64
    bias: Float64
    activation: str = "identity"
    slope: float = 0.01


@dataclass(frozen=True)
class Network:
    """Dense layers from features to features; latent_kind as in the file: point, gaussian."""

    encoder: tuple[Layer, ...]
    decoder: tuple[Layer, ...]
    latent_kind: str
    latent: int

    @property
    def n_features(self) -> int:
        """Columns of a row."""
        return int(self.encoder[0].weight.shape[1])


def autoencoder(y: Chain, n_features: int) -> Network:
    """The network of a reconstruction alone; its latent space is its narrowest layer.

    Raises ValueError where y is not [n, n_features] or has fewer than two layers.
    """
    _check_width(y, n_features)
    layers = _layers(y.operations, n_features)
    if len(layers) < 2:
        raise ValueError(f"module: expected at least two dense layers, got {len(layers)}")
    inner = [len(layer.weight) for layer in layers[:-1]]
    at = inner.index(min(inner)) + 1
    return Network(tuple(layers[:at]), tuple(layers[at:]), "point", inner[at - 1])


def vae(y: Chain, mu: Chain, logvar: Chain, n_features: int) -> Network:
    """The network of a VAE whose decoder starts at mu.

    Raises ValueError where mu and logvar differ in width, y is not computed from mu, or one has no
    layers of its own.
    """
    _check_width(y, n_features)
    if mu.width != logvar.width:
        raise ValueError(f"mu, logvar: expected one width, got {mu.width} and {logvar.width}")
    start = len(mu.operations)
    if _shared(y, mu) != start:
        raise ValueError("outputs: the reconstruction is not computed from mu")
    decoder = _layers(y.operations[start:], mu.width)
    if not decoder:
        raise ValueError("outputs: the reconstruction is mu itself, there is no decoder")
    encoder = _joined(mu, logvar, n_features)
    return Network(tuple(encoder), tuple(decoder), "gaussian", mu.width)


def _check_width(y: Chain, n_features: int) -> None:
    if y.width != n_features:
        raise ValueError(
            f"outputs: expected a reconstruction [n, {n_features}], got one [n, {y.width}]"
        )


def _shared(a: Chain, b: Chain) -> int:
    """Operations that two chains begin with."""
    n = 0
    for mine, other in zip(a.operations, b.operations, strict=False):
        if mine is not other:
            break
        n += 1
    return n


def _joined(mu: Chain, logvar: Chain, n_features: int) -> list[Layer]:
    """Layers to [mu, logvar] side by side: the shared ones, then the two branches in blocks."""
    n = _shared(mu, logvar)
    shared = _layers(mu.operations[:n], n_features)
    width = len(shared[-1].weight) if shared else n_features
    branches = [_layers(each.operations[n:], width) for each in (mu, logvar)]
    depth = max(map(len, branches))
    for branch in branches:
        while len(branch) < depth or not branch:
            branch.append(_identity(len(branch[-1].weight) if branch else width))
    joined = list(shared)
    for i, (a, b) in enumerate(zip(*branches, strict=True)):
        if (a.activation, a.slope) != (b.activation, b.slope):
            raise ValueError(
                f"mu, logvar: layer {i} of their own has the activations {a.activation} and "
                f"{b.activation}, expected one"
            )
        weight = np.concatenate([a.weight, b.weight]) if i == 0 else _blocks(a.weight, b.weight)
        joined.append(Layer(weight, np.concatenate([a.bias, b.bias]), a.activation, a.slope))
    return joined


def _blocks(a: Float64, b: Float64) -> Float64:
    """[[a, 0], [0, b]]."""
    whole = np.zeros((len(a) + len(b), a.shape[1] + b.shape[1]))
    whole[: len(a), : a.shape[1]] = a
    whole[len(a) :, a.shape[1] :] = b
    return whole


def _layers(operations: Sequence[Operation], width: int) -> list[Layer]:
    """Operations as layers: what is linear in a row is folded together, in float64."""
    layers: list[Layer] = []
    linear: Dense | None = None
    for operation in operations:
        if isinstance(operation, Activation):
            base = linear or _unit(width)
            width = len(base.weight)
            layers.append(Layer(base.weight, base.bias, operation.name, operation.slope))
            linear = None
        elif isinstance(operation, Affine):
            base = linear or _unit(width)
            weight = operation.scale[:, None] * base.weight
            linear = Dense(weight, operation.scale * base.bias + operation.shift)
        elif linear is None:
            linear = operation
        elif _is_narrow(linear):
            # Two real layers stay two: their product would be larger where the latent space is
            # the narrow place between them.
            layers.append(Layer(linear.weight, linear.bias))
            width, linear = len(linear.weight), operation
        else:
            bias = operation.weight @ linear.bias + operation.bias
            linear = Dense(operation.weight @ linear.weight, bias)
    if linear is not None:
        layers.append(Layer(linear.weight, linear.bias))
    return layers


def _is_narrow(dense: Dense) -> bool:
    """A layer that is more than a constant for every column: not diagonal."""
    square = dense.weight.shape[0] == dense.weight.shape[1]
    return not square or bool(np.count_nonzero(dense.weight - np.diag(np.diag(dense.weight))))


def _unit(width: int) -> Dense:
    return Dense(np.eye(width), np.zeros(width))


def _identity(width: int) -> Layer:
    unit = _unit(width)
    return Layer(unit.weight, unit.bias)
