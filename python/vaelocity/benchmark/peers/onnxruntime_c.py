"""ONNX Runtime through its C API: what it takes without Python, one row a call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from importlib.metadata import files
from pathlib import Path
from typing import Any

import numpy as np

from vaelocity.benchmark.compiled import shared_library
from vaelocity.benchmark.peers.protocol import Call, Way
from vaelocity.frozen import Network, Rows

NAME = "onnxruntime, C API"
LIBRARY = "onnxruntime"
INFORMATION = None


def ways(network: Network, n: int) -> Sequence[Way]:
    """OrtApi::Run of every row by itself, tensors over its input and its score made before."""
    from vaelocity.benchmark.peers.onnx_graph import score_model

    library = shared_library("onnxruntime_c.cpp", "-O2", "-std=c++17", "-ldl")
    library.open_session.restype = ctypes.c_void_p
    library.bind_rows.restype = ctypes.c_void_p
    library.run_each.restype = ctypes.c_size_t
    model, why = score_model(network), ctypes.create_string_buffer(512)
    session = library.open_session(
        str(_runtime()).encode(), model, ctypes.c_size_t(len(model)), why, ctypes.c_size_t(512)
    )
    if not session:
        raise RuntimeError(why.value.decode())

    def bind(rows: Rows) -> Call:
        scores = np.empty(n, np.float32)
        sizes = ctypes.c_size_t(n), ctypes.c_size_t(network.n_features)
        at = ctypes.c_void_p(rows.ctypes.data), *sizes, ctypes.c_void_p(scores.ctypes.data)
        bound = library.bind_rows(ctypes.c_void_p(session), *at)
        if not bound:
            raise RuntimeError("onnxruntime made no tensor")
        run = library.run_each
        run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]

        def call(keep: Any = rows) -> Rows:
            if failed := run(session, bound, n):
                raise RuntimeError(f"onnxruntime could not score row {failed - 1}")
            return scores

        return call

    return [Way("OrtApi::Run", bind)]


def _runtime() -> Path:
    """The library in onnxruntime's wheel."""
    for file in files("onnxruntime") or []:
        if file.name.startswith("libonnxruntime.so"):
            return Path(str(file.locate()))
    raise ImportError("onnxruntime's wheel has no libonnxruntime.so")
