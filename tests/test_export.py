"""`vaelocity export --header`: the generated C++ is compiled and must give the library's bits."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from building import clang, run, tool

import vaelocity
from vaelocity import _core
from vaelocity.bundle import read_bundle, write_bundle
from vaelocity.cli import main
from vaelocity.export import cpp_header
from vaelocity.threshold import Threshold

FLAGS = ("-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror")

# Every activation and kind; widths on both sides of a block of 32.
NETWORKS: list[dict[str, Any]] = [
    {"widths": [59, 64, 32, 16], "activation": "relu", "kind": "reconstruction"},
    {"widths": [57, 32, 16, 3], "activation": "leaky_relu", "kind": "mu2"},
    {"widths": [17, 33, 5], "activation": "tanh", "kind": "kl"},
    {"widths": [16, 31, 15], "activation": "gelu", "kind": "elbo"},
    {"widths": [9, 8, 17], "activation": "silu", "kind": "rz"},
    {"widths": [1, 1], "activation": "identity", "kind": "reconstruction"},
    {"widths": [40, 70, 20], "activation": "elu", "kind": "reconstruction"},
    {"widths": [33, 12, 4], "activation": "sigmoid", "kind": "reconstruction"},
]

MAIN = """
#include <cstdio>
#include <vector>
template <class Score> void print(std::FILE *file, int d, Score score) {
  std::vector<float> row(static_cast<std::size_t>(d));
  for (int i = 0; i < 200; ++i) {
    if (std::fread(row.data(), sizeof(float), row.size(), file) != row.size()) return;
    std::uint8_t flags = 255;
    const float value = score(row.data(), &flags);
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    std::printf("%u %d\\n", bits, flags);
  }
}
"""


def rows_for(d: int) -> npt.NDArray[np.float32]:
    """Ordinary rows, and some with what a detector should never send. float32 [200, d]."""
    rng = np.random.default_rng(d)
    rows = rng.normal(size=(200, d)) * np.exp(rng.normal(size=(200, 1)))
    rows = rows.astype(np.float32)
    for i, value in enumerate([np.nan, np.inf, -np.inf, 1e30, -3e38, 1e-40, -0.0, 0.0]):
        rows[i, i % d] = value
        rows[10 + i] = value
    return rows


def write_program(folder: Path, make_bundle: Callable[..., Path]) -> tuple[Path, list[str]]:
    """One program with all NETWORKS in it, the file of its rows, and what it must print."""
    includes, calls, rows, expected = [], [], [], []
    for i, network in enumerate(NETWORKS):
        bundle = make_bundle(
            network["widths"],
            gaussian=network["kind"] != "reconstruction",
            activation=network["activation"],
        )
        header = folder / f"net{i}.hpp"
        header.write_text(cpp_header(bundle, kind=network["kind"], namespace=f"net{i}"))
        includes.append(f'#include "{header}"')
        calls.append(f"  if (net{i}::verify() != 0) return 2;")
        calls.append(f"  print(file, net{i}::n_features, net{i}::score);")
        these = rows_for(network["widths"][0])
        rows.append(these.tobytes())
        model = _core.Model.from_file(str(bundle), kind=network["kind"])
        scores, flags = model.score(these).view(np.uint32), model.flags(these)
        expected += [f"{score} {flag}" for score, flag in zip(scores, flags, strict=True)]
    (folder / "rows").write_bytes(b"".join(rows))
    body = [MAIN, "int main(int, char **argv) {", '  std::FILE *file = std::fopen(argv[1], "rb");']
    source = folder / "main.cpp"
    source.write_text("\n".join([*includes, *body, *calls, "  return 0;\n}\n"]))
    return source, expected


def compile_and_run(compiler: str, source: Path, *flags: str) -> list[str]:
    program = source.with_suffix("")
    run(compiler, *FLAGS, *flags, source, "-o", program)
    return run(program, source.with_name("rows")).splitlines()


@pytest.mark.parametrize("flags", [("-O3", "-march=native"), ()], ids=["native", "plain"])
def test_gcc_gives_the_librarys_bits(
    make_bundle: Callable[..., Path], tmp_path: Path, flags: tuple[str, ...]
) -> None:
    source, expected = write_program(tmp_path, make_bundle)
    assert compile_and_run(tool("g++"), source, *flags) == expected


def test_clang_gives_the_librarys_bits(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    source, expected = write_program(tmp_path, make_bundle)
    assert compile_and_run(clang(), source, "-march=native") == expected


def test_no_byte_beyond_a_row_is_read(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    source, expected = write_program(tmp_path, make_bundle)
    flags = ("-O1", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert compile_and_run(tool("g++"), source, *flags) == expected


def test_fast_math_is_refused(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    source, _ = write_program(tmp_path, make_bundle)
    refused = subprocess.run(
        [tool("g++"), "-std=c++17", "-ffast-math", "-c", source, "-o", tmp_path / "fast.o"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert refused.returncode != 0
    assert "-ffast-math changes the scores" in refused.stderr


PLUGIN = """
#include "{header}"
extern "C" __attribute__((visibility("default"))) float plugin_score(const float *row) {{
  return model::score(row);
}}
"""
HOST = """
#include <cstdio>
#include <dlfcn.h>
int main(int argc, char **argv) {
  const float row[8] = {-0.5f, -0.25f, 0.0f, 0.25f, 0.5f, 0.75f, 1.0f, -0.5f};
  for (int i = 2; i < argc; ++i) {
    void *plugin = dlopen(argv[i], RTLD_NOW | (argv[1][0] == 'g' ? RTLD_GLOBAL : RTLD_LOCAL));
    auto *score = reinterpret_cast<float (*)(const float *)>(dlsym(plugin, "plugin_score"));
    std::printf("%a\\n", static_cast<double>(score(row)));
  }
}
"""


def test_plugins_with_headers_of_one_name_do_not_take_each_others_weights(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """cms-sw/cmssw#44435, with the namespaces that should have prevented it equal."""
    row = (0.25 * (np.arange(8) % 7) - 0.5).astype(np.float32)[None]
    plugins, expected = [], []
    for seed in range(3):
        bundle = make_bundle([8, 6, 3], seed=seed)
        header, source = tmp_path / f"model{seed}.hpp", tmp_path / f"plugin{seed}.cpp"
        header.write_text(cpp_header(bundle, namespace="model"))
        source.write_text(PLUGIN.format(header=header))
        plugins.append(source.with_suffix(".so"))
        run(tool("g++"), *FLAGS, "-fPIC", "-shared", source, "-o", plugins[-1])
        exported = run("nm", "-D", "--defined-only", plugins[-1]).split()[2::3]
        assert exported == ["plugin_score"]
        expected.append(vaelocity.load(bundle).score(row)[0])
    host = tmp_path / "host.cpp"
    host.write_text(HOST)
    run(tool("g++"), host, "-ldl", "-o", tmp_path / "host")
    for scope in ("global", "local"):
        for step in (1, -1):
            out = run(tmp_path / "host", scope, *plugins[::step])
            assert [float.fromhex(line) for line in out.split()] == expected[::step]


