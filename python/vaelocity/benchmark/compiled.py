"""C and C++ of this folder, compiled on the machine that is measured."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]


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


def each_row(library: ctypes.CDLL, n: int) -> Callable[[Rows], Callable[[], Rows]]:
    """For `Way.bind`: rows [n, d] -> a call of the library's score_each(rows, n, scores)."""
    score = library.score_each
    score.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]

    def bind(rows: Rows) -> Callable[[], Rows]:
        scores = np.empty(n, np.float32)
        at, to = rows.ctypes.data, scores.ctypes.data

        def call() -> Rows:
            score(at, n, to)
            return scores

        return call

    return bind
