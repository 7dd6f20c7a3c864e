"""`vaelocity export --cubin`: a model compiled ahead of time for a GPU, as C files."""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from vaelocity.cli import console
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


def write_cubin(
    bundle: Path,
    arch: str,
    output_dir: Path,
    name: str | None,
    kind: str | None,
    precision: Precision,
    rows: Rows,
) -> None:
    """Write the files, and say which."""
    if not output_dir.is_dir():
        raise CommandError(f"--output-dir: there is no folder {output_dir}")
    if find_spec("triton") is None:
        raise CommandError("--cubin needs triton: pip install 'vaelocity[gpu]'")
    from vaelocity.cuda.export import export_cubin as write

    found = write(bundle, arch, output_dir, name=name, kind=kind, precision=precision, rows=rows)
    for path in found:
        console.out().print(
            f"wrote {path}: {path.stat().st_size:,} bytes", soft_wrap=True, highlight=False
        )
    source = next(path for path in found if path.suffix == ".c")
    console.out().print(
        f"build: cc -O2 -c {source} (link with -ldl)", soft_wrap=True, highlight=False
    )
