"""What the GPU kernels cost, from the compiler alone: nothing spills, so many programs find room on
a multiprocessor, and Hopper's own instructions are used."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import random_network

pytest.importorskip("triton")

from vaelocity.cuda import compile as gpu
from vaelocity.cuda.config import choose
from vaelocity.cuda.plan import network
from vaelocity.cuda.program import program

JETS = [59, 64, 32, 16]
VAE = [57, 32, 16, 3]
SQUARE = [128, 128, 32]
ALICE = [243, 128, 128]

REGISTERS = 65536  # of a multiprocessor
SHARED = {"sm_80": 164 << 10, "sm_90": 228 << 10, "sm_100": 228 << 10}  # with 1 KiB a program


def net(widths: list[int], activation: str = "relu", kind: str | None = None) -> Any:
    return network(*random_network(widths, kind is not None, activation, 0), kind)


def compiled(
    arch: str,
    network: Any,
    precision: str,
    rows: str = "fp32",
    few: bool = False,
    counting: bool = False,
) -> tuple[Any, gpu.Resources, Any]:
    """(compiled kernel, its resources, its launch)."""
    made = program(network, arch, precision)
    launch = made.config.few if few else made.config.many
    found = gpu.compile_program(made, launch, arch, rows, counting)
    return found, gpu.resources(found), launch


CASES = {
    "jets-bf16": (net(JETS), "bf16", "fp32", False),
    "jets-bf16-from-bf16": (net(JETS), "bf16", "bf16", False),
    "jets-tf32": (net(JETS), "tf32", "fp32", False),
    "jets-float32": (net(JETS), "float32", "fp32", False),
    "jets-bf16-few": (net(JETS), "bf16", "fp32", True),
    "vae-gelu-elbo-bf16": (net(VAE, "gelu", "elbo"), "bf16", "fp32", False),
    "vae-relu-mu2-float32": (net(VAE, "relu", "mu2"), "float32", "fp32", False),
    "128-128-32-bf16": (net(SQUARE), "bf16", "fp32", False),
    "alice-bf16": (net(ALICE), "bf16", "fp32", False),
    "alice-float32-few": (net(ALICE), "float32", "fp32", True),
}


@pytest.mark.parametrize("name", CASES)
def test_hopper(name: str) -> None:
    case, precision, rows, few = CASES[name]
    kernel, cost, launch = compiled("sm_90", case, precision, rows, few)
    # What a timing on a GPU chose over kernels that do not spill (kernels/score_configs.json).
    assert cost.stack <= (256 if name == "jets-float32" else 0)
    assert cost.registers * 32 * launch.warps * launch.per_sm <= REGISTERS
    assert (cost.shared + 1024) * launch.per_sm <= SHARED["sm_90"]
    ptx = kernel.asm["ptx"]
    # A wgmma takes 64 rows; smaller tiles are left to mma.sync.
    assert ("wgmma.mma_async" in ptx) == (launch.block_rows >= 64)
    assert ("mma.sync" in ptx) == (launch.block_rows < 64)
    # 2 bytes are too few for an asynchronous copy.
    if launch.stages > 1 and rows == "fp32":
        assert "cp.async" in ptx
    # No call of a device library, in particular not of libdevice's erf and tanh.
    assert "call.uni" not in ptx


COLUMNS: list[dict[str, Any]] = [
    {"op": "missing", "flag": [1, 4], "impute": [0, 5], "values": [2.5, 0.0]},
    {"op": "mask_zeros", "columns": [3, 4, 5]},
    {"op": "clip", "columns": [2, 18], "low": [-2.5, None], "high": [2.5, 4]},
    {"op": "wrap", "columns": [6, 7]},
    {"op": "log1p", "columns": [0, 3, 8]},
]


def prepared_net(widths: list[int], loss: str = "huber", kind: str | None = None) -> Any:
    """With every step of preprocessing, the loss, and a bound behind the output."""
    metadata, tensors = random_network(widths, kind is not None, "relu", 0)
    metadata["preprocess"] = [*COLUMNS, *metadata["preprocess"]]
    metadata["score"]["loss"] = loss
    tensors |= {"bound": tensors["preprocess.0.scale"], "center": tensors["preprocess.0.mean"]}
    metadata["decoder"].append({"op": "bound", "weight": "bound", "bias": "center"})
    return network(metadata, tensors, kind)


@pytest.mark.parametrize(
    ("net", "precision", "few"),
    [
        (prepared_net(JETS), "bf16", True),
        (prepared_net(JETS), "bf16", False),
        (prepared_net(JETS), "tf32", False),
        (prepared_net(JETS), "float32", False),
        (prepared_net(VAE, "bce_with_logits", "elbo"), "bf16", False),
        (prepared_net(ALICE), "bf16", False),
    ],
    ids=["jets-bf16-few", "jets-bf16", "jets-tf32", "jets-float32", "vae-bf16", "alice-bf16"],
)
def test_columns_losses_and_bounds(net: Any, precision: str, few: bool) -> None:
    kernel, cost, launch = compiled("sm_90", net, precision, few=few)
    assert cost.stack == 0
    assert cost.registers * 32 * launch.warps * launch.per_sm <= REGISTERS
    assert (cost.shared + 1024) * launch.per_sm <= SHARED["sm_90"]
    assert "call.uni" not in kernel.asm["ptx"]
    # An absent object's 0 and a subnormal number are not the same.
    assert ".ftz" not in kernel.asm["ptx"]


@pytest.mark.parametrize("arch", ["sm_80", "sm_100", "gfx942"])
def test_columns_on_other_architectures(arch: str) -> None:
    assert compiled(arch, prepared_net(JETS), "bf16")[1].stack == 0


@pytest.mark.parametrize("name", ["jets-bf16", "jets-tf32", "vae-relu-mu2-float32", "alice-bf16"])
def test_counting_costs_no_programs(name: str) -> None:
    """The histogram and the accepted events in the same kernel: nothing spills, and as many
    programs find room. A count is a reduction: the atomic returns nothing."""
    case, precision, rows, few = CASES[name]
    kernel, cost, launch = compiled("sm_90", case, precision, rows, few, counting=True)
    assert cost.stack == 0
    assert cost.registers * 32 * launch.warps * launch.per_sm <= REGISTERS
    assert (cost.shared + 1024) * launch.per_sm <= SHARED["sm_90"]
    assert ("cp.async" in kernel.asm["ptx"]) == (launch.stages > 1)
    assert "REDG" in kernel.asm["sass"]
    assert "ATOMG" not in kernel.asm["sass"]
    assert "atom.global" not in compiled("sm_90", case, precision, rows, few)[0].asm["ptx"]


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "gfx942"])
def test_kernels_of_the_last_pass(arch: str) -> None:
    """Of the accepted events, and of networks with convolutions."""
    from vaelocity.cuda.layered import _COLUMNS
    from vaelocity.kernels.score_accept import score_accept, score_accept_count
    from vaelocity.kernels.score_columns import score_columns
    from vaelocity.kernels.score_layered import score_layered

    scores = {"scores": "*fp32", "n": "i32", "threshold": "fp32", "accepted": "*i32"}
    into = {"index": "*i64", "kept": "*fp32", "total": "*i64", "capacity": "i32"}
    rows = {"x": "*fp32", "row_stride": "i64", "n": "i32", "scaling": "*fp32", "beta": "fp32"}
    network = {"encoded": "*fp32", "decoded": "*fp32", "threshold": "fp32"}
    marks = {"flags": "*u8", "decisions": "*u8", "counts": "*i32", "features": "*fp32"}
    tiles = {"BM": 16, "BLOCK": 1024}
    shape = {"D": 784, "LATENT": 32, "GAUSSIAN": 1, "KIND": 4, "column_stride": 1, "LOSS": (0, 1.0)}
    blocks = {"BM": 16, "C": _COLUMNS, "PADDED": 832, "COLUMNS": (0,) * 9}
    some = {"COLUMNS": (2, 3, 4, 5, 6, 7, 8, 1, 0)}
    layered = {**rows, **network, "scores": "*fp32", **marks, "programs": "i32"}
    columns = {**rows, "prepared": "*fp32", "programs": "i32"}
    for kernel, types, constants in (
        (score_accept, {**scores, **into, "programs": "i32"}, {**tiles, "PROGRAMS": 1024}),
        (score_accept_count, {**scores, "programs": "i32"}, tiles),
        (score_layered, layered, {**shape, **blocks}),
        (score_layered, layered, {**shape, **blocks, **some, "LOSS": (2, 0.5)}),
        (score_columns, columns, {"D": 784, "column_stride": 1, **blocks, **some}),
    ):
        cost = gpu.resources(gpu.compile_kernel(kernel, arch, types, constants, 4))
        assert cost.stack == 0
        assert cost.shared <= 48 << 10


@pytest.mark.parametrize("arch", ["sm_80", "sm_100", "gfx942"])
@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_other_architectures(arch: str, precision: str) -> None:
    for counting in (False, True):
        _, cost, launch = compiled(arch, net(JETS), precision, counting=counting)
        assert cost.stack == 0
        if arch in SHARED:
            assert cost.shared + 1024 <= SHARED[arch]
            assert cost.registers * 32 * launch.warps <= REGISTERS


def test_encoder_only_kinds_have_no_decoder() -> None:
    full = choose("sm_90", net(VAE, "relu", "elbo"), "bf16")
    assert full.kernel == "score"
    kernel, _, _ = compiled("sm_90", net(VAE, "relu", "mu2"), "bf16")
    whole, _, _ = compiled("sm_90", net(VAE, "relu", "elbo"), "bf16")
    counts = [k.asm["ptx"].count("wgmma.mma_async") for k in (kernel, whole)]
    assert counts[0] < counts[1] / 1.5, counts


@pytest.mark.parametrize("arch", ["cuda", "sm90", "gfx", ""])
def test_unknown_architecture(arch: str) -> None:
    with pytest.raises(ValueError, match="arch: expected sm_NN or gfx9NN"):
        gpu.target(arch)
