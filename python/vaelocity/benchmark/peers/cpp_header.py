"""Our own `vaelocity export --header`, compiled for this machine: the same bits, no library."""

from __future__ import annotations

from collections.abc import Sequence

from vaelocity.benchmark.compiled import each_row, shared_library
from vaelocity.benchmark.peers.protocol import Way
from vaelocity.export import cpp_header
from vaelocity.frozen import Network

NAME = "vaelocity header"
LIBRARY = "vaelocity"
INFORMATION = "ours as well"


def ways(network: Network, n: int) -> Sequence[Way]:
    """model::score of every row by itself."""
    text = cpp_header(network.path, kind=network.kind, namespace="model")
    flags = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=off")
    library = shared_library("each_row.cpp", *flags, sources=[("model.hpp", text)])
    return [Way("model::score", each_row(library, n))]
