"""How a kernel is launched: from a committed table, kernels/score_configs.json, or by a rule.

Nothing is tuned at run time: bench/tune_score.py measures on a GPU and writes the table, with the
reason of each choice. Shapes that are not in the table follow `rule`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

from vaelocity.cuda.plan import Blocks, Network

PRECISIONS = ("float32", "tf32", "bf16")

# Bytes of a weight: float32 precision holds it as three bfloat16 pieces.
WEIGHT_BYTES = {"bf16": 2, "tf32": 4, "float32": 6}

# What a program may take of shared memory, in bytes, by architecture.
_SHARED = {
    "sm_80": 163 << 10,
    "sm_86": 99 << 10,
    "sm_89": 99 << 10,
    "sm_90": 227 << 10,
    "sm_100": 227 << 10,
    "sm_120": 99 << 10,
}
_LEAST_SHARED = 64 << 10  # architectures not listed, and AMD's


@dataclass(frozen=True)
class Launch:
    """block_rows: rows of a tile (BM). per_sm: programs for every multiprocessor, at most."""

    block_rows: int
    warps: int
    stages: int
    per_sm: int


@dataclass(frozen=True)
class Config:
    """kernel: "score" or "score_wide". few: for up to few_rows rows, where there are not enough
    tiles for all multiprocessors; many: for more. why: where these numbers come from."""

    kernel: str
    blocks: Blocks
    few: Launch
    many: Launch
    few_rows: int
    why: str

    def launch(self, n: int) -> Launch:
        """The launch for n rows."""
        return self.few if n <= self.few_rows else self.many


def network_name(network: Network) -> str:
    """The key of the table: widths and kind, 59-64-32-16-32-64-59 reconstruction. What was timed
    there are plain networks: others have no entry."""
    more = "" if network.plain else " with columns, loss or bounds of its own"
    return f"{'-'.join(map(str, network.widths))} {network.kind}{more}"


def choose(arch: str, network: Network, precision: str) -> Config:
    """The configuration of a network on an architecture ("sm_90").

    Raises ValueError for an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    entry = _table().get(arch, {}).get(network_name(network), {}).get(precision)
    return rule(arch, network, precision) if entry is None else from_json(entry)


# Of 59-64-32-16 and back; in float32 it spills, and is 2.4 times faster than what does not.
_HOPPER = {
    "bf16": Launch(64, 4, 1, 3),
    "tf32": Launch(64, 4, 3, 2),
    "float32": Launch(64, 4, 1, 2),
}
# With all steps of preprocessing, and a bound: found with the compiler alone, nothing spills.
_HOPPER_COLUMNS = {
    "bf16": Launch(64, 8, 1, 1),
    "tf32": Launch(64, 8, 1, 1),
    "float32": Launch(16, 4, 1, 2),
}
_FEW_REGISTERS = {"identity", "relu", "leaky_relu"}
# Of 243-128-128 and back, within 1 % of the fastest and with half its scratch memory.
_HOPPER_WIDE = Launch(64, 4, 3, 2)


def rule(arch: str, network: Network, precision: str) -> Config:
    """For shapes not in the table: on chip while the weights fit there and no layer is wide.

    On sm_90 what was fastest in a sweep on an H200 (bench/results/nvidia-h200). Elsewhere found
    with the compiler alone (tests/test_cuda_compile.py holds it to that): nothing spills up to 64
    wide with blocks of 64 and 4 warps, up to 128 wide in bf16 with blocks of 128 and 8 warps.
    float32 holds three pieces of every activation, so that above 32 wide its tiles are small.
    """
    if fits_on_chip(arch, network, precision):
        block = 64 if max(network.widths) <= 64 else 128
        many = Launch(64, 4, 2, 3) if block == 64 else Launch(64, 8, 2, 1)
        if arch == "sm_90" and block == 64:
            many = _HOPPER[precision]
            if not {layer.activation for layer in network.layers} <= _FEW_REGISTERS:
                many = replace(many, per_sm=2)
            if not network.plain:
                many = _HOPPER_COLUMNS[precision]
        elif precision == "float32" and max(network.widths) > 32:
            many = Launch(16, 4, 2, 2)
        few = Launch(16, 4, 1, 2)
        return Config("score", Blocks(block, block), few, many, 4096, "rule: on chip")
    blocks = Blocks(64, 64) if precision == "bf16" else Blocks(32, 64)
    many = Launch(128, 8, 3 if precision == "bf16" else 2, 1)
    if arch == "sm_90":
        many = _HOPPER_WIDE
    few = Launch(64, 4, 2, 1)
    if arch == "sm_90" and not network.plain:
        few, many = replace(few, warps=8), replace(many, warps=8, per_sm=1)
    return Config("score_wide", blocks, few, many, 8192, "rule: weights streamed from L2")


def fits_on_chip(arch: str, network: Network, precision: str) -> bool:
    """No layer too wide; weights and two tiles of rows within a program's shared memory."""
    if max(network.widths) > (128 if precision == "bf16" else 64):
        return False
    cut = Blocks(128, 128).cut
    padded = [block * n for block, n in (cut(width, 128) for width in _chain(network))]
    weights = sum(a * b for a, b in pairwise(padded))
    if network.has_logvar:
        at = network.n_encoder - 1
        weights += padded[at] * padded[at + 1]
    need = weights * WEIGHT_BYTES[precision] + 2 * 64 * padded[0] * 4
    return need <= _SHARED.get(arch, _LEAST_SHARED)


def _chain(network: Network) -> tuple[int, ...]:
    """The widths without logvar, each layer's outputs the next one's inputs."""
    widths = network.widths
    at = network.n_encoder + 1
    return widths[:at] + widths[at + network.has_logvar :]


def from_json(entry: Mapping[str, Any]) -> Config:
    """A Config as the table has it."""
    return Config(
        entry["kernel"],
        Blocks(*entry["blocks"]),
        Launch(*entry["few"]),
        Launch(*entry["many"]),
        entry["few_rows"],
        entry["why"],
    )


def to_json(config: Config) -> dict[str, Any]:
    """The table's entry for a Config."""

    def numbers(launch: Launch) -> list[int]:
        return [launch.block_rows, launch.warps, launch.stages, launch.per_sm]

    return {
        "kernel": config.kernel,
        "blocks": [config.blocks.inputs, config.blocks.outputs],
        "few": numbers(config.few),
        "many": numbers(config.many),
        "few_rows": config.few_rows,
        "why": config.why,
    }


@cache
def _table() -> dict[str, dict[str, dict[str, Any]]]:
    text = (files("vaelocity.kernels") / "score_configs.json").read_text()
    table: dict[str, dict[str, dict[str, Any]]] = json.loads(text)
    return table
