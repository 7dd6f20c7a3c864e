"""Every Triton kernel compiles for GPUs that are not here, and what comes out is what was meant.

A module of vaelocity.kernels that has variants(new) takes part. Its launchers run on tensors
without memory; the launches are recorded, and compiled with just the arguments that they got.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
triton = pytest.importorskip("triton")
if triton.knobs.runtime.interpret:
    pytest.skip("TRITON_INTERPRET is set: there is no compiler", allow_module_level=True)

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

import vaelocity.kernels  # noqa: E402

OPS = [
    module.name
    for module in pkgutil.iter_modules(vaelocity.kernels.__path__)
    if hasattr(importlib.import_module(f"vaelocity.kernels.{module.name}"), "variants")
]
TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
POINTERS = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.int64: "*i64",
    torch.bool: "*i1",
}
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
# Threads of 8 elements: six blocks of 128 of them fit on a multiprocessor with 80 registers each.
# Where rows do not lie on 16 bytes the noise changes hands, which takes more.
REGISTERS, REGISTERS_UNALIGNED = 80, 128


@dataclass
class Launch:
    """One kernel and the arguments of its launch, by name."""

    kernel: Any
    arguments: dict[str, Any]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.kernel.__name__)

    @property
    def aligned(self) -> bool:
        return self.arguments["ALIGN"] > 1

    @property
    def elements_per_thread(self) -> float:
        tile = self.arguments["BLOCK_M"] * self.arguments["BLOCK_D"]
        return float(tile / (32 * self.options["num_warps"]))

    def source(self) -> ASTSource:
        signature, constants, attributes = {}, {}, {}
        for i, parameter in enumerate(self.kernel.params):
            value = self.arguments[parameter.name]
            if parameter.is_constexpr or value is None:
                signature[parameter.name], constants[parameter.name] = "constexpr", value
            elif isinstance(value, torch.Tensor):
                signature[parameter.name] = POINTERS[value.dtype]
                if value.storage_offset() * value.element_size() % 16 == 0:
                    attributes[(i,)] = [["tt.divisibility", 16]]
            else:
                # Neither 1 nor a multiple of 16 may be compiled in: launch.kernel says so.
                assert parameter.do_not_specialize, parameter.name
                number = "fp32" if isinstance(value, float) else "i32"
                signature[parameter.name] = parameter.annotation_type or number
        return ASTSource(self.kernel, signature, constants, attributes)

    def compile(self, target: str) -> Any:
        return triton.compile(self.source(), target=TARGETS[target], options=self.options)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Launch]:
    """Grows with every launch, of which none takes place."""
    found: list[Launch] = []

    def record(kernel: Any, *args: Any, grid: Any, warmup: bool, **keywords: Any) -> None:
        assert grid[0] > 0
        arguments = dict(zip(kernel.arg_names, args, strict=False))
        arguments |= {name: keywords.pop(name) for name in kernel.arg_names if name in keywords}
        found.append(Launch(kernel, arguments, keywords))

    monkeypatch.setattr(triton.JITFunction, "run", record)
    return found


@pytest.fixture
def launches(recorded: list[Launch]) -> Callable[[str, Any], list[Launch]]:
    """launches(op, dtype): what the op's variants launch, each kernel's simplest first."""

    def run(op: str, dtype: Any) -> list[Launch]:
        module = importlib.import_module(f"vaelocity.kernels.{op}")
        for launcher, *args in module.variants(partial(new, default=dtype)):
            launcher(*args)
        return recorded

    return run


def new(*shape: int, dtype: Any = None, default: Any) -> Any:
    return torch.empty(*shape, dtype=dtype or default, device="meta")


def first_of_each(launches: list[Launch]) -> Iterator[Launch]:
    seen: set[str] = set()
    for launch in launches:
        if launch.name not in seen:
            seen.add(launch.name)
            yield launch


def check_cuda(launch: Launch, compiled: Any, tmp_path: Path) -> None:
    ptx = compiled.asm["ptx"]
    assert "extern_elementwise" not in compiled.asm["ttir"], "libdevice"
    assert not re.search(r"^\s*(@\S+ )?call\b", ptx, re.M), "a function call"
    assert not re.findall(r"\b(?:atom|red)\.\S*", ptx), "an atomic operation"
    assert ".ftz" not in ptx, "subnormals are flushed"
    assert not re.findall(r"\w+\.approx\S*", ptx), "an approximate instruction"
    if "rng_ptr" in launch.arguments:
        # Only correctly rounded operations, or the noise is not the contract's.
        unrounded = r"\b(?:add|sub|mul|fma|sqrt|div)(?:\.full)?\.f32\S*"
        assert not re.findall(unrounded, ptx), "an operation that does not round to nearest"
    if launch.aligned and launch.kernel.arg_names.count("column_tiles"):
        assert "st.global.v4" in ptx, "stores of less than 16 bytes"
    if launch.aligned and launch.name != "philox_normal_kernel":
        assert "ld.global.v4" in ptx, "loads of less than 16 bytes"
    usage = resources(compiled.asm["cubin"], tmp_path)
    assert usage["STACK"] == usage["LOCAL"] == 0, "registers are spilled"
    assert usage["REG"] <= (REGISTERS if launch.aligned else REGISTERS_UNALIGNED)


def resources(cubin: bytes, tmp_path: Path) -> dict[str, int]:
    """REG, STACK, SHARED, LOCAL, ... of the kernel in a cubin."""
    text = run_tool("cuobjdump", "-res-usage", cubin=cubin, tmp_path=tmp_path)
    return {name: int(value) for name, value in re.findall(r"\b([A-Z]+):(\d+)", text)}


def run_tool(tool: str, *options: str, cubin: bytes, tmp_path: Path) -> str:
    file = tmp_path / "kernel.cubin"
    file.write_bytes(cubin)
    command = [TOOLS / tool, *options, file]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def check_hip(compiled: Any) -> None:
    assembly = compiled.asm["amdgcn"]
    assert "extern_elementwise" not in compiled.asm["ttir"], "the device library"
    assert not re.findall(r"\b(?:global|flat|buffer)_atomic\S*", assembly), "an atomic operation"
    assert "s_swappc" not in assembly, "a function call"
    for spills in ("vgpr_spill_count", "sgpr_spill_count", "private_segment_fixed_size"):
        assert re.findall(rf"\.{spills}:\s*(\d+)", assembly) == ["0"], spills


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_every_variant_on_hopper(
    op: str, dtype: Any, launches: Callable[..., list[Launch]], tmp_path: Path
) -> None:
    for launch in launches(op, dtype):
        check_cuda(launch, launch.compile("sm_90"), tmp_path)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("target", [name for name in TARGETS if name != "sm_90"])
def test_every_kernel_elsewhere(
    op: str, target: str, launches: Callable[..., list[Launch]], tmp_path: Path
) -> None:
    for launch in first_of_each(launches(op, torch.float32)):
        compiled = launch.compile(target)
        if TARGETS[target].backend == "cuda":
            check_cuda(launch, compiled, tmp_path)
        else:
            check_hip(compiled)


def test_instructions_for_a_normal(launches: Callable[..., list[Launch]], tmp_path: Path) -> None:
    """62 on sm_90 with all that a kernel has around them."""
    (launch,) = launches("philox_normal", torch.float32)
    cubin = launch.compile("sm_90").asm["cubin"]
    code = run_tool("nvdisasm", "-c", cubin=cubin, tmp_path=tmp_path)
    instructions = len(re.findall(r"^\s+/\*[0-9a-f]{4}\*/", code, re.M))
    assert 40 < instructions / launch.elements_per_thread <= 66


@pytest.mark.parametrize(("width", "most"), [(16, 1), (3, 3)])
def test_a_batch_size_compiles_nothing_new(width: int, most: int, recorded: list[Launch]) -> None:
    """Where rows are taken as one, its length may be a multiple of 1, 4 or 16: three kernels."""
    from vaelocity.kernels.gaussian_kl import gaussian_kl, gaussian_kl_backward
    from vaelocity.kernels.reparameterize import reparameterize

    rng = torch.empty(2, dtype=torch.int64, device="meta")
    for rows in (1, 2, 3, 16, 20, 4095, 2**31 // 16):
        mu, kl = new(rows, width, default=torch.float32), new(rows, default=torch.float32)
        gaussian_kl(mu, mu, kl)
        gaussian_kl_backward(kl, mu, mu, mu, mu)
        reparameterize(mu, mu, rng, mu)
    kernels: dict[str, set[str]] = {}
    for launch in recorded:
        source = launch.source()
        compiled_in = f"{source.signature} {source.constants} {source.attrs} {launch.options}"
        kernels.setdefault(launch.name, set()).add(compiled_in)
    assert kernels
    for name, variants in kernels.items():
        assert len(variants) <= (most if name == "reparameterize_kernel" else 1), variants
