"""`vaelocity export`: a model file as one C++ header that needs no library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaelocity.bundle import write_atomically
from vaelocity.cli import console, options


def export(
    bundle: options.Bundle,
    header: Annotated[
        Path, typer.Option("--header", metavar="FILE.hpp", help="The C++17 header to write.")
    ],
    kind: Annotated[
        str | None, typer.Option("--score-kind", help="The score; default: the file's own.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", help="Default: the model file's name.")
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Write a model as one self-contained C++17 header with its weights inside.

    Its scores are those of the library bit for bit when compiled with -ffp-contract=off; its
    function verify() replays the model's conformance rows. The header tells the flags.
    """
    from vaelocity.export import cpp_header

    options.check_output(header)
    text = cpp_header(bundle, kind=kind, namespace=namespace)
    write_atomically(header, text.encode())
    console.out().print(
        f"wrote {header}: {len(text.encode()):,} bytes; compile with -ffp-contract=off",
        highlight=False,
        soft_wrap=True,
    )
