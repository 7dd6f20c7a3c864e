"""A network made ready for its kernel: the packed parameters and the compile-time constants.

What CudaScorer launches and what `vaelocity export --cubin` compiles is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity.bfloat16 import to_bits
from vaelocity.cuda.config import Config, Launch, choose
from vaelocity.cuda.pieces import nearest_tf32, split
from vaelocity.cuda.plan import Network, Plan, plan


@dataclass(frozen=True)
class Program:
    """A kernel, its configuration and the arguments that come from the model."""

    config: Config
    plan: Plan
    precision: str
    arch: str

    @property
    def network(self) -> Network:
        """What it computes."""
        return self.plan.network

    @property
    def kernel(self) -> Any:
        """The Triton kernel; imports triton."""
        if self.config.kernel == "score":
            from vaelocity.kernels.score import score

            return score
        from vaelocity.kernels.score_wide import score_wide

        return score_wide

    @cached_property
    def weights(self) -> npt.NDArray[Any]:
        """The packed weights: tf32 in float32, or uint16 that holds the bits of bfloat16."""
        if self.precision == "tf32":
            return nearest_tf32(self.plan.weights)
        return (to_bits if self.precision == "bf16" else split)(self.plan.weights)

    @cached_property
    def biases(self) -> npt.NDArray[Any]:
        """The plan's; or three pieces of each in a row of 16, in the type of the weights, where
        they are products (`bias_blocks` of kernels/score_dense.py)."""
        if not self.bias_products:
            return self.plan.biases
        pieces = np.zeros((len(self.plan.biases), 16), np.uint16)
        pieces[:, :3] = split(self.plan.biases).reshape(3, -1).T
        if self.precision == "bf16":
            return pieces
        return (pieces.astype(np.uint32) << 16).view(np.float32)

    @property
    def bias_products(self) -> bool:
        """Whether the kernel multiplies its biases into the sums instead of adding them: where that
        was measured to be faster."""
        fits = self.config.kernel == "score" and self.precision != "float32"
        return fits and self.arch == "sm_90"

    @property
    def pins_columns(self) -> bool:
        """Whether the kernel keeps the compiler from preparing rows once more in every warp."""
        return self.config.kernel == "score" and self.arch.startswith("sm_")

    @property
    def bias_type(self) -> str:
        """Triton's name of the biases' type."""
        return self.weight_type if self.bias_products else "fp32"

    @property
    def weight_type(self) -> str:
        """Triton's name of the weights' type."""
        return "fp32" if self.precision == "tf32" else "bf16"

    @property
    def scratch_type(self) -> str | None:
        """Triton's name of the scratch tiles' type; None for a kernel without."""
        if self.config.kernel == "score":
            return None
        return "bf16" if self.precision == "bf16" else "fp32"

    @property
    def scratch_width(self) -> int:
        """WIDTH of kernels/score_wide.py: the widest layer's outputs in whole blocks."""
        return max(int(layer[2] * layer[3]) for layer in self.plan.layers)

    def scratch_elements(self, launch: Launch) -> int:
        """Elements of scratch that one program takes; 0 for a kernel without."""
        # Two tiles in turns, and one that keeps what a loss of the latent compares with.
        tiles = 3 if self.network.kind == "latent_reconstruction" else 2
        return tiles * launch.block_rows * self.scratch_width if self.scratch_type else 0

    def constants(self, launch: Launch, read_padding: bool) -> dict[str, Any]:
        """The kernel's compile-time constants, but those that say which outputs there are."""
        network = self.network
        found = {
            "D": network.n_features,
            "LAYERS": self.plan.layers,
            "N_ENCODER": network.n_encoder,
            "HAS_LOGVAR": int(network.has_logvar),
            "KIND": self.plan.kind_code,
            "COLUMNS": network.columns.constants(pinned=self.pins_columns),
            "LOSS": network.loss.constants,
            "SPLIT": self.plan.weights.size if self.precision == "float32" else 0,
            "READ_PADDING": read_padding,
            "BM": launch.block_rows,
            "STAGES": launch.stages,
        }
        if self.config.kernel == "score":
            found["BIAS_PRODUCTS"] = self.bias_products
        if self.scratch_type:
            found |= {"WIDTH": self.scratch_width, "PADDED": self.plan.padded_features}
        return found


def program(network: Network, arch: str, precision: str, config: Config | None = None) -> Program:
    """The program of a network on an architecture ("sm_90"), from the table or by its rule.

    Raises ValueError for an unknown precision.
    """
    chosen = choose(arch, network, precision)
    chosen = config or chosen
    return Program(chosen, plan(network, chosen.blocks), precision, arch)


def programs_to_launch(n: int, launch: Launch, multiprocessors: int) -> int:
    """Enough for every tile, and no more than find room at once."""
    tiles = -(-n // launch.block_rows)
    return max(1, min(tiles, multiprocessors * launch.per_sm))
