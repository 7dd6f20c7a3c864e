"""Dense networks: the parameters on the device, and the launch of the one kernel that scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from vaelocity.cuda import device as _device
from vaelocity.cuda.accept import Accepted, Compaction
from vaelocity.cuda.compile import OPTIONS
from vaelocity.cuda.config import Config, Launch
from vaelocity.cuda.plan import Network
from vaelocity.cuda.program import program, programs_to_launch

Tensor = torch.Tensor


@dataclass(frozen=True)
class Outputs:
    """What a pass over n rows is to write; None is not asked for.

    scores [n] float32; flags, decisions [n] uint8; features [n, d] float32; counts int32
    [BINS + 1], added to; accepted: needs scores.
    """

    scores: Tensor | None = None
    flags: Tensor | None = None
    decisions: Tensor | None = None
    features: Tensor | None = None
    counts: Tensor | None = None
    accepted: Accepted | None = None

    def part(self, rows: slice) -> Outputs:
        """Of some of the rows."""

        def cut(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[rows]

        scores, flags, decisions = cut(self.scores), cut(self.flags), cut(self.decisions)
        features = cut(self.features)
        return Outputs(scores, flags, decisions, features, self.counts, self.accepted)

    def tensors(self) -> dict[str, Tensor | None]:
        """Those that the scorer's kernel writes, by its names, but for accepted."""
        return {
            "scores": self.scores,
            "flags": self.flags,
            "decisions": self.decisions,
            "features": self.features,
            "counts": self.counts,
        }


class FusedNetwork:
    """A dense network on a device: kernels/score.py, or score_wide.py where it is too wide."""

    def __init__(
        self, network: Network, precision: str, device: torch.device, config: Config | None
    ) -> None:
        self.device = device
        self._network = network
        self._multiprocessors = _device.multiprocessors(device)
        self._program = program(network, _device.arch(device), precision, config)
        self._kernel = self._program.kernel
        self._compiled: dict[tuple[Any, ...], Any] = {}
        # The interpreter multiplies in float32: there tf32's weights are as they were.
        exact = device.type == "cpu" and precision == "tf32"
        weights = self._program.plan.weights if exact else self._program.weights
        self._weights = _device.upload(weights, device)
        self._biases = _device.upload(self._program.biases, device)
        self._scaling = _device.upload(self._program.plan.scaling, device)
        self._scratch = self._make_scratch()
        most = max(self.config.few.per_sm, self.config.many.per_sm) * self._multiprocessors
        self._compaction = Compaction(most, device)

    @property
    def config(self) -> Config:
        """The kernel and how it is launched, and why."""
        return self._program.config

    @property
    def device_bytes(self) -> int:
        """Device memory it holds: parameters and scratch."""
        held = [self._weights, self._biases, self._scaling, self._scratch]
        held.append(self._compaction.per_program)
        return sum(t.numel() * t.element_size() for t in held if t is not None)

    def run(self, rows: Tensor, outputs: Outputs, threshold: float) -> None:
        """Queue one pass over rows [n, d], n > 0, on the current stream."""
        launch = self.config.launch(len(rows))
        programs = programs_to_launch(len(rows), launch, self._multiprocessors)
        accepted = outputs.accepted
        per_program = None if accepted is None else self._compaction.per_program
        tensors = {**outputs.tensors(), "accepted": per_program}
        self._launch(rows, tensors, threshold, launch, programs)
        if accepted is not None:
            assert outputs.scores is not None
            scores, block = outputs.scores, launch.block_rows
            self._compaction.run(accepted, scores, threshold, programs, block)

    def _launch(
        self,
        rows: Tensor,
        outputs: dict[str, Tensor | None],
        threshold: float,
        launch: Launch,
        programs: int,
    ) -> None:
        row_stride, column_stride = rows.stride()
        read_padding = self.may_read_padding(rows)
        arguments = {
            "x": rows,
            "row_stride": row_stride,
            "column_stride": column_stride,
            "n": len(rows),
            "weights": self._weights,
            "biases": self._biases,
            "scaling": self._scaling,
            "scratch": self._scratch,
            "beta": self._network.beta,
            "threshold": threshold,
            "programs": programs,
            **outputs,
            **self._program.constants(launch, read_padding),
        }
        positional = [arguments[name] for name in self._kernel.arg_names]
        tensors = (rows, *outputs.values())
        variant = (
            launch,
            rows.dtype,
            read_padding,
            *map(_specialized, (row_stride, column_stride)),
        )
        variant += tuple(None if t is None else t.data_ptr() % 16 == 0 for t in tensors)
        with _device.current(self.device):
            compiled = self._compiled.get(variant)
            if compiled is not None:
                # Triton's own look-up takes hundreds of microseconds with constants like LAYERS.
                compiled[(programs, 1, 1)](*positional)
                return
            compiled = self._kernel[(programs,)](*positional, num_warps=launch.warps, **OPTIONS)
            if compiled is not None:  # the interpreter compiles nothing
                self._compiled[variant] = compiled

    def may_read_padding(self, rows: Tensor) -> bool:
        """Rows a multiple of 16 bytes apart, with all of their padded width in the same storage."""
        width = self._program.plan.padded_features
        row_stride, column_stride = rows.stride()
        size = rows.element_size()
        if column_stride != 1 or row_stride < width or width == self._network.n_features:
            return False
        if row_stride * size % 16 or rows.data_ptr() % 16:
            return False
        end = rows.storage_offset() + (rows.shape[0] - 1) * row_stride + width
        return end * size <= rows.untyped_storage().nbytes()

    def _make_scratch(self) -> Tensor | None:
        kind = self._program.scratch_type
        if kind is None:
            return None

        def elements(launch: Launch) -> int:
            most = self._multiprocessors * launch.per_sm
            return most * self._program.scratch_elements(launch)

        size = max(elements(self.config.few), elements(self.config.many))
        return _device.scratch(size, kind, self.device)


def _specialized(stride: int) -> tuple[bool, ...]:
    """What of a stride Triton compiles into a kernel."""
    return stride == 1, stride % 16 == 0, stride >= 1 << 31
