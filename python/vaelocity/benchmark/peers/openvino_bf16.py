"""OpenVINO as it comes on a processor with bfloat16: for information, its scores are others."""

from __future__ import annotations

from collections.abc import Sequence

from vaelocity.benchmark.peers import openvino
from vaelocity.benchmark.peers.protocol import Way
from vaelocity.frozen import Network

NAME = "openvino bf16"
LIBRARY = "openvino"
INFORMATION = "bfloat16 arithmetic"


def ways(network: Network, n: int) -> Sequence[Way]:
    """As the float32 peer, with the precision OpenVINO chooses by itself."""
    return openvino.ways(network, n, "bf16")
