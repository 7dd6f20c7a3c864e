"""C code that emx-onnx-cgen generates from the ONNX graph, compiled for this machine."""

from __future__ import annotations

import re
from collections.abc import Sequence

import onnx

from vaelocity.benchmark.compiled import each_row, shared_library
from vaelocity.benchmark.peers.onnx_graph import score_model
from vaelocity.benchmark.peers.protocol import Way
from vaelocity.frozen import Network

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
        return Way(name, each_row(library, n))

    return [way("-O3 -march=native"), way("-O3 -march=native -ffast-math", "-ffast-math")]
