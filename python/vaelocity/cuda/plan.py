"""A bundle as the GPU kernels read it: layers in padded blocks, every parameter in one of three
arrays. NumPy only.

kernels/score.py and kernels/score_wide.py take the same plan with blocks of other sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.bundle import BundleError
from vaelocity.steps import ACTIVATIONS, require_dense, require_plain
from vaelocity.structure import GAUSSIAN_KINDS, POINT_KINDS

Floats = npt.NDArray[np.float32]

_NEEDS_LOGVAR = ("kl", "rz", "elbo")
_NEEDS_DECODER = ("reconstruction", "elbo")
LEAST_BLOCK = 16  # tl.dot takes no fewer


@dataclass(frozen=True)
class Dense:
    """One layer as the bundle has it. weight: [out, in], bias: [out]."""

    weight: Floats
    bias: Floats
    activation: str
    slope: float


@dataclass(frozen=True)
class Network:
    """What a kind of score computes; what it does not use is left out.

    layers: encoder up to mu, logvar if the kind needs it, decoder if the kind needs it.
    """

    kind: str
    beta: float
    mean: Floats
    inverse_scale: Floats
    layers: tuple[Dense, ...]
    n_encoder: int
    has_logvar: bool

    @property
    def n_features(self) -> int:
        """Columns of a row."""
        return len(self.mean)

    @property
    def widths(self) -> tuple[int, ...]:
        """Features, then the width of every layer in `layers`."""
        return (self.n_features, *(len(layer.bias) for layer in self.layers))

    @property
    def flop(self) -> int:
        """Multiplications and additions of the layers' products, for a row."""
        return sum(2 * layer.weight.size for layer in self.layers)


def network(
    metadata: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]], kind: str | None = None
) -> Network:
    """The network of a bundle that `read_bundle` has verified.

    Raises BundleError where the bundle has no score of that kind, or steps other than dense.
    """
    require_plain(metadata, "the fused kernel of a GPU")
    require_dense(metadata, "the fused kernel of a GPU")
    gaussian = metadata["latent"]["kind"] == "gaussian"
    kind = kind or metadata["score"]["kind"]
    if kind not in GAUSSIAN_KINDS:
        raise BundleError(f'score: unknown kind "{kind}"')
    if kind not in (GAUSSIAN_KINDS if gaussian else POINT_KINDS):
        raise BundleError(f'score: kind "{kind}" needs a gaussian latent, and this one is a point')
    encoder, decoder = (
        [_dense(step, tensors) for step in metadata[part]] for part in ("encoder", "decoder")
    )
    size = metadata["latent"]["size"]
    has_logvar = kind in _NEEDS_LOGVAR
    last = encoder.pop()
    latent = [_rows(last, 0, size)] + ([_rows(last, size, 2 * size)] if has_logvar else [])
    step = metadata["preprocess"][-1]
    return Network(
        kind=kind,
        beta=float(metadata["score"].get("beta", 1.0)),
        mean=tensors[step["mean"]],
        inverse_scale=np.reciprocal(tensors[step["scale"]]),
        layers=(*encoder, *latent, *(decoder if kind in _NEEDS_DECODER else ())),
        n_encoder=len(encoder) + 1,
        has_logvar=has_logvar,
    )


def _dense(step: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> Dense:
    activation = step.get("activation", "identity")
    slope = float(step.get("slope", 0.01))
    return Dense(tensors[step["weight"]], tensors[step["bias"]], activation, slope)


def _rows(layer: Dense, start: int, stop: int) -> Dense:
    return Dense(layer.weight[start:stop], layer.bias[start:stop], layer.activation, layer.slope)


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
    scaling   float32, mean and inverse scale, each padded to whole blocks of features
    """

    network: Network
    layers: tuple[tuple[int | float, ...], ...]
    weights: Floats
    biases: Floats
    scaling: Floats

    @property
    def kind_code(self) -> int:
        """KIND of the kernels."""
        return GAUSSIAN_KINDS.index(self.network.kind)

    @property
    def padded_features(self) -> int:
        """Features in whole blocks: what READ_PADDING may touch of a row."""
        return len(self.scaling) // 2


def plan(network: Network, blocks: Blocks, resident: Sequence[bool] | None = None) -> Plan:
    """Cuts the layers into blocks and packs them.

    resident: for every layer whether its weights stay on chip; None: all of them.
    """
    layers: list[tuple[int | float, ...]] = []
    weights: list[Floats] = []
    biases: list[Floats] = []
    at = bias_at = 0
    stay = [True] * len(network.layers) if resident is None else list(resident)
    for layer, resides in zip(network.layers, stay, strict=True):
        out, width = layer.weight.shape
        k_block, k_blocks = blocks.cut(width, blocks.inputs)
        n_block, n_blocks = blocks.cut(out, blocks.outputs)
        code = ACTIVATIONS.index(layer.activation)
        shape = (k_block, k_blocks, n_block, n_blocks, out)
        layers.append((*shape, at, bias_at, code, layer.slope, int(resides)))
        weights.append(_blocked(layer.weight, k_block, k_blocks, n_block, n_blocks))
        biases.append(_padded(layer.bias, n_block * n_blocks))
        at += weights[-1].size
        bias_at += biases[-1].size
    features = int(layers[0][0] * layers[0][1])
    # The last layer's blocks may be wider than the first one's: both index the features.
    if network.kind in _NEEDS_DECODER:
        features = max(features, int(layers[-1][2] * layers[-1][3]))
    scaling = [_padded(network.mean, features), _padded(network.inverse_scale, features)]
    return Plan(
        network,
        tuple(layers),
        np.concatenate(weights),
        np.concatenate(biases),
        np.concatenate(scaling),
    )


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
