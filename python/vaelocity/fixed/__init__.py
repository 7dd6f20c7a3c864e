"""Dense networks in fixed point, bit for bit as ap_fixed computes on an FPGA."""

from vaelocity.fixed.format import Format, Integers
from vaelocity.fixed.interval import Box, Interval, analyse, box_of
from vaelocity.fixed.network import FixedLayer, FixedNetwork, quantise
from vaelocity.fixed.reference import reference

__all__ = [
    "Box",
    "FixedLayer",
    "FixedNetwork",
    "Format",
    "Integers",
    "Interval",
    "analyse",
    "box_of",
    "quantise",
    "reference",
]
