"""A fixed-point type and what an assignment to it does.

Source: AMD UG1399, Vitis HLS, "Arbitrary Precision Fixed-Point Data Types": quantization modes
AP_TRN (towards minus infinity, the default) and AP_RND_CONV (to nearest, ties to even); overflow
modes AP_WRAP (the default) and AP_SAT. Rounding comes first, and what it makes may overflow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Format", "Integers"]

Integers = npt.NDArray[Any]
"""Python integers in an array of objects: no width at which the arithmetic itself overflows."""

_TEXT = re.compile(
    r"(?:ap_(?P<type>u?fixed)<)?\s*(?P<width>\d+)\s*,\s*(?P<integer>-?\d+)"
    r"(?:\s*,\s*(?:AP_)?(?P<rounding>TRN|RND_CONV))?"
    r"(?:\s*,\s*(?:AP_)?(?P<overflow>WRAP|SAT))?\s*>?"
)
_EXPECTED = '"W,I", or ap_fixed<W,I,Q,O> or ap_ufixed, Q of TRN, RND_CONV and O of WRAP, SAT'


@dataclass(frozen=True)
class Format:
    """ap_fixed<width, integer, rounding, overflow>, or ap_ufixed where not `signed`.

    A value is an integer of `width` bits times 2^-(width - integer). integer counts the sign; it
    may be negative, or larger than width.
    """

    width: int
    integer: int
    rounding: str = "TRN"
    overflow: str = "WRAP"
    signed: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.width <= 62:
            raise ValueError(f"width: expected 1 to 62 bits, got {self.width}")
        if not -62 <= self.fraction <= 62:
            raise ValueError(f"integer: expected {self.width - 62} to {self.width + 62} for "
                             f"{self.width} bits, got {self.integer}")  # fmt: skip
        if self.rounding not in ("TRN", "RND_CONV"):
            raise ValueError(f"rounding: expected TRN or RND_CONV, got {self.rounding}")
        if self.overflow not in ("WRAP", "SAT"):
            raise ValueError(f"overflow: expected WRAP or SAT, got {self.overflow}")

    @classmethod
    def parse(cls, text: str, signed: bool = True) -> Format:
        """ "16,6" or "ap_fixed<16,6,AP_RND_CONV,AP_SAT>". signed: of a text without ap_."""
        found = _TEXT.fullmatch(text.strip())
        if found is None or ("<" in text) != text.rstrip().endswith(">"):
            raise ValueError(f"format: expected {_EXPECTED}, got {text!r}")
        if found["type"] is not None:
            signed = found["type"] == "fixed"
        width, integer = int(found["width"]), int(found["integer"])
        return cls(width, integer, found["rounding"] or "TRN", found["overflow"] or "WRAP", signed)

    def __str__(self) -> str:
        name = "ap_fixed" if self.signed else "ap_ufixed"
        return f"{name}<{self.width},{self.integer},{self.rounding},{self.overflow}>"

    @property
    def fraction(self) -> int:
        """Bits below the point; negative where the smallest step is above 1."""
        return self.width - self.integer

    @property
    def lowest(self) -> int:
        """The smallest value, in steps."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        """The largest value, in steps."""
        return (1 << (self.width - self.signed)) - 1

    @property
    def step(self) -> float:
        """The distance of two values, 2^-fraction."""
        return 2.0**-self.fraction

    def holds(self, low: int, high: int) -> bool:
        """Whether no value from `low` to `high`, in steps, overflows."""
        return self.lowest <= low and high <= self.highest

    def rounded(self, value: Integers, fraction: int) -> Integers:
        """value * 2^-fraction in steps of this format, before any overflow."""
        excess = fraction - self.fraction
        if excess <= 0:
            return value * (1 << -excess)
        whole, rest = value // (1 << excess), value % (1 << excess)
        if self.rounding == "TRN":
            return whole
        twice, one = 2 * rest, 1 << excess
        up = (twice > one) | ((twice == one) & (whole % 2 == 1))
        return whole + np.where(up, 1, 0)

    def fitted(self, value: Integers) -> Integers:
        """What is left of `value`, in steps, where it overflows."""
        if self.overflow == "SAT":
            return np.minimum(np.maximum(value, self.lowest), self.highest)
        return (value - self.lowest) % (1 << self.width) + self.lowest

    def assign(self, value: Integers, fraction: int) -> Integers:
        """value * 2^-fraction, assigned: in steps of this format."""
        return self.fitted(self.rounded(value, fraction))

    def quantise(self, values: npt.ArrayLike) -> Integers:
        """Finite numbers, assigned: in steps of this format, as Python integers of their shape."""
        numbers = np.asarray(values, np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError("values: expected finite numbers, got a NaN or an infinity")
        scaled = np.ldexp(numbers, self.fraction)
        if not np.isfinite(scaled).all():
            raise ValueError(f"values: too large for {self}")
        whole = np.floor(scaled) if self.rounding == "TRN" else np.rint(scaled)
        return self.fitted(_integers(whole))

    def with_bits_for(self, values: npt.ArrayLike) -> Format:
        """The same width with as many integer bits as the largest magnitude needs."""
        largest = float(np.abs(np.asarray(values)).max(initial=0.0))
        integer = int(np.frexp(largest)[1]) + self.signed if largest else 1
        return replace(self, integer=integer)


def _integers(whole: npt.NDArray[np.float64]) -> Integers:
    return np.array([int(value) for value in whole.flat], object).reshape(whole.shape)
