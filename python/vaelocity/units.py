"""Rates with their units, and the rate at which the LHC's bunches cross."""

from __future__ import annotations

import math
import re

__all__ = ["LHC_REVOLUTION_HZ", "format_rate", "lhc_input_rate", "parse_rate"]

LHC_REVOLUTION_HZ = 11_245.6
"""Turns a second of a bunch in the LHC: c / 26,658.9 m, as the CMS rate tools have it."""

_UNITS = {
    "mHz": 1e-3,
    "Hz": 1.0,
    "kHz": 1e3,
    "MHz": 1e6,
    "GHz": 1e9,
    "/s": 1.0,
    "/min": 1 / 60,
    "/h": 1 / 3600,
    "/day": 1 / 86400,
}
_RATE = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z/]+)\s*")


def parse_rate(rate: float | str, name: str = "rate") -> float:
    """A rate in Hz from a number of Hz, or from text with a unit: "1 kHz", "40MHz", "5/day".

    mHz Hz kHz MHz GHz /s /min /h /day; capitals matter (mHz is not MHz).

    Args:
        rate: above 0.
        name: of the argument, for the error.

    Raises:
        ValueError: no unit or an unknown one, or a number that is not positive and finite.
    """
    value = float("nan")
    if isinstance(rate, str):
        found = _RATE.fullmatch(rate)
        if found is None or found[2] not in _UNITS:
            raise ValueError(
                f"{name}: expected a number and one of {', '.join(_UNITS)}, got {rate!r}"
            )
        value = float(found[1]) * _UNITS[found[2]]
    elif not isinstance(rate, bool):
        value = float(rate)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: expected a positive number of Hz, got {rate!r}")
    return value


def format_rate(hz: float, digits: int = 4) -> str:
    """A rate with the unit that fits: 1234.5 is "1.234 kHz"."""
    for unit in ("GHz", "MHz", "kHz", "Hz"):
        if abs(hz) >= _UNITS[unit]:
            return f"{hz / _UNITS[unit]:.{digits}g} {unit}"
    return f"{hz / 1e-3:.{digits}g} mHz" if hz else "0 Hz"


def lhc_input_rate(
    bunches: int, luminosity: float | None = None, sample_luminosity: float | None = None
) -> float:
    """Bunch crossings a second, in Hz, for thresholds found on zero-bias events of the LHC.

    rate = bunches * 11,245.6 Hz * (luminosity / sample_luminosity) * accepted / events: the formula
    of the CMS trigger rate tools. Scaling by luminosity takes the accepted rate to be proportional
    to it, which pile-up spoils: trust it for a few per cent, not for a factor.

    Args:
        bunches: colliding pairs of bunches, 1 to 3564.
        luminosity: instantaneous, of the run the threshold is for.
        sample_luminosity: of the run the events were taken in, in the same unit.

    Raises:
        ValueError: bunches out of range, one luminosity without the other, one not positive.
    """
    if isinstance(bunches, bool) or not isinstance(bunches, int) or not 1 <= bunches <= 3564:
        raise ValueError(f"bunches: expected a whole number from 1 to 3564, got {bunches!r}")
    if (luminosity is None) != (sample_luminosity is None):
        raise ValueError("luminosity, sample_luminosity: expected both or none")
    scale = 1.0
    if luminosity is not None and sample_luminosity is not None:
        for name, value in (("luminosity", luminosity), ("sample_luminosity", sample_luminosity)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}: expected a positive number, got {value!r}")
        scale = luminosity / sample_luminosity
    return bunches * LHC_REVOLUTION_HZ * scale
