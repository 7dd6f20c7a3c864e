"""Our own `vaelocity export --header`, compiled for this machine: the same bits, no library."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from vaelocity.benchmark.compiled import shared_library
from vaelocity.benchmark.peers.protocol import Call, Way
from vaelocity.export import cpp_header
from vaelocity.frozen import Network, Rows

NAME = "vaelocity header"
LIBRARY = "vaelocity"
INFORMATION = "ours as well"


def ways(network: Network, n: int) -> Sequence[Way]:
    """model::score of every row by itself."""
    text = cpp_header(network.path, kind=network.kind, namespace="model")
    flags = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=off")
    score = shared_library("each_row.cpp", *flags, sources=[("model.hpp", text)]).score_each
    score.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]

    def bind(rows: Rows) -> Call:
        scores = np.empty(n, np.float32)
        at, to = rows.ctypes.data, scores.ctypes.data

        def call() -> Rows:
            score(at, n, to)
            return scores

        return call

    return [Way("model::score", bind)]
