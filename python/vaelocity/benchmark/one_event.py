"""One event at a time: a call of the C interface for every row, beside the peers' own calls."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from vaelocity.benchmark.compiled import NotBuilt, shared_library
from vaelocity.benchmark.machine import Peak
from vaelocity.benchmark.race import OURS, Entry, checked, floor_of, peer_entries, race
from vaelocity.frozen import Dense, Network, Rows

PEERS = ("cpp_header", "onnxruntime_c", "onnxruntime", "openvino", "emx_onnx_cgen")
READING = "reading the weights"
_ROWS = 64


def one_event(
    network: Network, rows: Rows, peak: Peak, quick: bool, peers: Sequence[str] = PEERS
) -> dict[str, Any]:
    """The first 64 of rows [n, d] by vael_score_rows, one a call; the peers in C alike, those that
    are called from Python with one row. "reading the weights": once in order, from where they stay
    after it was done before.

    Raises NotBuilt where there is no C++ compiler.
    """
    some = np.ascontiguousarray(rows[:_ROWS])
    reference = network.reference(some)
    library = shared_library(
        "one_event.cpp", "-O3", "-std=c++17", "-march=native", f"-DBYTES={_vector_bytes()}"
    )
    check = partial(checked, floor=floor_of(network))
    entries = [check(_ours(library, network, some), reference)]
    entries += [
        replace(entry, events=len(some) if entry.name in _IN_C else 1)
        for name in peers
        for entry in _peer(network, some, reference, name)
    ]
    entries.append(_reading(library, network))
    found = race(entries, 1, network.flop, peak, 9 if quick else 31, 0.004 if quick else 0.01)
    title = f"{network.name}, one event a call"
    return {"id": f"{network.name}/event", "title": title, "rows": 1, "entries": found}


_IN_C = ("vaelocity header", "onnxruntime, C API", "emx-onnx-cgen")


def _peer(network: Network, some: Rows, reference: Any, name: str) -> Any:
    alone = name in ("onnxruntime", "openvino")
    return peer_entries(
        network, some[:1] if alone else some, reference[:1] if alone else reference, (name,)
    )


def _ours(library: ctypes.CDLL, network: Network, rows: Rows) -> Entry:
    library.open_model.restype = ctypes.c_void_p
    why = ctypes.create_string_buffer(512)
    opened = library.open_model(
        str(network.path).encode(), network.kind.encode(), why, ctypes.c_size_t(512)
    )
    if not opened:
        raise NotBuilt(why.value.decode())
    score = library.score_each
    score.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    scores = np.empty(len(rows), np.float32)
    at, to, n = rows.ctypes.data, scores.ctypes.data, len(rows)

    def call() -> Rows:
        score(opened, at, n, to)
        return scores

    return Entry(OURS, "vael_score_rows", call, events=n)


def _reading(library: ctypes.CDLL, network: Network) -> Entry:
    """The weights and biases that the score needs, as bytes in one piece of memory."""
    layers = (*network.scored_encoder, *(network.decoder if network.decodes else ()))
    dense = [layer for layer in layers if isinstance(layer, Dense)]
    numbers = sum(layer.weight.size + layer.bias.size for layer in dense)
    raw = np.ones(numbers + 80, np.float32)
    data = raw[(-raw.ctypes.data % 64) // 4 :]
    size, times = 4 * numbers // 256 * 256, 64
    read = library.read_bytes
    read.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    call = partial(read, data.ctypes.data, size, times)
    note = "no score: a bound"
    return Entry(READING, f"{size:,} bytes", call, information=note, events=times)


def _vector_bytes() -> int:
    from vaelocity import _core

    return 64 if "avx512" in _core.available_isas() else 32
