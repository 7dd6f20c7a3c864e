"""Building the C++ side in a test: tools, commands, CMake."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def tool(name: str, *, package: str | None = None) -> str:
    """The tool beside this interpreter (a PyPI package), else the system's; skips without it."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed" + (f": apt-get install {package}" * bool(package)))
    return found


def clang() -> str:
    """Debian's newest clang++; skips without one."""
    for version in range(30, 17, -1):
        if found := shutil.which(f"clang++-{version}"):
            return found
    pytest.skip("no clang++-18 or newer: apt-get install clang-22 libclang-rt-22-dev")


def run(*command: str | Path, timeout: int = 900) -> str:
    """The command's stdout; anything but exit code 0 fails the test with what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def build(folder: Path, source: Path, *options: str, targets: tuple[str, ...] = ()) -> Path:
    """Configure and build a CMake project in `folder`."""
    configure = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"]
    run(tool("cmake"), *configure, "-S", source, "-B", folder, *options)
    chosen = ["--target", *targets] if targets else []
    run(tool("cmake"), "--build", folder, *chosen)
    return folder


def library(folder: Path, *options: str, targets: tuple[str, ...] = ()) -> Path:
    """This project with its C++ tests, built in `folder`."""
    interpreter = f"-DPython_EXECUTABLE={sys.executable}"
    tests = "-DVAELOCITY_BUILD_TESTS=ON"
    return build(folder, ROOT, tests, interpreter, *options, targets=targets)


def sanitized_library(
    folder: Path, sanitizers: str, *options: str, targets: tuple[str, ...] = ()
) -> Path:
    """The same under sanitizers, with little optimisation: it compiles in half the time."""
    return library(
        folder,
        "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
        "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1",
        "-DVAELOCITY_BUILD_SHARED=OFF",
        f"-DVAELOCITY_SANITIZE={sanitizers}",
        *options,
        targets=targets,
    )
