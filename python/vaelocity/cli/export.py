"""`vaelocity export`: a model file as a C++ header, an ONNX graph, or compiled for a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import vaelocity
from vaelocity.bundle import write_atomically
from vaelocity.cli import console, options
from vaelocity.cli.console import CommandError
from vaelocity.cli.export_cubin import Precision, Rows, write_cubin
from vaelocity.cli.export_onnx import write_onnx, write_qonnx, write_repository
from vaelocity.narrowing import narrow

_GPU = "With --cubin"
_FPGA = "With --qonnx"


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
    onnx: Annotated[
        Path | None,
        typer.Option("--onnx", metavar="FILE.onnx", help="An ONNX graph, preprocessing to score."),
    ] = None,
    triton_repository: Annotated[
        Path | None,
        typer.Option(
            "--triton-repository",
            metavar="FOLDER",
            help="A model repository of the NVIDIA Triton server, with such a graph.",
        ),
    ] = None,
    qonnx: Annotated[
        Path | None,
        typer.Option("--qonnx", metavar="FILE.onnx", help="A quantised ONNX graph for hls4ml."),
    ] = None,
    bfloat16: Annotated[
        Path | None,
        typer.Option(
            "--bfloat16", metavar="MODEL.vael", help="A model file with bfloat16 weights."
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            "--threshold", help="Of --onnx and --triton-repository; default: the model's first."
        ),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--score-kind", help="The score; default: the file's own.")
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace",
            help="Of the header, prefix of the C names, or name of the served model; default: the "
            "file's name.",
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
    weight_bits: Annotated[
        int | None,
        typer.Option("--weight-bits", rich_help_panel=_FPGA, help="Sign included; default 16."),
    ] = None,
    activation_bits: Annotated[
        int | None,
        typer.Option("--activation-bits", rich_help_panel=_FPGA, help="Sign included; default 16."),
    ] = None,
    integer_bits: Annotated[
        int | None,
        typer.Option(
            "--integer-bits",
            rich_help_panel=_FPGA,
            help="Of the activation bits, those above the point, sign included; default 6.",
        ),
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Write a model as one self-contained C++17 header, as ONNX, or as C files with GPU kernels.

    The header's scores are those of the library bit for bit when compiled with -ffp-contract=off;
    its function verify() replays the model's conformance rows. The header tells the flags.

    With --cubin: the kernels as .cubin files, and a .c and .h with the same kernels, the parameters
    and a launcher. To make and to build them takes neither a GPU nor a CUDA toolkit; to run them,
    the NVIDIA driver.

    With --onnx: rows [n, d] to score [n] and, where there is a threshold, anomalous [n]; scores
    agree with the library's up to float32 rounding.

    With --qonnx: the dense network that the score needs, with a Quant node behind every value;
    standardised features [1, d] to reconstruction or latent. The score is computed outside.

    With --bfloat16: a model file whose weights are rounded to bfloat16, for networks that do not
    fit into the cache. It is another model: find thresholds of its own.
    """
    forms = (header, cubin, onnx, triton_repository, qonnx, bfloat16)
    if sum(form is not None for form in forms) != 1:
        raise CommandError(
            "export: expected --header FILE.hpp, --cubin ARCH, --onnx FILE.onnx, "
            "--qonnx FILE.onnx, --triton-repository FOLDER or --bfloat16 MODEL.vael, one of them"
        )
    if threshold is not None and onnx is None and triton_repository is None:
        raise CommandError("--threshold: only with --onnx or --triton-repository")
    bits = {
        "weight_bits": weight_bits,
        "activation_bits": activation_bits,
        "integer_bits": integer_bits,
    }
    given = {name: value for name, value in bits.items() if value is not None}
    if given and qonnx is None:
        raise CommandError(f"--{next(iter(given)).replace('_', '-')}: only with --qonnx")
    if qonnx is not None:
        write_qonnx(bundle, qonnx, kind, given)
        return
    if bfloat16 is not None:
        _write_narrow(bundle, bfloat16)
        return
    if onnx is not None:
        write_onnx(bundle, onnx, kind, threshold)
        return
    if triton_repository is not None:
        write_repository(bundle, triton_repository, namespace, kind, threshold)
        return
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


def _write_narrow(bundle: Path, output: Path) -> None:
    """The model file with bfloat16 weights; thresholds that it cannot have are told."""
    options.check_output(output)
    try:
        narrow(bundle, output)
    except ValueError as error:
        raise CommandError(f"{bundle}: {error}") from error
    before, after = bundle.stat().st_size, output.stat().st_size
    console.out().print(f"wrote {output}: {after:,} bytes instead of {before:,}", soft_wrap=True)
    left_out = len(vaelocity.load(bundle, verify=False).metadata.get("thresholds", []))
    if left_out:
        console.warn(
            f"{left_out} threshold{'s' * (left_out > 1)} of the other model left out: "
            "vaelocity threshold finds new ones"
        )
