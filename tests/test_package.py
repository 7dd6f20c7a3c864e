"""The installed package: what is in it, where C++ finds it, and what importing it loads."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.resources
import re
import subprocess
import sys
from pathlib import Path

import vaelocity
from vaelocity import _core

ROOT = Path(__file__).parents[1]
INSTALLED = importlib.resources.files("vaelocity")


def installed_names() -> set[str]:
    """Every file that pip put there, below the package's folder or its metadata's."""
    files = importlib.metadata.files("vaelocity")
    assert files is not None
    return {file.as_posix() for file in files}


def test_the_version_is_written_once() -> None:
    header = (ROOT / "csrc/include/vaelocity/version.h").read_text()
    found = re.search(r'VAELOCITY_VERSION "([^"]+)"', header)
    assert found is not None
    assert vaelocity.__version__ == found[1] == importlib.metadata.version("vaelocity")
    shipped = INSTALLED.joinpath("include/vaelocity/version.h").read_text()
    assert shipped == header
    config = INSTALLED.joinpath("lib/cmake/vaelocity/vaelocityConfigVersion.cmake").read_text()
    assert f'set(PACKAGE_VERSION "{found[1]}")' in config


def test_the_library_for_cpp_comes_with_it() -> None:
    for name in (
        "lib/libvaelocity.a",
        "lib/cmake/vaelocity/vaelocityConfig.cmake",
        "lib/cmake/vaelocity/vaelocityTargets.cmake",
    ):
        assert INSTALLED.joinpath(name).is_file(), name
    for header in (ROOT / "csrc/include/vaelocity").iterdir():
        shipped = INSTALLED.joinpath("include/vaelocity", header.name)
        assert shipped.read_bytes() == header.read_bytes(), header.name
    # scikit-build-core looks here when another project's build asks for find_package(vaelocity).
    (root,) = importlib.metadata.entry_points(group="cmake.root", name="vaelocity")
    assert root.value == "vaelocity"


def test_everything_it_needs_to_run_is_inside_and_nothing_else() -> None:
    assert importlib.import_module("vaelocity.kernels").__doc__

    for name in (
        "py.typed",
        "_core.pyi",
        "data/jets/sample.npz",
        "report/templates/report.html.j2",
    ):
        assert INSTALLED.joinpath(name).is_file(), name
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="vaelocity")
    assert script.value == "vaelocity.cli:main"
    names = installed_names()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    compiled = {"latency", "one_event", "onnxruntime_c", "each_row"}  # by `vaelocity bench`
    for name in names - {f"vaelocity/benchmark/{stem}.cpp" for stem in compiled}:
        parts = name.split("/")
        assert not {"tests", "bench", "csrc", "build"} & set(parts), name
        assert not name.endswith((".cpp", ".o", ".log")), name


def test_what_it_requires() -> None:
    """NumPy alone: a machine that only scores installs no torch."""
    requires = importlib.metadata.requires("vaelocity") or []
    assert [line for line in requires if "extra ==" not in line] == ["numpy>=1.26"]


def test_importing_it_imports_neither_torch_nor_triton() -> None:
    program = """
import sys, vaelocity
from vaelocity import data
heavy = {"torch", "triton", "pyarrow", "scipy", "matplotlib", "typer", "rich", "safetensors"}
print(sorted(heavy & set(sys.modules)), sorted(dir(vaelocity)) == sorted(vaelocity.__all__))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "True"]


def test_the_stub_of_the_extension_says_what_is_there() -> None:
    """_core.pyi against the extension: names, members, and the parameters of every method."""
    stub = ast.parse(INSTALLED.joinpath("_core.pyi").read_text())
    stated = {node.name: node for node in stub.body if isinstance(node, ast.FunctionDef)}
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    values = {
        node.target.id
        for node in stub.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and ast.unparse(node.annotation) != "TypeAlias"
    }
    public = {name for name in dir(_core) if not name.startswith("_")} | {"__version__"}
    assert stated.keys() | {n for n in classes if not n.startswith("_")} | values == public
    for name, node in stated.items():
        assert _parameters(getattr(_core, name)) == _names(node), name
    members = {n.name: n for n in classes["Model"].body if isinstance(n, ast.FunctionDef)}
    assert members.keys() == {name for name in dir(_core.Model) if not name.startswith("_")}
    for name, node in members.items():
        member = getattr(_core.Model, name)
        if callable(member):
            assert _parameters(member) == _names(node), name


def _names(node: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in node.args.args]


def _parameters(function: object) -> list[str]:
    """What pybind11 writes into the first line of a docstring: name(self: T, rows: U = v) -> R."""
    first = (function.__doc__ or "").splitlines()[0]
    inside = re.sub(r"\[[^\[\]]*\]", "", re.sub(r"\[[^\[\]]*\]", "", first))
    inside = inside[inside.index("(") + 1 : inside.rindex(") ->")]
    return [part.partition(":")[0].strip() for part in inside.split(",") if part.strip()]


def test_no_name_is_promised_and_missing() -> None:
    for name in vaelocity.__all__:
        assert getattr(vaelocity, name) is not None
