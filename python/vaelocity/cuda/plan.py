"""A bundle as the GPU kernels read it: layers in padded blocks, every parameter in one of three
arrays. NumPy only.

kernels/score.py and kernels/score_wide.py take the same plan with blocks of other sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.bundle import BundleError
from vaelocity.cuda.columns import Columns, Floats, Loss, columns, loss
from vaelocity.steps import ACTIVATIONS
from vaelocity.structure import KINDS, SCORES

_NEEDS_LOGVAR = ("kl", "rz", "elbo")
NEEDS_DECODER = ("reconstruction", "elbo", "latent_reconstruction")
LEAST_BLOCK = 16  # tl.dot takes no fewer


@dataclass(frozen=True)
class Bound:
    """A step `bound` behind a layer. bound, center: [out]."""

    bound: Floats
    center: Floats
    activation: str
    slope: float


@dataclass(frozen=True)
class Dense:
    """One layer as the bundle has it, and the bound of its output. weight: [out, in], bias:
    [out]."""

    weight: Floats
    bias: Floats
    activation: str
    slope: float
    bound: Bound | None = None


@dataclass(frozen=True)
class Network:
    """What a kind of score computes; what it does not use is left out.

    layers: encoder up to mu, logvar if the kind needs it, decoder if the kind needs it.
    """

    kind: str
    beta: float
    columns: Columns
    loss: Loss
    layers: tuple[Dense, ...]
    n_encoder: int
    has_logvar: bool

    @property
    def n_features(self) -> int:
        """Columns of a row."""
        return self.columns.n_features

    @property
    def widths(self) -> tuple[int, ...]:
        """Features, then the width of every layer in `layers`."""
        return (self.n_features, *(len(layer.bias) for layer in self.layers))

    @property
    def plain(self) -> bool:
        """Is it dense layers, standardised features and the squared error, and nothing else?"""
        bounded = any(layer.bound for layer in self.layers)
        return self.columns.only_standardized and self.loss == Loss() and not bounded

    @property
    def flop(self) -> int:
        """Multiplications and additions of the layers' products, for a row."""
        return sum(2 * layer.weight.size for layer in self.layers)


def network(
    metadata: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]], kind: str | None = None
) -> Network:
    """The network of a bundle that `read_bundle` has verified.

    Raises BundleError where the bundle has no score of that kind, or steps that are not `fusible`.
    """
    _check_fusible(metadata)
    kind = kind or metadata["score"]["kind"]
    _check_kind(metadata, kind)
    encoder, decoder = (_layers(metadata[part], tensors) for part in ("encoder", "decoder"))
    size = metadata["latent"]["size"]
    has_logvar = kind in _NEEDS_LOGVAR
    last = encoder.pop()
    latent = [_rows(last, 0, size)] + ([_rows(last, size, 2 * size)] if has_logvar else [])
    return Network(
        kind=kind,
        beta=float(metadata["score"].get("beta", 1.0)),
        columns=columns(metadata, tensors),
        loss=loss(metadata),
        layers=(*encoder, *latent, *(decoder if kind in NEEDS_DECODER else ())),
        n_encoder=len(encoder) + 1,
        has_logvar=has_logvar,
    )


def fusible(metadata: Mapping[str, Any]) -> bool:
    """Can one kernel hold the network: dense steps, each followed by at most one `bound`?"""
    return _first_other_step(metadata) is None


def _first_other_step(metadata: Mapping[str, Any]) -> str | None:
    for part in ("encoder", "decoder"):
        before = ""
        for i, step in enumerate(metadata[part]):
            if step["op"] != "dense" and not (step["op"] == "bound" and before == "dense"):
                return f"{part}.{i} is {step['op']}"
            before = step["op"]
    return None


def _check_fusible(metadata: Mapping[str, Any]) -> None:
    found = _first_other_step(metadata)
    if found is not None:
        raise BundleError(
            "the fused kernel of a GPU takes dense steps only, each with one bound behind it at "
            f"most, and {found}"
        )


def _check_kind(metadata: Mapping[str, Any], kind: str) -> None:
    latent = metadata["latent"]["kind"]
    if kind not in KINDS[latent]:
        known = ", ".join(KINDS[latent])
        raise BundleError(f'score: kind "{kind}" is none of a latent {latent}: expected {known}')


def _layers(
    steps: Sequence[Mapping[str, Any]], tensors: Mapping[str, npt.NDArray[Any]]
) -> list[Dense]:
    layers: list[Dense] = []
    for step in steps:
        weight, bias = tensors[step["weight"]], tensors[step["bias"]]
        more = (step.get("activation", "identity"), float(step.get("slope", 0.01)))
        if step["op"] == "bound":
            layers[-1] = replace(layers[-1], bound=Bound(weight, bias, *more))
        else:
            layers.append(Dense(weight, bias, *more))
    return layers


