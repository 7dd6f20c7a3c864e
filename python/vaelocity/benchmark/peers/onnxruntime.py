"""ONNX Runtime on the CPU, one thread, every graph optimisation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from vaelocity.benchmark.peers.protocol import Call, Way
from vaelocity.frozen import Network, Rows

NAME = "onnxruntime"
LIBRARY = "onnxruntime"
INFORMATION = None


def ways(network: Network, n: int) -> Sequence[Way]:
    """session.run, and io binding with memory for input and output that stays."""
    import onnxruntime as ort

    from vaelocity.benchmark.peers.onnx_graph import score_model

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(
        score_model(network), options, providers=["CPUExecutionProvider"]
    )

    def run(rows: Rows) -> Call:
        feed = {"rows": rows}
        return lambda: session.run(None, feed)[0]

    def bound(rows: Rows) -> Call:
        out = np.empty(n, np.float32)
        binding = session.io_binding()
        binding.bind_ortvalue_input("rows", ort.OrtValue.ortvalue_from_numpy(rows))
        binding.bind_output("score", "cpu", 0, np.float32, (n,), out.ctypes.data)
        execute = partial(session.run_with_iobinding, binding)

        def call() -> Rows:
            execute()
            return out

        return call

    return [Way("session.run", run), Way("io binding", bound)]
