"""The C++ header of networks with convolutions, pools, norms and residual sums gives the library's
bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import image_networks
import numpy as np
import pytest
from building import clang, run, tool
from physics_networks import edges, promised
from test_export import FLAGS, MAIN

from vaelocity import _core
from vaelocity.export import cpp_header

# (network, kind of score): the smaller ones have every step, odd strides, paddings, channels.
SMALL = [
    (image_networks.small, "reconstruction"),
    (image_networks.mixed, "elbo"),
    (image_networks.mixed, "reconstruction"),
    (image_networks.mixed, "kl"),
    (image_networks.signal, "reconstruction"),
    (image_networks.wide, "reconstruction"),
]
LARGE = [(image_networks.mnist, "reconstruction"), (image_networks.cicada, "reconstruction")]


def rows_for(d: int) -> np.ndarray:
    """Ordinary rows and those at the edges, NaN and infinities among them: float32 [200, d]."""
    rows = np.random.default_rng(d).normal(size=(200, d)).astype(np.float32)
    edge = edges(d)
    rows[: len(edge)] = edge
    return rows


def program(folder: Path, networks: list[Any]) -> tuple[Path, list[str]]:
    """A program that prints every network's scores and flags, and what it must print."""
    source, rows, expected = [], [], []
    body = [MAIN, "int main(int, char **argv) {", '  std::FILE *file = std::fopen(argv[1], "rb");']
    for i, (network, kind) in enumerate(networks):
        path = folder / f"net{i}.vael"
        path.write_bytes(promised(*network().content(), [kind]))
        header = path.with_suffix(".hpp")
        header.write_text(cpp_header(path, kind=kind))
        source.append(f'#include "{header}"')
        body.append(f"  if (net{i}::verify() != 0) return {i + 2};")
        body.append(f"  print(file, net{i}::n_features, net{i}::score);")
        model = _core.Model.from_file(str(path), kind=kind)
        these = rows_for(model.n_features)
        rows.append(these.tobytes())
        scores, flags = model.score(these).view(np.uint32), model.flags(these)
        expected += [f"{score} {flag}" for score, flag in zip(scores, flags, strict=True)]
        assert {0, 1, 2} <= set(flags.tolist())
    (folder / "rows").write_bytes(b"".join(rows))
    path = folder / "main.cpp"
    path.write_text("\n".join([*source, *body, "  return 0;\n}\n"]))
    return path, expected


@pytest.mark.parametrize(
    ("compiler", "networks"),
    [
        *(
            pytest.param(compiler, networks, id=f"{compiler}-{size}")
            for compiler in ("gcc", "gcc plain", "clang")
            for size, networks in (("small", SMALL), ("large", LARGE))
        ),
        pytest.param("sanitizers", SMALL[:2], id="sanitizers-small"),
    ],
)
def test_the_header_gives_the_librarys_bits(
    compiler: str, networks: list[Any], tmp_path: Path
) -> None:
    source, expected = program(tmp_path, networks)
    flags = {
        "gcc": ("-O3", "-march=native"),
        "gcc plain": (),
        "clang": ("-march=native",),
        "sanitizers": ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    }[compiler]
    name = clang() if compiler == "clang" else tool("g++")
    run(name, *FLAGS, *flags, source, "-o", tmp_path / "main")
    assert run(tmp_path / "main", tmp_path / "rows").splitlines() == expected


def test_no_value_is_read_before_it_is_written(tmp_path: Path) -> None:
    """A workspace full of NaN gives the same scores."""
    path = tmp_path / "net.vael"
    path.write_bytes(promised(*image_networks.mixed().content(), ["elbo"]))
    (tmp_path / "net.hpp").write_text(cpp_header(path, kind="elbo"))
    (tmp_path / "main.cpp").write_text(
        '#include "net.hpp"\n'
        "int main() {\n"
        "  static net::workspace space;\n"
        '  for (float &value : space.memory) value = __builtin_nanf("");\n'
        "  int wrong = 0;\n"
        "  for (int i = 0; i < net::n_conformance; ++i) {\n"
        "    const float got = net::score_in(space, net::conformance_rows + i * net::n_features);\n"
        "    wrong += net::bits(got) != net::conformance_scores[i];\n"
        "  }\n"
        "  return wrong;\n}\n"
    )
    run(tool("g++"), *FLAGS, tmp_path / "main.cpp", "-o", tmp_path / "main")
    run(tmp_path / "main")
