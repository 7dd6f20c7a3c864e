"""The C++ library as a trigger gets it: built by CMake alone, installed, found, linked; and its own
tests, plain and under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vaelocity
from vaelocity import _core

ROOT = Path(__file__).parents[1]


def tool(name: str) -> str:
    """The tool beside this interpreter (a PyPI package), else the system's."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str | Path, timeout: int = 900) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def build(folder: Path, source: Path, *options: str) -> Path:
    configure = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"]
    run(tool("cmake"), *configure, "-S", source, "-B", folder, *options)
    run(tool("cmake"), "--build", folder)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(
        tmp_path_factory.mktemp("plain"),
        ROOT,
        "-DVAELOCITY_BUILD_TESTS=ON",
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-DCMAKE_INSTALL_PREFIX={tmp_path_factory.mktemp('prefix')}",
        "-DCMAKE_INSTALL_LIBDIR=lib",
    )


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(
        tmp_path_factory.mktemp("sanitized"),
        ROOT,
        "-DVAELOCITY_BUILD_TESTS=ON",
        f"-DPython_EXECUTABLE={sys.executable}",
        "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
        "-DVAELOCITY_SANITIZE=address,undefined",
    )


@pytest.fixture
def bundles(make_bundle: Callable[..., Path]) -> list[Path]:
    return [
        make_bundle([59, 64, 32, 16]),
        make_bundle([57, 32, 16, 3], gaussian=True, activation="tanh"),
        make_bundle([1, 1]),
        make_bundle([17, 5, 2], gaussian=True, activation="gelu"),
        make_bundle([130, 70, 20], activation="elu"),
        make_bundle([16, 33, 7], activation="sigmoid"),
        make_bundle([64, 31, 15], gaussian=True, activation="silu"),
        make_bundle([3, 100, 49], activation="leaky_relu"),
    ]


@pytest.mark.parametrize("isa", _core.available_isas())
def test_vector_maths_is_accurate_and_the_same_on_every_instruction_set(
    plain: Path, isa: str
) -> None:
    run(plain / "tests" / "cpp" / f"test_math_{isa}")


def test_scores_do_not_depend_on_batch_stride_layout_or_isa_and_nothing_is_allocated(
    plain: Path, bundles: list[Path]
) -> None:
    out = run(plain / "tests" / "cpp" / "test_score", *bundles)
    assert "0 failures, allocations counted" in out


def test_no_byte_beyond_a_row_is_read_and_no_behaviour_undefined(
    sanitized: Path, bundles: list[Path]
) -> None:
    out = run(sanitized / "tests" / "cpp" / "test_score", *bundles)
    assert "0 failures" in out


def test_ops_give_the_same_bits_on_every_instruction_set(plain: Path) -> None:
    assert "0 failures" in run(plain / "tests" / "cpp" / "test_ops")


def test_ops_touch_nothing_beyond_their_rows(sanitized: Path) -> None:
    assert "0 failures" in run(sanitized / "tests" / "cpp" / "test_ops")


def test_installed_library_is_found_and_scores_from_c_and_cpp(
    plain: Path, tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    run(tool("cmake"), "--install", plain)
    cache = (plain / "CMakeCache.txt").read_text()
    prefix = next(
        line.split("=", 1)[1]
        for line in cache.splitlines()
        if line.startswith("CMAKE_INSTALL_PREFIX")
    )
    consumer = build(
        tmp_path / "consumer", ROOT / "tests" / "consumer", f"-Dvaelocity_ROOT={prefix}"
    )
    bundle = make_bundle([59, 64, 32, 16])
    expected = vaelocity.load(bundle).score(np.zeros((1, 59), np.float32))[0]
    for name in ("consumer_c", "consumer_cpp"):
        score, flags = run(consumer / name, bundle).split()
        assert np.float32(float.fromhex(score)) == expected
        assert flags == "0"
        failed = subprocess.run(
            [consumer / name, os.devnull], check=False, capture_output=True, text=True
        )
        assert failed.returncode == 1
        assert "not a .vael file" in failed.stderr


def test_units_of_an_instruction_set_export_one_table_and_nothing_a_linker_could_share(
    plain: Path,
) -> None:
    """A weak symbol outside its own namespace could replace the one older machines run."""
    objects = list(plain.glob("CMakeFiles/vaelocity_*.dir/**/*.o"))
    assert objects
    for unit in objects:
        isa = unit.relative_to(plain).parts[1].removeprefix("vaelocity_").removesuffix(".dir")
        for line in run("nm", "-C", "--defined-only", unit).splitlines():
            _, kind, name = line.split(maxsplit=2)
            if kind in "tTrRdDbB" and kind.islower():
                continue
            assert f"vael::{isa}::" in name or name.endswith(f"_{isa}"), (unit.name, line)


def test_the_border_holds() -> None:
    """No Python and no torch outside csrc/bind; no C++ library header where an ISA is compiled."""
    for path in (ROOT / "csrc").rglob("*"):
        if path.suffix not in {".h", ".hpp", ".cpp"}:
            continue
        includes = [line for line in path.read_text().splitlines() if line.startswith("#include")]
        where = path.relative_to(ROOT / "csrc").as_posix()
        if not where.startswith("bind/"):
            assert not [i for i in includes if "pybind11" in i or "torch" in i or "Python" in i], (
                where
            )
        if where.startswith(("src/simd/", "src/score/kernels/", "src/ops/")):
            system = [i for i in includes if "<" in i]
            assert all(i.endswith(".h>") for i in system), (where, system)
