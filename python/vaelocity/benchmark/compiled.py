"""C and C++ of this folder, compiled on the machine that is measured."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path


class NotBuilt(RuntimeError):
    """No compiler was found, or it refused; the message says which."""


_COMPILERS = {".cpp": ("C++", ("c++", "g++", "clang++")), ".c": ("C", ("cc", "gcc", "clang"))}


def _compiler(source: Path) -> str:
    language, names = _COMPILERS[source.suffix]
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise NotBuilt(f"no {language} compiler found")
    return found


def build(source: Path, made: Path, *flags: str) -> None:
    """Compile `source` against the package's header and library; raises NotBuilt with the
    compiler's first error."""
    with as_file(files("vaelocity")) as package:
        command = [_compiler(source), *flags, f"-I{package / 'include'}", str(source)]
        command += [str(package / "lib" / "libvaelocity.a"), "-o", str(made)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        lines = built.stderr.strip().splitlines()
        raise NotBuilt(next((line for line in lines if "error" in line), lines[-1]))


def shared_library(name: str, *flags: str, sources: Sequence[tuple[str, str]] = ()) -> ctypes.CDLL:
    """The file `name` of this folder as a library in this process. sources: (name, text) of files
    that it includes. Raises NotBuilt."""
    with tempfile.TemporaryDirectory() as folder:
        for each, text in sources:
            Path(folder, each).write_text(text)
        made = Path(folder, f"{Path(name).stem}.so")
        with as_file(files("vaelocity") / "benchmark" / name) as source:
            build(source, made, "-shared", "-fPIC", f"-I{folder}", *flags)
        return ctypes.CDLL(str(made))  # stays mapped when the file is gone
