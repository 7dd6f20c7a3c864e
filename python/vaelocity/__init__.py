"""Anomaly scores from autoencoders and variational autoencoders at the speed of the hardware."""
from __future__ import annotations
from ._core import __version__ as __version__
