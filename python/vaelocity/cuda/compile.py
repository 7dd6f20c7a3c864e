"""Compiling a kernel for a GPU that need not be here: for `vaelocity export --cubin`, and for the
tests of what a kernel costs (registers, stack, shared memory)."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaelocity.cuda.config import Launch
from vaelocity.cuda.program import Program

# What launching and compiling have in common: without it Triton 3.9 warns that its default will
# change, and a change would change bits.
OPTIONS = {"enable_fp_fusion": True}


@dataclass(frozen=True)
class Resources:
    """What a program of a kernel takes. Registers a thread; bytes of stack a thread, of shared
    memory a program."""

    registers: int
    stack: int
    shared: int


def target(arch: str) -> Any:
    """The Triton target of "sm_90", "gfx942", ...

    Raises ValueError for a name of another form.
    """
    from triton.backends.compiler import GPUTarget

    if match := re.fullmatch(r"sm_(\d{2,3})", arch):
        return GPUTarget("cuda", int(match[1]), 32)
    if re.fullmatch(r"gfx9[0-9a-f]+", arch):
        return GPUTarget("hip", arch, 64)
    raise ValueError(f"arch: expected sm_NN or gfx9NN, got {arch!r}")


def compile_kernel(
    kernel: Any, arch: str, types: dict[str, str], constants: dict[str, Any], warps: int
) -> Any:
    """The compiled kernel: .asm["cubin"], .asm["ptx"] and .metadata.

    Args:
        kernel: a @triton.jit function.
        arch: sm_80, sm_90, sm_100, gfx942, ...
        types: Triton's type of every argument that is passed when launching ("*fp32", "i32").
            Pointers are taken to be 16-byte aligned.
        constants: the other arguments.
        warps: warps of a program.
    """
    import triton
    from triton.compiler import ASTSource

    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    missing = [n for n, t in signature.items() if t == "constexpr" and n not in constants]
    if missing:
        raise ValueError(f"constants: {missing} are neither typed nor given")
    aligned: dict[tuple[int, ...], Any] = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(kernel.arg_names)
        if types.get(name, "").startswith("*")
    }
    source = ASTSource(kernel, signature, constants, aligned)
    options = {**OPTIONS, "num_warps": warps}
    return triton.compile(source, target=target(arch), options=options)


def compile_program(
    program: Program,
    launch: Launch,
    arch: str,
    rows: str = "fp32",
    counting: bool = False,
    group: int = 0,
) -> Any:
    """A program compiled for row-major rows of type `rows` (fp32, bf16, fp16) and any row stride,
    that writes scores, flags and decisions; with `counting` the histogram and how many rows were
    accepted, too. group: see Program.constants."""
    absent = {"column_stride": 1, "features": None}
    if not counting:
        absent |= {"counts": None, "accepted": None}
    types = argument_types(program, rows, counting)
    if group:
        types["x"] = f"tensordesc<{rows}[{launch.block_rows}, {program.input_block}]>"
        del types["row_stride"]
        absent["row_stride"] = 1
    return compile_kernel(
        program.kernel,
        arch,
        types,
        {**program.constants(launch, False, group), **absent},
        launch.warps,
    )


def argument_types(program: Program, rows: str, counting: bool = False) -> dict[str, str]:
    """Triton's types of the arguments that compile_program's kernel is launched with, in order."""
    scratch = program.scratch_type
    return {
        "x": f"*{rows}",
        "row_stride": "i64",
        "n": "i32",
        "weights": f"*{program.weight_type}",
        "biases": f"*{program.bias_type}",
        "scaling": "*fp32",
        **({"scratch": f"*{scratch}"} if scratch else {}),
        "beta": "fp32",
        "threshold": "fp32",
        "scores": "*fp32",
        "flags": "*u8",
        "decisions": "*u8",
        **({"counts": "*i32", "accepted": "*i32"} if counting else {}),
        "programs": "i32",
    }


def resources(compiled: Any) -> Resources:
    """What the compiled kernel takes, from its binary (CUDA) or its assembly (AMD)."""
    shared = int(compiled.metadata.shared)
    if "cubin" not in compiled.asm:
        text = compiled.asm["amdgcn"]
        found = [
            int(_first(rf"\.{name}:\s+(\d+)", text))
            for name in ("vgpr_count", "private_segment_fixed_size")
        ]
        return Resources(found[0], found[1], shared)
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        command = [str(tool), "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Resources(int(_first(r"REG:(\d+)", text)), int(_first(r"STACK:(\d+)", text)), shared)


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"{pattern} not found in the compiler's output")
    return match[1]
