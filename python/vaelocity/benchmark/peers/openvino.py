"""OpenVINO on the CPU, one thread, float32."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from vaelocity.benchmark.peers.protocol import Call, Way
from vaelocity.frozen import Network, Rows

NAME = "openvino"
LIBRARY = "openvino"
INFORMATION = None


def ways(network: Network, n: int, precision: str = "f32") -> Sequence[Way]:
    """One infer request with shared input and output memory; the batch a free or a fixed dimension.

    A fixed batch of one row is left out: 2026.4 crashes while compiling it with one thread in f32.
    """
    import openvino

    from vaelocity.benchmark.peers.onnx_graph import score_model

    core = openvino.Core()

    def way(name: str, shape: list[int] | None, hint: str = "LATENCY") -> Way:
        # Without the precision it computes in bfloat16 wherever the processor can.
        settings = {
            "INFERENCE_NUM_THREADS": 1,
            "PERFORMANCE_HINT": hint,
            "INFERENCE_PRECISION_HINT": precision,
        }
        model = core.read_model(score_model(network), b"")
        if shape is not None:
            model.reshape(shape)
        compiled = core.compile_model(model, "CPU", settings)

        def bind(rows: Rows) -> Call:
            request: Any = compiled.create_infer_request()
            inputs = {0: openvino.Tensor(rows, shared_memory=True)}
            infer = partial(request.infer, inputs, share_inputs=True, share_outputs=True)
            return lambda: infer()[0]

        return Way(name, bind)

    free = [way("free batch", None)]
    if n == 1:
        return free
    fixed = [n, network.n_features]
    return [
        *free,
        way("fixed batch", fixed),
        way("fixed batch, throughput hint", fixed, "THROUGHPUT"),
    ]
