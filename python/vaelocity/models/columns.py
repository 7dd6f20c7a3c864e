"""The steps of `vaelocity.preprocess` before the standardisation, as part of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaelocity.models.scaler import Standardizer
from vaelocity.preprocess import columns_of, leaves_out

Column = str | int
Steps = list[dict[str, Any]]


class ColumnScaler(Standardizer):
    """The steps, then x' = (x - mean) * (1 / scale), as the scorer does, up to float32 rounding.

    A NaN in x' of a row that has a score is a value whose term leaves the loss: see
    `LatentModel.seen` and `counts`.

    steps: as in the file, checked, without standardize. mean and scale are of the values that the
    steps make; what leaves the loss is not among them.
    """

    def __init__(self, n_features: int, steps: Steps) -> None:
        super().__init__(n_features)
        self.steps = steps
        described = {"features": range(n_features), "preprocess": steps}
        self.leaves_out = leaves_out(described)
        self._names = columns_of(described)
        for name, values in self._names.items():
            # Not part of the state: the file has the steps.
            self.register_buffer(f"column_{name}", torch.from_numpy(values), persistent=False)

    def scorable(self, x: Tensor) -> Tensor:
        """Which rows have a score: bool [n]."""
        found = torch.isfinite(x)
        if "policy" in self._names:
            found |= self._column("policy").to(x.device) > 0
        return found.all(dim=1)

    def prepared(self, x: Tensor) -> Tensor:
        """What is standardised: [n, n_features], NaN where the term leaves the loss."""
        left_out = torch.zeros((), dtype=torch.bool, device=x.device)
        if "policy" in self._names:
            lost, policy = ~torch.isfinite(x), self._column("policy")
            left_out = lost & (policy == 1)
            x = torch.where(lost & (policy > 0), self._column("imputed"), x)
        if "absent" in self._names:
            left_out = left_out | ((x == 0) & (self._column("absent") > 0))
        if "low" in self._names:
            x = torch.maximum(self._column("low"), torch.minimum(self._column("high"), x))
        if "wrapped" in self._names:
            x = torch.where(self._column("wrapped") > 0, wrap_angle(x), x)
        if "logged" in self._names:
            x = torch.where(self._column("logged") > 0, signed_log1p(x), x)
        return torch.where(left_out, torch.nan, x) if self.leaves_out else x

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.prepared(x))

    def inverse(self, x: Tensor) -> Tensor:
        """Back to the units of the features; an angle stays in [-pi, pi)."""
        x = super().inverse(x)
        if "logged" not in self._names:
            return x
        back = torch.copysign(torch.expm1(x.abs()), x)
        return torch.where(self._column("logged") > 0, back, x)

    @torch.no_grad()
    def fit_(self, x: Tensor, weight: Tensor | None = None) -> None:
        super().fit_(self.prepared(x), weight)

    def _column(self, name: str) -> Tensor:
        return self.get_buffer(f"column_{name}")


def signed_log1p(x: Tensor) -> Tensor:
    """sign(x) ln(1 + |x|)."""
    return torch.copysign(torch.log1p(x.abs()), x)


def wrap_angle(x: Tensor) -> Tensor:
    """x in [-pi, pi), by the operations of the scorer (csrc/src/simd/math.h): on which side of the
    seam an angle comes out must not differ. Float64 stands for fma."""
    pi, two_pi = float.fromhex("0x1.921fb6p+1"), float.fromhex("0x1.921fb6p+2")
    t = x.clamp(-(2.0**20), 2.0**20)
    n = torch.round(t.double() * float.fromhex("0x1.45f306p-3"))
    r = t
    for part in ("-0x1.92p+2", "-0x1.fb5p-10", "-0x1.110b46p-24"):
        r = (n * float.fromhex(part) + r.double()).float()
    r = torch.where(r < pi, r, r - two_pi)
    r = torch.where(r >= -pi, r, r + two_pi)
    return torch.where((x >= -pi) & (x < pi), x, r)


def column_steps(
    names: Sequence[str],
    clip: Mapping[Column, tuple[float | None, float | None]],
    wrap: Sequence[Column],
    log1p: Sequence[Column],
    mask_zeros: Sequence[Column],
    flag: Sequence[Column],
    impute: Mapping[Column, float],
) -> Steps:
    """What `Model.preprocess` was given as steps of the file; raises ValueError naming the
    argument."""
    flagged = column_numbers("flag", flag, names)
    imputed = dict(zip(column_numbers("impute", impute, names), impute.values(), strict=True))
    both = sorted(set(flagged) & set(imputed))
    if both:
        raise ValueError(f"flag, impute: {names[both[0]]!r} is in both")
    bounds = dict(zip(column_numbers("clip", clip, names), clip.values(), strict=True))
    steps: Steps = []
    if flagged or imputed:
        values = [finite_float32("impute", imputed[j]) for j in sorted(imputed)]
        missing = {"flag": sorted(flagged), "impute": sorted(imputed), "values": values}
        steps.append({"op": "missing", **missing})
    if mask_zeros:
        steps.append(
            {"op": "mask_zeros", "columns": sorted(column_numbers("mask_zeros", mask_zeros, names))}
        )
    if bounds:
        columns = sorted(bounds)
        low, high = (
            [
                None if bounds[j][i] is None else finite_float32("clip", bounds[j][i])
                for j in columns
            ]
            for i in (0, 1)
        )
        for j, a, b in zip(columns, low, high, strict=True):
            if a is not None and b is not None and a > b:
                raise ValueError(f"clip: {names[j]!r} from {a:g} to {b:g} holds nothing")
        steps.append({"op": "clip", "columns": columns, "low": low, "high": high})
    for op, given in (("wrap", wrap), ("log1p", log1p)):
        if given:
            steps.append({"op": op, "columns": sorted(column_numbers(op, given, names))})
    return steps


def column_numbers(argument: str, columns: Any, names: Sequence[str]) -> list[int]:
    """Columns by name or number as numbers. Raises ValueError naming the argument."""
    found = []
    for column in columns:
        number = names.index(column) if column in names else column
        whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
        if not (whole and 0 <= number < len(names)):
            raise ValueError(f"{argument}: no column {column!r}")
        found.append(int(number))
    if len(set(found)) != len(found):
        raise ValueError(f"{argument}: {columns!r} names a column twice")
    return found


def finite_float32(argument: str, value: Any) -> float:
    """As float32, which is what the scorer holds."""
    with np.errstate(over="ignore"):
        found = float(np.float32(value))
    if not math.isfinite(found):
        raise ValueError(f"{argument}: expected finite numbers, got {value!r}")
    return found
