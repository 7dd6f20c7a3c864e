"""A fixed-point network in Python integers, step by step as the definition has it; slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vaelocity.fixed.format import Integers

if TYPE_CHECKING:
    from vaelocity.fixed.network import FixedLayer, FixedNetwork

__all__ = ["reference"]


def reference(
    network: FixedNetwork, rows: npt.NDArray[np.float32]
) -> tuple[Integers, npt.NDArray[np.float64]]:
    """(values of the last layer in steps [n, out], scores [n]) of finite rows [n, d].

    What `FixedNetwork.run` computes, which it must equal bit for bit.
    """
    scaled = (rows - network.mean) * network.inverse_scale
    x = network.input_format.quantise(scaled)
    y, fraction = x, network.input_format.fraction
    for layer in network.layers:
        y = _dense(layer, y, fraction)
        fraction = layer.result_format.fraction
    format, squared = network.score_format, network.squared_fraction
    d = y << (squared - fraction)
    if network.kind == "reconstruction":
        d = d - (x << (squared - network.input_format.fraction))
    common = max(format.fraction, 2 * squared)
    total = np.array([0] * len(rows), object)
    for column in d.T:
        square = (column * column) << (common - 2 * squared)
        total = format.assign((total << (common - format.fraction)) + square, common)
    half = 0.5 if network.kind == "reconstruction" else 1.0
    return y, total.astype(np.float64) * (half * format.step)


def _dense(layer: FixedLayer, x: Integers, fraction: int) -> Integers:
    format = layer.sum_format
    product = layer.weight_format.fraction + fraction
    common = max(format.fraction, product)
    total = np.array([list(layer.bias)] * len(x), object)
    for k in range(x.shape[1]):
        products = x[:, k, None] * layer.weight[:, k] << (common - product)
        total = format.assign((total << (common - format.fraction)) + products, common)
    if layer.activation == "relu":
        total = np.maximum(total, 0)
    return layer.result_format.assign(total, format.fraction)
