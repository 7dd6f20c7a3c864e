"""Interval arithmetic over a fixed-point network: what every sum can become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vaelocity.fixed.format import Format, Integers

if TYPE_CHECKING:
    from vaelocity.fixed.network import FixedLayer, FixedNetwork

__all__ = ["Box", "Interval", "after_layer", "after_squares", "analyse"]


class Box(NamedTuple):
    """Smallest and largest of every value, in steps: [values] each."""

    low: Integers
    high: Integers


@dataclass(frozen=True)
class Interval:
    """Before any overflow, in steps of `format`: of a sum that saturates after every addition, else
    of the whole one, since intermediate wrap-arounds undo each other.

    chunk: of a layer, how many products one after another, from a multiple of it on, sum to less
        than 2^31 in magnitude, in steps of a product; 0 where one may not.
    """

    name: str
    format: Format
    low: int
    high: int
    chunk: int = 0

    @property
    def overflows(self) -> bool:
        """Whether some input makes it wrap around, or saturate."""
        return not self.format.holds(self.low, self.high)

    @property
    def integer(self) -> int:
        """Integer bits with which the same fraction would hold all of it, a sign included where the
        format is signed or a value is negative."""
        bits = max(self.high.bit_length(), (~self.low).bit_length() if self.low < 0 else 0)
        return bits + (self.format.signed or self.low < 0) - self.format.fraction

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest value, as numbers."""
        return self.low * self.format.step, self.high * self.format.step


def analyse(network: FixedNetwork, box: Box | None = None) -> tuple[Interval, ...]:
    """Intervals of each layer's sum and values ("encoder.0 sum", "encoder.0") and of "score".

    Args:
        network: what to look at.
        box: of the features in steps of `input_format`; default: all that the format holds.

    An interval is what interval arithmetic can prove: no input goes beyond it, and where features
    or layers depend on each other none may reach it.
    """
    features = box or full(network.input_format, len(network.mean))
    here, fraction = features, network.input_format.fraction
    found: list[Interval] = []
    for layer in network.layers:
        total, values, here = after_layer(layer, here, fraction)
        found += [total, values]
        fraction = layer.result_format.fraction
    return (*found, after_squares(network, features, here))


def full(format: Format, n: int) -> Box:
    """All that n values of a format can be."""
    return Box(_fill(n, format.lowest), _fill(n, format.highest))


def after_layer(layer: FixedLayer, x: Box, fraction: int) -> tuple[Interval, Interval, Box]:
    """The layer's sum, its values, and the box of these; `fraction` is that of x."""
    product_fraction = layer.weight_format.fraction + fraction
    ends = layer.weight * x.low, layer.weight * x.high
    lows, highs = np.minimum(*ends), np.maximum(*ends)
    total, sums = _added(
        f"{layer.name} sum", Box(layer.bias, layer.bias), lows.T, highs.T, product_fraction,
        layer.sum_format, _chunk(np.maximum(abs(lows), abs(highs))),
    )  # fmt: skip
    if layer.activation == "relu":
        sums = Box(np.maximum(sums.low, 0), np.maximum(sums.high, 0))
    result, sum_fraction = layer.result_format, layer.sum_format.fraction
    wide = Box(result.rounded(sums.low, sum_fraction), result.rounded(sums.high, sum_fraction))
    values = Interval(layer.name, result, min(wide.low), max(wide.high))
    return total, values, _folded(wide, result)


def after_squares(network: FixedNetwork, x: Box, y: Box) -> Interval:
    """The sum of squares that is the score, or twice it for a reconstruction."""
    fraction = network.squared_fraction
    low, high = (end << (fraction - network.layers[-1].result_format.fraction) for end in y)
    if network.kind == "reconstruction":
        shift = fraction - network.input_format.fraction
        low, high = low - (x.high << shift), high - (x.low << shift)
    squares = low * low, high * high
    nearest = np.where((low <= 0) & (high >= 0), 0, np.minimum(*squares))
    nothing = _fill(1, 0)
    return _added(
        "score", Box(nothing, nothing), nearest[:, None], np.maximum(*squares)[:, None],
        2 * fraction, network.score_format, 0,
    )[0]  # fmt: skip


def _added(
    name: str,
    start: Box,
    lows: Integers,
    highs: Integers,
    fraction: int,
    format: Format,
    chunk: int,
) -> tuple[Interval, Box]:
    """start [n], then lows and highs [k, n] added to it one after the other.

    Every step is monotone, saturation included, so that the ends give the ends. A wrap-around
    leaves out a multiple of 2^width steps, which no later rounding sees: it is taken at the end.
    """
    common = max(fraction, format.fraction)
    sum_shift, shift = common - format.fraction, common - fraction
    here, lowest, highest = start, min(start.low), max(start.high)
    for low, high in zip(lows, highs, strict=True):
        ends = ((here.low, low), (here.high, high))
        here = Box(*(format.rounded((a << sum_shift) + (b << shift), common) for a, b in ends))
        if format.overflow == "SAT":
            lowest, highest = min(lowest, *here.low), max(highest, *here.high)
            here = _folded(here, format)
    if format.overflow == "WRAP":
        lowest, highest = min(here.low), max(here.high)
    return Interval(name, format, lowest, highest, chunk), _folded(here, format)


def _chunk(magnitudes: Integers) -> int:
    """The first of all inputs, a half of them, a quarter, ..., that does."""
    chunk: int = magnitudes.shape[1]
    while True:
        starts = range(0, magnitudes.shape[1], chunk)
        sums = [magnitudes[:, at : at + chunk].sum(axis=1) for at in starts]
        if max(map(max, sums)) < 2**31:
            return chunk
        if chunk == 1:
            return 0
        chunk = (chunk + 1) // 2


def _folded(box: Box, format: Format) -> Box:
    if format.overflow == "SAT":
        return Box(format.fitted(box.low), format.fitted(box.high))
    over = (box.low < format.lowest) | (box.high > format.highest)
    return Box(np.where(over, format.lowest, box.low), np.where(over, format.highest, box.high))


def _fill(n: int, value: int) -> Integers:
    return np.array([value] * n, object)


def box_of(values: Sequence[Integers] | Integers) -> Box:
    """The box around rows of features, in steps [n, d]."""
    rows = np.asarray(values, object)
    return Box(rows.min(axis=0), rows.max(axis=0))