def _rows(layer: Dense, start: int, stop: int) -> Dense:
    """The layer's outputs start .. stop."""
    bound = layer.bound
    if bound is not None:
        bound = replace(bound, bound=bound.bound[start:stop], center=bound.center[start:stop])
    weight, bias = layer.weight[start:stop], layer.bias[start:stop]
    return replace(layer, weight=weight, bias=bias, bound=bound)


@dataclass(frozen=True)
class Blocks:
    """Widths are cut into blocks: `inputs` wide as a layer's inputs, `outputs` as its outputs,
    narrower ones padded to the next power of two (at least 16)."""

    inputs: int
    outputs: int

    def cut(self, width: int, most: int) -> tuple[int, int]:
        """(width of a block, number of blocks)."""
        block = min(max(LEAST_BLOCK, 1 << (width - 1).bit_length()), most)
        return block, -(-width // block)


@dataclass(frozen=True)
class Plan:
    """The arguments of a kernel that come from the model.

    layers    LAYERS of kernels/score.py
    weights   float32, every layer's blocks [N_BLOCKS][K_BLOCKS][N_BLOCK][K_BLOCK]
    biases    float32, every layer's [N_BLOCKS * N_BLOCK]
    scaling   float32, the rows of `Columns`, each padded to whole blocks of features; behind them
              the bounds and centers of layers that have them, each [N_BLOCKS * N_BLOCK]
    padded_features   features in whole blocks: what READ_PADDING may touch of a row
    """

    network: Network
    layers: tuple[tuple[int | float, ...], ...]
    weights: Floats
    biases: Floats
    scaling: Floats
    padded_features: int

    @property
    def kind_code(self) -> int:
        """KIND of the kernels."""
        return SCORES.index(self.network.kind)


def plan(network: Network, blocks: Blocks, resident: Sequence[bool] | None = None) -> Plan:
    """Cuts the layers into blocks and packs them.

    resident: for every layer whether its weights stay on chip; None: all of them.
    """
    features = _padded_features(network, blocks)
    scaling = [network.columns.padded(features).reshape(-1)]
    layers: list[tuple[int | float, ...]] = []
    weights: list[Floats] = []
    biases: list[Floats] = []
    at = bias_at = 0
    bound_at = scaling[0].size
    stay = [True] * len(network.layers) if resident is None else list(resident)
    for layer, resides in zip(network.layers, stay, strict=True):
        out, width = layer.weight.shape
        k_block, k_blocks = blocks.cut(width, blocks.inputs)
        n_block, n_blocks = blocks.cut(out, blocks.outputs)
        code = ACTIVATIONS.index(layer.activation)
        shape = (k_block, k_blocks, n_block, n_blocks, out)
        bound: tuple[int, int, float] = (0, 0, 0.0)
        if layer.bound is not None:
            limits = layer.bound
            bound = (bound_at, ACTIVATIONS.index(limits.activation), limits.slope)
            scaling += [_padded(v, n_block * n_blocks) for v in (limits.bound, limits.center)]
            bound_at += 2 * n_block * n_blocks
        layers.append((*shape, at, bias_at, code, layer.slope, int(resides), *bound))
        weights.append(_blocked(layer.weight, k_block, k_blocks, n_block, n_blocks))
        biases.append(_padded(layer.bias, n_block * n_blocks))
        at += weights[-1].size
        bias_at += biases[-1].size
    return Plan(
        network,
        tuple(layers),
        np.concatenate(weights),
        np.concatenate(biases),
        np.concatenate(scaling),
        features,
    )


def _padded_features(network: Network, blocks: Blocks) -> int:
    width = network.n_features
    cuts = [blocks.cut(width, blocks.inputs)]
    # The last layer's blocks may be wider than the first one's: both index the features.
    if network.kind in ("reconstruction", "elbo"):
        cuts.append(blocks.cut(width, blocks.outputs))
    return max(block * n for block, n in cuts)


def _padded(values: Floats, width: int) -> Floats:
    return np.pad(values, (0, width - len(values)))


def _blocked(weight: Floats, k_block: int, k_blocks: int, n_block: int, n_blocks: int) -> Floats:
    """[out, in] as [N_BLOCKS][K_BLOCKS][N_BLOCK][K_BLOCK], flat."""
    out, width = weight.shape
    padded = np.pad(weight, ((0, n_block * n_blocks - out), (0, k_block * k_blocks - width)))
    split = padded.reshape(n_blocks, n_block, k_blocks, k_block)
    return np.ascontiguousarray(split.transpose(0, 2, 1, 3)).reshape(-1)


def check_chain(layers: Sequence[Sequence[int | float]]) -> None:
    """Blocks of one layer's outputs are the next one's inputs (kernels/score.py needs it)."""
    for before, after in pairwise(layers):
        if (before[2], before[3]) != (after[0], after[1]):
            raise ValueError(f"layers: blocks {before[2:4]} do not feed blocks {after[:2]}")
