"""From the chains of a graph to the steps of a .vael file: encoder, latent space, decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vaelocity.importing.chain import Chain
from vaelocity.importing.folding import Layer, Sum, folded, unit
from vaelocity.importing.operations import Dense, Float64, Operation


@dataclass(frozen=True)
class Network:
    """Layers from features to features; latent_kind as in the file: point, gaussian."""

    encoder: tuple[Layer, ...]
    decoder: tuple[Layer, ...]
    latent_kind: str
    latent: int
    n_features: int


def autoencoder(y: Chain, n_features: int) -> Network:
    """The network of a reconstruction alone; its latent space is its narrowest layer, of those that
    no skip connection goes around.

    Raises ValueError where y is not [n, n_features] or has fewer than two layers.
    """
    _check_width(y, n_features)
    layers = folded(y.operations, n_features)
    if len(layers) < 2:
        raise ValueError(f"module: expected at least two layers, got {len(layers)}")
    places = [at for at in range(1, len(layers)) if not _around(layers, at)]
    if not places:
        raise ValueError("module: skip connections go around every layer, there is no latent space")
    at = min(places, key=lambda place: layers[place - 1].width)
    decoder = [_moved(layer, at) for layer in layers[at:]]
    latent = layers[at - 1].width
    return Network(tuple(layers[:at]), tuple(decoder), "point", latent, n_features)


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
    decoder = folded(y.operations[start:], mu.width, start)
    if not decoder:
        raise ValueError("outputs: the reconstruction is mu itself, there is no decoder")
    encoder = _joined(mu, logvar, n_features)
    return Network(tuple(encoder), tuple(decoder), "gaussian", mu.width, n_features)


def _check_width(y: Chain, n_features: int) -> None:
    if y.width != n_features:
        raise ValueError(
            f"outputs: expected a reconstruction [n, {n_features}], got one [n, {y.width}]"
        )


def _around(layers: Sequence[Layer], at: int) -> bool:
    """Whether a layer from `at` on adds what was there before the layer at - 1 was done."""
    return any(isinstance(each.body, Sum) and each.body.source < at - 1 for each in layers[at:])


def _moved(layer: Layer, at: int) -> Layer:
    """A layer of a part that begins with the layer `at`."""
    if isinstance(layer.body, Sum):
        return replace(layer, body=replace(layer.body, source=layer.body.source - at))
    return layer


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
    shared = folded(mu.operations[:n], n_features)
    width = shared[-1].width if shared else n_features
    branches = [_branch(each.operations[n:], width, n) for each in (mu, logvar)]
    depth = max(1, *map(len, branches))
    for branch in branches:
        while len(branch) < depth:
            branch.append((unit(branch[-1][0].width if branch else width), "identity", 0.01))
    joined = list(shared)
    for i, ((a, *mine), (b, *other)) in enumerate(zip(*branches, strict=True)):
        if mine != other:
            raise ValueError(
                f"mu, logvar: layer {i} of their own has the activations {mine[0]} and "
                f"{other[0]}, expected one"
            )
        weight = np.concatenate([a.weight, b.weight]) if i == 0 else _blocks(a.weight, b.weight)
        body = Dense(weight, np.concatenate([a.bias, b.bias]))
        joined.append(Layer(body, mine[0], mine[1]))
    return joined


def _branch(
    operations: Sequence[Operation], width: int, first: int
) -> list[tuple[Dense, str, float]]:
    """The layers that mu or logvar has for itself: dense ones, and their activations."""
    found = []
    for layer in folded(operations, width, first):
        if not isinstance(layer.body, Dense):
            raise ValueError(f"mu, logvar: expected dense layers of their own, got {layer.body.op}")
        found.append((layer.body, layer.activation, layer.slope))
    return found


def _blocks(a: Float64, b: Float64) -> Float64:
    """[[a, 0], [0, b]]."""
    whole = np.zeros((len(a) + len(b), a.shape[1] + b.shape[1]))
    whole[: len(a), : a.shape[1]] = a
    whole[len(a) :, a.shape[1] :] = b
    return whole
