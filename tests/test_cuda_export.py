"""A model compiled ahead of time: built by a C compiler without CUDA, and run up to the launch with
a driver that prints instead of launching."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from physics_networks import network as network_of
from physics_networks import promised

from vaelocity.bundle import read_bundle

pytest.importorskip("triton")

from vaelocity.cuda.export import export_cubin
from vaelocity.cuda.plan import network
from vaelocity.cuda.program import program, programs_to_launch

SOURCES = Path(__file__).parent / "cuda_launcher"
CC = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]

pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler")


def cc(*arguments: object) -> None:
    done = subprocess.run(
        [str(CC), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def build(path: Path, folder: Path, precision: str, rows: str) -> Path:
    """The program of cuda_launcher/main.c, and the driver beside it."""
    found = export_cubin(path, "sm_90", folder, name="model", precision=precision, rows=rows)
    names = ["model_few.cubin", "model_many.cubin", "model.h", "model.c"]
    assert [file.name for file in found] == names
    flags = [*FLAGS, "-D_POSIX_C_SOURCE=200809L"]
    cc(*flags, "-I", folder, SOURCES / "main.c", folder / "model.c", "-o", folder / "main", "-ldl")
    (folder / "driver").mkdir()
    cc("-shared", "-fPIC", SOURCES / "fake_driver.c", "-o", folder / "driver" / "libcuda.so.1")
    return folder / "main"


def run(main: Path, **environment: str) -> tuple[int, str]:
    variables = {**os.environ, "LD_LIBRARY_PATH": str(main.parent / "driver"), **environment}
    done = subprocess.run([main], env=variables, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def hashed(values: np.ndarray) -> str:
    """As fake_driver.c: size and FNV-1a, of whole 32-bit words."""
    content = values.tobytes()
    content += b"\0" * (-len(content) % 4)
    value = 14695981039346656037
    for byte in content:
        value = (value ^ byte) * 1099511628211 % (1 << 64)
    return f"{len(content)} {value:x}"


@pytest.mark.parametrize(
    ("widths", "precision", "rows"),
    [([19, 16, 3], "bf16", "float32"), ([130, 20, 3], "float32", "bfloat16")],
)
def test_everything_up_to_the_launch(
    make_bundle: Callable[..., Path], tmp_path: Path, widths: list[int], precision: str, rows: str
) -> None:
    path = make_bundle(widths, gaussian=True)
    main = build(path, tmp_path, precision, rows)
    made = program(network(*read_bundle(path)), "sm_90", precision)
    config = made.config
    scratch = made.scratch_type is not None
    if scratch:
        # main.c's row stride must hold a row.
        text = (SOURCES / "main.c").read_text().replace(", 64,", ", 130,")
        (tmp_path / "main.c").write_text(text)
        cc("-I", tmp_path, tmp_path / "main.c", tmp_path / "model.c", "-o", main, "-ldl")
    code, output = run(main, **({"FAKE_SCRATCH": "1"} if scratch else {}))
    assert code == 0, output
    lines = output.splitlines()
    kernel = "score_wide" if scratch else "score"
    assert lines.count(f"function {kernel}") == 2
    launches = [line for line in lines if line.startswith("launch")]
    for line, n in zip(launches, (1, 1000, 1_000_000), strict=True):
        launch = config.launch(n)
        programs = programs_to_launch(n, launch, 132)
        start = f"launch {programs} 1 1 threads {32 * launch.warps} 1 1 shared "
        assert line.startswith(start), (line, start)
        assert line.endswith("stream 0x5 extra (nil)")
        assert f"programs {programs}" in lines
        assert f"row_stride {130 if scratch else 64} n {n}" in lines
    for name, values in (
        ("weights", made.weights),
        ("biases", made.biases),
        ("scaling", made.plan.scaling),
    ):
        assert lines.count(f"{name} {hashed(values)}") == 3, name
    assert lines.count("beta 0.699999988 threshold 2.5") == 3
    assert lines.count("pointers 11 22 33 44") == 3
    assert lines.count("extra 0") == 6
    assert "bad -1 -1 -1 nothing 0" in lines
    assert lines[-1] == "left: 0 modules, 0 allocations"
    if scratch:
        most = max(launch.per_sm for launch in (config.few, config.many))
        each = max(made.scratch_elements(launch) for launch in (config.few, config.many))
        assert lines.count(f"scratch {132 * most * each * 4}") == 3
    _check_errors(main, tmp_path)


def test_columns_loss_and_bounds_travel_in_the_parameters(tmp_path: Path) -> None:
    """They are rows of `scaling` and constants of the kernel: the launch is as for other models."""
    path = tmp_path / "model.vael"
    content = network_of(("missing", "log1p"), "huber", bounded=True)
    path.write_bytes(promised(*content, ["reconstruction"]))
    main = build(path, tmp_path, "bf16", "float32")
    made = program(network(*read_bundle(path)), "sm_90", "bf16")
    assert made.plan.scaling.size == 32 * (2 + 3) + 2 * 32
    code, output = run(main)
    assert code == 0, output
    lines = output.splitlines()
    assert lines.count(f"scaling {hashed(made.plan.scaling)}") == 3
    assert lines.count("pointers 11 22 33 44") == 3
    assert lines[-1] == "left: 0 modules, 0 allocations"


def _check_errors(main: Path, folder: Path) -> None:
    code, output = run(main, FAKE_NO_KERNEL_IMAGE="1")
    assert code == 1
    assert "open: 209 the kernels and parameters of model cannot be loaded: CUDA status" in output
    assert "left: 0 modules, 0 allocations" in output
    (folder / "driver" / "libcuda.so.1").write_bytes(b"")
    code, output = run(main)
    assert code == 1
    assert "open: -1 libcuda.so.1 cannot be loaded: is there an NVIDIA driver?" in output


def test_the_header_is_also_cpp(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    path = make_bundle([5, 4, 2])
    export_cubin(path, "sm_80", tmp_path, name="model", precision="tf32")
    source = tmp_path / "use.cpp"
    source.write_text('#include "model.h"\nint main() { model_close(nullptr); }\n')
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    command = [compiler, "-fsyntax-only", "-Wall", "-Werror", source]
    subprocess.run(command, check=True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"arch": "hopper"}, "arch: expected sm_NN, got 'hopper'"),
        ({"rows": "float64"}, "rows: expected one of float32, bfloat16, float16, got 'float64'"),
        ({"name": "a b"}, "name: expected a name that C allows, got 'a b'"),
        ({"precision": "fp8"}, "precision: expected one of float32, tf32, bf16, got 'fp8'"),
    ],
)
def test_bad_arguments(
    make_bundle: Callable[..., Path], tmp_path: Path, arguments: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        export_cubin(make_bundle([5, 4, 2]), **{"arch": "sm_90", "folder": tmp_path, **arguments})
    assert not list(tmp_path.glob("*.c*"))


def test_the_command(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    from vaelocity.cli import main

    path = make_bundle([5, 4, 2])
    given = ["export", str(path), "--output-dir", str(tmp_path), "--namespace", "toy"]
    assert main([*given, "--cubin", "sm_90"]) == 0
    names = ["toy.c", "toy.h", "toy_few.cubin", "toy_many.cubin"]
    assert sorted(file.name for file in tmp_path.glob("toy*")) == names
    assert main([*given, "--cubin", "gfx942"]) == 2
    assert main(given) == 2
