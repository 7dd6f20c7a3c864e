"""`vaelocity export-cubin`: a model compiled ahead of time for a GPU, as C files."""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from vaelocity.cli import console, options
from vaelocity.cli.console import CommandError


class Precision(StrEnum):
    """Of the operands of the layers' products."""

    float32 = "float32"
    tf32 = "tf32"
    bf16 = "bf16"


class Rows(StrEnum):
    """How rows lie in device memory."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def export_cubin(
    bundle: options.Bundle,
    arch: Annotated[str, typer.Argument(metavar="ARCH", help="The GPU's architecture: sm_90.")],
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", metavar="FOLDER", help="Where to write.")
    ] = Path(),
    name: Annotated[
        str | None,
        typer.Option("--name", help="Prefix of files and functions; default: the model file's."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Score kind; default: the model's own.")
    ] = None,
    precision: Annotated[Precision, typer.Option("--precision")] = Precision.float32,
    rows: Annotated[Rows, typer.Option("--rows", help="Type of the rows.")] = Rows.float32,
    debug: options.Debug = False,
) -> None:
    """Compile a model for a GPU, ahead of time: C files that need the NVIDIA driver alone.

    Writes the kernels as .cubin files, and a .c and .h with the same kernels, the parameters and a
    launcher. No GPU and no CUDA toolkit is needed to make or to build them.
    """
    if not output_dir.is_dir():
        raise CommandError(f"--output-dir: there is no folder {output_dir}")
    if find_spec("triton") is None:
        raise CommandError("export-cubin needs triton: pip install 'vaelocity[gpu]'")
    from vaelocity.cuda.export import export_cubin as write

    found = write(bundle, arch, output_dir, name=name, kind=kind, precision=precision, rows=rows)
    for path in found:
        console.note(f"wrote {path}: {path.stat().st_size:,} bytes")
    source = next(path for path in found if path.suffix == ".c")
    console.note(f"build: cc -O2 -c {source} (link with -ldl)")
