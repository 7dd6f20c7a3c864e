"""The source distribution: what is in it builds, without the repository around it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("scikit_build_core") is None, reason="needs scikit-build-core"
)

_BUILD = "import sys; from scikit_build_core.build import {0}; print({0}(sys.argv[1]))"


def built(what: str, source: Path, target: Path, **environment: str) -> Path:
    """The file that the build backend makes of `source`, as pip would ask it to."""
    done = subprocess.run(
        [sys.executable, "-c", _BUILD.format(what), str(target)],
        cwd=source, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built("build_sdist", ROOT, folder)) as archive:
        archive.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def test_it_holds_the_sources_and_no_results(sdist: Path) -> None:
    for folder in ("csrc", "kernels", "python/vaelocity"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                assert (sdist / path.relative_to(ROOT)).is_file(), path
    names = {path.name for path in sdist.iterdir()}
    assert {"pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE", "tests", "docs"} <= names
    assert not names & {"build", ".venv", ".ci"}
    assert not (sdist / "bench/results").exists()


def test_a_wheel_is_built_from_it(sdist: Path, tmp_path: Path) -> None:
    """Without optimisation, to be quick; its files are those of the package that is installed."""
    wheel = built(
        "build_wheel", sdist, tmp_path,
        SKBUILD_CMAKE_BUILD_TYPE="Debug", CMAKE_BUILD_PARALLEL_LEVEL="2",
    )  # fmt: skip
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {
        f"vaelocity/{path.relative_to(ROOT / 'python/vaelocity')}"
        for path in (ROOT / "python/vaelocity").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert sources <= names
    assert any(name.startswith("vaelocity/_core.") and name.endswith(".so") for name in names)
    assert "vaelocity/lib/libvaelocity.a" in names
