"""The dense network of a model file with a fixed-point type for every value."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity import _core, frozen
from vaelocity.fixed.format import Format, Integers
from vaelocity.fixed.interval import Box, Interval, after_layer, analyse, full
from vaelocity.fixed.kernel import check_value, check_widths, pack
from vaelocity.rows import layout_of
from vaelocity.scorer import load

__all__ = ["FixedLayer", "FixedNetwork", "quantise"]

Rows = npt.NDArray[np.float32]

_KINDS = ("reconstruction", "mu2")
_ACTIVATIONS = ("identity", "relu")
_WIDE = 62
"""Bits of the widest type."""


@dataclass(frozen=True, eq=False)
class FixedLayer:
    """result = activation(sum), sum = bias, then sum = sum + weight[k] x[k] for ascending k, each
    assigned to `sum_format`.

    weight [out, in] and bias [out] are in steps of their formats, the bias of `sum_format`.
    """

    name: str
    weight: Integers
    bias: Integers
    activation: str
    weight_format: Format
    sum_format: Format
    result_format: Format


@dataclass(frozen=True, eq=False)
class FixedNetwork:
    """A network of which every value has a fixed-point type; made by `quantise`.

    A row's features are (row - mean) * inverse_scale in float32, as for `vaelocity.load`, assigned
    to `input_format`. The score is 1/2 sum (y - x)^2 or, for mu2, sum y^2 of the last layer's
    values y, every square exact and the sum assigned to `score_format` after every addition.
    """

    feature_names: tuple[str, ...]
    mean: Rows
    inverse_scale: Rows
    input_format: Format
    layers: tuple[FixedLayer, ...]
    kind: str
    score_format: Format

    def score(self, rows: Any) -> npt.NDArray[np.float64]:
        """The scores [n] of float32 rows [n, d], exact; NaN where a feature is not finite."""
        return self.run(rows)[1]

    def run(self, rows: Any) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """(values of the last layer in steps of its format, int32 [n, out]; scores [n]).

        Raises TypeError for rows that are not float32, ValueError for another number of features,
        or if a format was exchanged for one that the kernel's 64-bit integers do not hold.
        """
        layout = layout_of(rows, self.feature_names)
        whole = np.column_stack(layout) if isinstance(layout, list) else layout
        if whole.dtype != np.float32:
            raise TypeError(f"rows: expected float32, got {whole.dtype}")
        return self._kernel.run(np.ascontiguousarray(whole))

    @cached_property
    def intervals(self) -> tuple[Interval, ...]:
        """What every sum and value can become, whatever the row: `vaelocity.fixed.analyse`."""
        return analyse(self)

    @property
    def squared_fraction(self) -> int:
        """Bits below the point of what is squared."""
        last = self.layers[-1].result_format.fraction
        return max(last, self.input_format.fraction) if self.kind == "reconstruction" else last

    @cached_property
    def _kernel(self) -> _core.FixedNetwork:
        return pack(self)


def quantise(
    path: str | os.PathLike[str],
    values: Format,
    *,
    weights: Format | None = None,
    sums: Format | None = None,
    score: Format | None = None,
    layers: Sequence[Format] | None = None,
    kind: str | None = None,
) -> FixedNetwork:
    """The network of a .vael file in fixed point.

    Args:
        path: a .vael file of dense layers with identity or relu.
        values: type of the standardised features and, without `layers`, of every layer's values.
        weights: type of the weights; default: the width of `values`, rounded to nearest, and in
            each layer the integer bits that its largest weight needs.
        sums: type of the accumulators, biases included; default: in each layer one that loses no
            bit and cannot overflow.
        score: type of the sum of squares; default: the same, unsigned.
        layers: type of the values of each layer, the first encoder layer first.
        kind: reconstruction or mu2; default: the file's own.

    Raises:
        OSError, BundleError: the file cannot be read or is damaged.
        ValueError: a layer, an activation or a kind of score that has no fixed-point form here, or
            formats whose sums need more than 62 bits.
    """
    network = frozen.read(Path(path).stem, Path(path), kind)
    if network.kind not in _KINDS:
        raise ValueError(f"kind: expected {' or '.join(_KINDS)}, got {network.kind}")
    parts = [("encoder", i, layer) for i, layer in enumerate(network.scored_encoder)]
    if network.decodes:
        parts += [("decoder", i, layer) for i, layer in enumerate(network.decoder)]
    checked = [(f"{part}.{i}", _dense(f"{part}.{i}", layer)) for part, i, layer in parts]
    results = [values] * len(parts) if layers is None else list(layers)
    if len(results) != len(parts):
        raise ValueError(f"layers: expected {len(parts)} formats, got {len(results)}")
    for name, format in (("values", values), ("weights", weights or values)):
        check_value(name, format)
    made: list[FixedLayer] = []
    box, fraction = full(values, network.n_features), values.fraction
    nearest = replace(values, rounding="RND_CONV", overflow="SAT", signed=True)
    for (name, layer), result in zip(checked, results, strict=True):
        weight_format = weights or nearest.with_bits_for(layer.weight)
        fixed = _layer(name, layer, weight_format, sums, result, box, fraction)
        made.append(fixed)
        _, _, box = after_layer(fixed, box, fraction)
        fraction = result.fraction
    names = tuple(load(path, kind=network.kind).feature_names)
    draft = FixedNetwork(
        names, network.mean, network.inverse_scale, values, tuple(made), network.kind,
        score or Format(1, 1, signed=False),
    )  # fmt: skip
    if score is None:
        exact = _exact(2 * draft.squared_fraction)
        wide = replace(draft, score_format=replace(exact, signed=False))
        draft = replace(draft, score_format=_narrowest(wide.intervals[-1]))
    check_widths(draft)
    return draft


def _layer(
    name: str,
    layer: frozen.Dense,
    weight_format: Format,
    sums: Format | None,
    result: Format,
    box: Box,
    fraction: int,
) -> FixedLayer:
    weight = weight_format.quantise(layer.weight)
    format = sums or _exact(weight_format.fraction + fraction)
    bias = replace(format, rounding="RND_CONV").quantise(layer.bias)
    fixed = FixedLayer(name, weight, bias, layer.activation, weight_format, format, result)
    if sums is not None:
        return fixed
    total, _, _ = after_layer(fixed, box, fraction)
    return replace(fixed, sum_format=_narrowest(total))


def _dense(name: str, layer: object) -> frozen.Dense:
    if not isinstance(layer, frozen.Dense):
        raise ValueError(f"{name}: expected dense layers, got {type(layer).__name__}")
    if layer.activation not in _ACTIVATIONS:
        raise ValueError(f"{name}: expected identity or relu, got {layer.activation}")
    return layer


def _exact(fraction: int) -> Format:
    """Wide enough for any sum, to find out how wide it must be."""
    return Format(_WIDE, _WIDE - fraction)


def _narrowest(found: Interval) -> Format:
    width = max(found.integer + found.format.fraction, 1)
    return replace(found.format, width=width, integer=width - found.format.fraction)
