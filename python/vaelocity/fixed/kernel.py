"""A fixed-point network as the compiled kernel takes it, and whether its 64-bit integers do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vaelocity import _core
from vaelocity.fixed.format import Format
from vaelocity.fixed.interval import Interval

if TYPE_CHECKING:
    from vaelocity.fixed.network import FixedLayer, FixedNetwork

__all__ = ["check_value", "check_widths", "pack"]

_MANTISSA = 53
"""Bits of an integer that a float64 score holds exactly."""


class _Sum(NamedTuple):
    """How the kernel adds up a layer: csrc/src/fixed/fixed.h."""

    product_fraction: int
    at_once: bool
    wraps: bool
    chunk: int


def pack(network: FixedNetwork, isa: str = "") -> _core.FixedNetwork:
    """The kernel's form of a network. isa: instruction set; default: the best available.

    Raises ValueError as `check_widths` does.
    """
    check_widths(network)
    squared = network.squared_fraction
    return _core.FixedNetwork(
        network.mean,
        network.inverse_scale,
        _tuple(network.input_format),
        [_packed(layer, plan) for layer, plan in _sums(network)],
        network.kind == "reconstruction",
        squared - network.input_format.fraction if network.kind == "reconstruction" else 0,
        squared - network.layers[-1].result_format.fraction,
        _tuple(network.score_format),
        2 * squared,
        network.score_format.fraction >= 2 * squared
        and _once(network.score_format, network.intervals[-1]),
        isa,
    )


def check_widths(network: FixedNetwork) -> None:
    """ValueError where a value of the network does not fit into the kernel's integers."""
    previous = network.input_format
    for layer, plan in _sums(network):
        name, sums, result = layer.name, layer.sum_format, layer.result_format
        check_value(f"{name} weights", layer.weight_format)
        check_value(f"{name} values", result)
        common = max(sums.fraction, plan.product_fraction)
        product_bits = layer.weight_format.width + previous.width + common - plan.product_fraction
        if plan.at_once:
            _room(f"{name} sum", common - plan.product_fraction)
        else:
            _room(f"{name} sum", max(sums.width + common - sums.fraction, product_bits) + 1)
        _room(f"{name} values", sums.width + max(0, result.fraction - sums.fraction))
        _room(f"{name} values", sums.fraction - result.fraction)
        previous = result
    _check_score(network, previous)


def _check_score(network: FixedNetwork, last: Format) -> None:
    score, squared = network.score_format, network.squared_fraction
    if score.width > _MANTISSA:
        raise ValueError(f"score: expected at most {_MANTISSA} bits, got {score}")
    bits = last.width + squared - last.fraction
    if network.kind == "reconstruction":
        bits = max(bits, network.input_format.width + squared - network.input_format.fraction) + 1
    common = max(score.fraction, 2 * squared)
    square_bits = 2 * bits + common - 2 * squared
    _room("score", max(score.width + common - score.fraction, square_bits) + 1)


def check_value(name: str, format: Format) -> None:
    """ValueError where a format does not fit into the kernel's int32 values."""
    if format.width > 31 + format.signed:
        raise ValueError(f"{name}: expected at most {31 + format.signed} bits, got {format}")


def _room(name: str, bits: int) -> None:
    if bits > 62:
        raise ValueError(f"{name}: expected at most 62 bits on the way, these formats need {bits}")


def _sums(network: FixedNetwork) -> Iterator[tuple[FixedLayer, _Sum]]:
    fraction = network.input_format.fraction
    for layer, interval in zip(network.layers, network.intervals[::2], strict=False):
        product = layer.weight_format.fraction + fraction
        # Wrap-arounds undo each other, and a sum that stays inside saturates nowhere: then nothing
        # but the end matters, if nothing is rounded on the way.
        at_once = layer.sum_format.fraction >= product and _once(layer.sum_format, interval)
        yield layer, _Sum(product, at_once, at_once and interval.overflows, interval.chunk)
        fraction = layer.result_format.fraction


def _once(format: Format, interval: Interval) -> bool:
    return format.overflow == "WRAP" or not interval.overflows


def _packed(layer: FixedLayer, plan: _Sum) -> _core.FixedLayer:
    return (
        layer.weight.astype(np.int32),
        layer.bias.astype(np.int64),
        _tuple(layer.sum_format),
        *plan,
        layer.activation == "relu",
        _tuple(layer.result_format),
    )


def _tuple(format: Format) -> _core.FixedFormat:
    return (
        format.width,
        format.fraction,
        format.signed,
        format.rounding == "RND_CONV",
        format.overflow == "SAT",
    )
