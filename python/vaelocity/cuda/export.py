"""A model compiled ahead of time: a C file with the GPU kernels, the parameters and a launcher.

The C file needs the driver alone (libcuda.so.1, loaded when opened): no Python, no Triton and no
CUDA toolkit where it is built or where it runs.
"""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity._core import Model, __version__
from vaelocity.bundle import read_bundle, write_atomically
from vaelocity.cuda.compile import argument_types, compile_program
from vaelocity.cuda.config import Launch
from vaelocity.cuda.plan import network
from vaelocity.cuda.program import Program, program

ROWS = {
    "float32": ("fp32", "float", 4),
    "bfloat16": ("bf16", "bfloat16", 2),
    "float16": ("fp16", "float16", 2),
}

_SCRATCH_BYTES = {"bf16": 2, "fp32": 4}


def export_cubin(
    path: str | os.PathLike[str],
    arch: str,
    folder: str | os.PathLike[str],
    *,
    name: str | None = None,
    kind: str | None = None,
    precision: str = "float32",
    rows: str = "float32",
) -> list[Path]:
    """Write NAME.c, NAME.h and the two kernels NAME_few.cubin and NAME_many.cubin.

    Args:
        path: the .vael file.
        arch: the GPU's architecture, "sm_90". A cubin runs on that one alone.
        folder: where to write.
        name: prefix of files and C functions; None takes the model file's name.
        kind: the score; None takes the file's own.
        precision: float32, tf32 or bf16.
        rows: float32, bfloat16 or float16, how rows lie in device memory.

    Returns:
        The files.

    Raises:
        BundleError: as vaelocity.load.
        ValueError: an unknown architecture, precision or type, or a name that C does not allow.
    """
    if not re.fullmatch(r"sm_\d{2,3}", arch):
        raise ValueError(f"arch: expected sm_NN, got {arch!r}")
    if rows not in ROWS:
        raise ValueError(f"rows: expected one of {', '.join(ROWS)}, got {rows!r}")
    name = name or re.sub(r"\W|^(?=\d)", "_", Path(path).stem)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"name: expected a name that C allows, got {name!r}")
    model = Model.from_file(os.fspath(path), kind or "", "", False)
    made = program(network(*read_bundle(path), kind), arch, precision)
    kernels = {
        which: compile_program(made, launch, arch, ROWS[rows][0])
        for which, launch in (("few", made.config.few), ("many", made.config.many))
    }
    values = _values(made, kernels, name, arch, rows, model.checksum)
    target = Path(folder)
    found = {f"{name}_{which}.cubin": kernel.asm["cubin"] for which, kernel in kernels.items()}
    for suffix in ("h", "c"):
        template = (files("vaelocity.cuda") / f"launcher.{suffix}.in").read_text()
        found[f"{name}.{suffix}"] = Template(template).substitute(values).encode()
    for file, content in found.items():
        write_atomically(target / file, content)
    return [target / file for file in found]


def _values(
    made: Program, kernels: dict[str, Any], name: str, arch: str, rows: str, fingerprint: str
) -> dict[str, Any]:
    """What the templates ask for."""
    extra = {_extra_arguments(kernel, made, rows) for kernel in kernels.values()}
    (extra_arguments,) = extra
    config, net = made.config, made.network
    widths = "-".join(map(str, net.widths))
    scratch = max(made.scratch_elements(launch) for launch in (config.few, config.many))
    return {
        "title": f"{name}: {net.kind} score of a {widths} network, {made.precision}, {arch}.",
        "name": name,
        "macro": name.upper(),
        "guard": f"{name.upper()}_H",
        "version": __version__,
        "fingerprint": fingerprint,
        "n_features": net.n_features,
        "rows_type": ROWS[rows][1],
        "row_bytes": ROWS[rows][2] * net.n_features,
        "scratch_note": ", which has scratch memory of its own" if scratch else "",
        "arrays": _arrays(made, kernels),
        "launches": "".join(
            f"    {_launch(kernels[which], which, launch)},\n"
            for which, launch in (("few", config.few), ("many", config.many))
        ),
        "few_rows": config.few_rows,
        "extra_arguments": extra_arguments,
        "more_arguments": "".join(f", &none[{i}]" for i in range(1, extra_arguments)),
        "scratch_bytes": scratch * _SCRATCH_BYTES[made.scratch_type or "fp32"],
        "scratch_argument": "&scorer->scratch, " if made.scratch_type else "",
        "beta": repr(float(np.float32(net.beta))),
    }


def _extra_arguments(kernel: Any, made: Program, rows: str) -> int:
    """Pointers that Triton adds behind the kernel's own arguments, for memory this kernel does not
    use: they are passed as 0."""
    ptx = kernel.asm["ptx"]
    entry = ptx[ptx.index(".entry") : ptx.index("{", ptx.index(".entry"))]
    used = [getattr(kernel.metadata, f"{what}_scratch_size", 0) for what in ("global", "profile")]
    if any(used):
        raise ValueError(f"arch: this kernel needs {used} bytes of Triton's own scratch memory")
    count: int = entry.count(".param") - len(argument_types(made, ROWS[rows][0]))
    return count


def _launch(kernel: Any, which: str, launch: Launch) -> str:
    shared = int(kernel.metadata.shared)
    numbers = f"{launch.block_rows}, {32 * launch.warps}, {shared}, {launch.per_sm}"
    return f'{{"{kernel.metadata.name}", {which}_cubin, {numbers}}}'


def _arrays(made: Program, kernels: dict[str, Any]) -> str:
    """The kernels and parameters as arrays of 32-bit words."""
    arrays = {f"{which}_cubin": kernel.asm["cubin"] for which, kernel in kernels.items()}
    arrays |= {
        "weights": made.weights.tobytes(),
        "biases": made.biases.tobytes(),
        "scaling": made.plan.scaling.tobytes(),
    }
    return "".join(_array(name, content) for name, content in arrays.items())


def _array(name: str, content: bytes) -> str:
    words: npt.NDArray[np.uint32] = np.frombuffer(content + b"\0" * (-len(content) % 4), "<u4")
    lines = [
        ", ".join(f"0x{word:x}" for word in words[at : at + 12]) for at in range(0, len(words), 12)
    ]
    return f"static const unsigned int {name}[] = {{\n" + ",\n".join(lines) + "};\n"
