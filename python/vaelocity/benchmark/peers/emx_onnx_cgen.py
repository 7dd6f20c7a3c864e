"""C code that emx-onnx-cgen generates from the ONNX graph, compiled for this machine."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence

import numpy as np
import onnx

from vaelocity.benchmark.compiled import shared_library
from vaelocity.benchmark.peers.onnx_graph import score_model
from vaelocity.benchmark.peers.protocol import Call, Way
from vaelocity.frozen import Network, Rows

NAME = "emx-onnx-cgen"
LIBRARY = "emx_onnx_cgen"
INFORMATION = None

_EACH = """
void score_each(const float *rows, size_t n, float *scores) {
  for (size_t i = 0; i < n; ++i, rows += FEATURES)
    %s((const void *)rows, (void *)(scores + i));
}
"""


def ways(network: Network, n: int) -> Sequence[Way]:
    """Every row by itself; as it comes, and with the compiler let off the order of sums."""
    from emx_onnx_cgen.compiler import Compiler, CompilerOptions

    graph = onnx.load_from_string(score_model(network))
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    code = Compiler(CompilerOptions(large_weight_threshold=1 << 30)).compile(graph)
    entry = re.search(r"^void (model\w*)\(", code, re.MULTILINE)
    if entry is None:
        raise RuntimeError("no function of the model among what was generated")
    code += _EACH.replace("FEATURES", str(network.n_features)) % entry[1]

    def way(name: str, *flags: str) -> Way:
        library = shared_library(
            "generated.c", "-O3", "-march=native", *flags, sources=[("model.c", code)]
        )
        score = library.score_each
        score.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]

        def bind(rows: Rows) -> Call:
            scores = np.empty(n, np.float32)
            at, to = rows.ctypes.data, scores.ctypes.data

            def call() -> Rows:
                score(at, n, to)
                return scores

            return call

        return Way(name, bind)

    return [way("-O3 -march=native"), way("-O3 -march=native -ffast-math", "-ffast-math")]