def test_thresholds_names_and_the_command(
    make_bundle: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_bundle([3, 2])
    metadata, tensors = read_bundle(path)
    metadata["features"] = ["pt", 'a "quoted" \\ name?', "φ0"]
    threshold = Threshold("fpr=0.01", "reconstruction", 1.5, 0.01, 0.01, (0.005, 0.02), 1000)
    metadata["thresholds"] = [threshold.to_dict()]
    write_bundle(path, metadata, tensors)
    header = tmp_path / "out.hpp"
    assert main(["export", str(path), "--header", str(header), "--namespace", "jets"]) == 0
    assert "wrote" in capsys.readouterr().out
    source = tmp_path / "main.cpp"
    source.write_text(
        f'#include "{header}"\n#include <cstdio>\n#include <cmath>\n'
        "int main() {\n"
        "  for (const char *name : jets::feature_names) std::puts(name);\n"
        '  std::printf("%s %g %d %d %d\\n", jets::threshold_names[0], (double)jets::thresholds[0],'
        " jets::anomalous(1.5f, jets::thresholds[0]), jets::anomalous(1.6f, jets::thresholds[0]),"
        " jets::anomalous(NAN, jets::thresholds[0]));\n}\n"
    )
    run(tool("g++"), *FLAGS, source, "-o", tmp_path / "main")
    lines = run(tmp_path / "main").splitlines()
    assert lines == [*metadata["features"], "fpr=0.01 1.5 0 1 1"]


@pytest.mark.parametrize("name", ["1st", "a-b", "a__b", "_a", "größe"])
def test_a_namespace_that_is_none_is_an_error(
    make_bundle: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError, match="namespace: expected a C\\+\\+ identifier"):
        cpp_header(make_bundle([3, 2]), namespace=name)


def test_a_damaged_file_is_not_exported(
    make_bundle: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_bundle([3, 2])
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    header = tmp_path / "out.hpp"
    assert main(["export", str(path), "--header", str(header)]) == 2
    assert "checksum mismatch" in capsys.readouterr().err
    assert not header.exists()
