"""`vaelocity export`: a model file as a C++ header that needs no library, or compiled for a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaelocity.bundle import write_atomically
from vaelocity.cli import console, options
from vaelocity.cli.console import CommandError
from vaelocity.cli.export_cubin import Precision, Rows, write_cubin

_GPU = "With --cubin"


def export(
    bundle: options.Bundle,
    header: Annotated[
        Path | None,
        typer.Option("--header", metavar="FILE.hpp", help="The C++17 header to write."),
    ] = None,
    cubin: Annotated[
        str | None,
        typer.Option("--cubin", metavar="ARCH", help="Compile for a GPU instead: sm_90."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--score-kind", help="The score; default: the file's own.")
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", help="Of the header, or prefix of the C names; default: the file's name."
        ),
    ] = None,
    output_dir: Annotated[
        Path, typer.Option("--output-dir", rich_help_panel=_GPU, help="Where to write.")
    ] = Path(),
    precision: Annotated[
        Precision, typer.Option("--precision", rich_help_panel=_GPU)
    ] = Precision.float32,
    rows: Annotated[
        Rows, typer.Option("--rows", rich_help_panel=_GPU, help="Type of the rows.")
    ] = Rows.float32,
    debug: options.Debug = False,
) -> None:
    """Write a model as one self-contained C++17 header, or as C files with its GPU kernels.

    The header's scores are those of the library bit for bit when compiled with -ffp-contract=off;
    its function verify() replays the model's conformance rows. The header tells the flags.

    With --cubin: the kernels as .cubin files, and a .c and .h with the same kernels, the parameters
    and a launcher. To make and to build them takes neither a GPU nor a CUDA toolkit; to run them,
    the NVIDIA driver.
    """
    if (header is None) == (cubin is None):
        raise CommandError("export: expected --header FILE.hpp or --cubin ARCH, one of them")
    if header is None:
        assert cubin is not None
        write_cubin(bundle, cubin, output_dir, namespace, kind, precision, rows)
        return
    from vaelocity.export import cpp_header

    options.check_output(header)
    text = cpp_header(bundle, kind=kind, namespace=namespace)
    write_atomically(header, text.encode())
    console.out().print(
        f"wrote {header}: {len(text.encode()):,} bytes; compile with -ffp-contract=off",
        soft_wrap=True,
        highlight=False,
    )
