"""Fixed-point networks against AMD's ap_fixed, compiled with g++, bit for bit."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vaelocity.fixed import FixedNetwork, Format, quantise

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("hls4ml") is None, reason="needs hls4ml's ap_types headers"
    ),
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
]

MAIN = """
#include "ap_fixed.h"
#include <cstdio>

template <class T> T of_raw(long raw) {
  T value;
  value.range() = raw;
  return value;
}

%s

int main(int, char **argv) {
  std::FILE *in = std::fopen(argv[1], "rb");
  float row[%d];
  while (std::fread(row, sizeof row, 1, in) == 1) {
%s
    std::printf("\\n");
  }
}
"""

DENSE = """
    {result} {name}y{i}[{outputs}];
    for (int j = 0; j < {outputs}; ++j) {{
      {sum} sum = of_raw<{sum}>({name}b{i}[j]);
      for (int k = 0; k < {inputs}; ++k)
        sum += of_raw<{weight}>({name}w{i}[j * {inputs} + k]) * {name}{x}[k];
      if ({relu} && sum < 0) sum = 0;
      {name}y{i}[j] = sum;
    }}"""

LAST = """
    {score} {name}score = 0;
    for (int j = 0; j < {outputs}; ++j) {{
      std::printf("%.17g ", {name}{y}[j].to_double());
      auto d = {difference};
      {name}score += d * d;
    }}
    std::printf("%.17g ", {name}score.to_double());"""


def ap(format: Format) -> str:
    name = "ap_fixed" if format.signed else "ap_ufixed"
    return f"{name}<{format.width},{format.integer},AP_{format.rounding},AP_{format.overflow}>"


def table(name: str, integers: np.ndarray) -> str:
    return f"static const long {name}[] = {{{','.join(str(value) for value in integers.flat)}}};"


def source(network: FixedNetwork, name: str) -> tuple[str, str]:
    """(tables, code): a row through expressions of ap_fixed; prints its values and its sum."""
    d, tables, x = len(network.mean), [], "x"
    code = [
        f"    {ap(network.input_format)} {name}x[{d}];",
        f"    for (int k = 0; k < {d}; ++k) {name}x[k] = (double)row[k];",
    ]
    inputs = d
    for i, layer in enumerate(network.layers):
        tables += [table(f"{name}w{i}", layer.weight), table(f"{name}b{i}", layer.bias)]
        outputs = len(layer.bias)
        code.append(
            DENSE.format(
                name=name, i=i, x=x, inputs=inputs, outputs=outputs,
                result=ap(layer.result_format), sum=ap(layer.sum_format),
                weight=ap(layer.weight_format), relu=int(layer.activation == "relu"),
            )
        )  # fmt: skip
        inputs, x = outputs, f"y{i}"
    y = f"{name}{x}[j]"
    difference = f"{y} - {name}x[j]" if network.kind == "reconstruction" else y
    code.append(
        LAST.format(
            name=name, y=x, outputs=inputs, score=ap(network.score_format), difference=difference
        )
    )
    return "\n".join(tables), "\n".join(code)


def compiled(networks: list[FixedNetwork], folder: Path) -> Path:
    import hls4ml

    parts = [source(network, f"n{i}_") for i, network in enumerate(networks)]
    tables, code = ("\n".join(part) for part in zip(*parts, strict=True))
    (folder / "main.cpp").write_text(MAIN % (tables, len(networks[0].mean), code))
    headers = Path(hls4ml.__file__).parent / "templates" / "vivado" / "ap_types"
    command = ["g++", "-std=c++17", "-O0", "-w", f"-I{headers}", "main.cpp", "-o", "main"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "main"


def test_every_mode_gives_the_bits_of_ap_fixed(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_bundle([5, 4, 2], True, "relu", 3)
    networks = []
    for rounding, overflow in itertools.product(("TRN", "RND_CONV"), ("WRAP", "SAT")):
        values, score = Format(10, 4, rounding, overflow), Format(18, 14, rounding, overflow, False)
        networks += [
            quantise(path, values, kind="mu2"),
            quantise(path, values, sums=Format(9, 3, rounding, overflow), score=score),
            quantise(
                path, values, weights=Format(6, 2, rounding, overflow),
                sums=Format(24, 3, rounding, overflow),
                score=Format(12, 5, rounding, overflow, False),
            ),
        ]  # fmt: skip
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 5)) * rng.choice([0, 0.1, 1, 10, 1e4], size=(300, 1))
    rows = rows.astype(np.float32)
    ((rows - networks[0].mean) * networks[0].inverse_scale).tofile(tmp_path / "rows")
    printed = subprocess.run(
        [compiled(networks, tmp_path), tmp_path / "rows"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = np.array([line.split() for line in printed.splitlines()], np.float64)
    expected = []
    for network in networks:
        values, scores = network.run(rows)
        half = 0.5 if network.kind == "reconstruction" else 1.0
        expected += [values * network.layers[-1].result_format.step, scores[:, None] / half]
    np.testing.assert_array_equal(found, np.concatenate(expected, axis=1))
    assert len(found) == len(rows)
