"""Networks with other steps than dense ones: torch layer by layer, then one kernel for the score.

Convolutions, pools and norms run through torch, on a GPU through cuDNN; their activations go
through device memory, which torch's allocator provides. The last pass over them is
kernels/score_layered.py: loss, latent sums, saturation, flags, decision and histogram in one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from vaelocity.cuda import device as _device
from vaelocity.cuda.accept import Compaction
from vaelocity.cuda.columns import columns, loss
from vaelocity.cuda.compile import OPTIONS
from vaelocity.cuda.config import PRECISIONS, Config, Launch
from vaelocity.cuda.fused import Outputs
from vaelocity.cuda.layers import Layers
from vaelocity.cuda.plan import NEEDS_DECODER, Blocks
from vaelocity.cuda.program import programs_to_launch
from vaelocity.steps import output_width
from vaelocity.structure import SCORES

_COLUMNS = 64  # features of a row that the kernel takes at a time
_LAUNCH = Launch(16, 4, 1, 8)
_ACTIVATION_BYTES = 1 << 30  # what rows may take at once, without a memory limit


class LayeredNetwork:
    """A network of any steps on a device.

    precision: float32, tf32 or bf16, of the products in convolutions and dense layers. Where rows
    are many, parts of them go through the network one after the other, as many at a time as find
    room in half of what memory_limit leaves (without cuDNN's own workspace): the other half is for
    score_stream's buffers.
    """

    def __init__(
        self,
        metadata: Mapping[str, Any],
        tensors: Mapping[str, npt.NDArray[Any]],
        kind: str,
        precision: str,
        device: torch.device,
        memory_limit: int | None,
    ) -> None:
        if precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise ValueError(f"precision: expected one of {known}, got {precision!r}")
        self._device, self._precision = device, precision
        self._kind = SCORES.index(kind)
        self._beta = float(metadata["score"].get("beta", 1.0))
        self._latent = int(metadata["latent"]["size"])
        self._gaussian = metadata["latent"]["kind"] == "gaussian"
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self._encoder = Layers(metadata["encoder"], tensors, dtype).to(device)
        self._decoder = None
        if kind in NEEDS_DECODER:
            self._decoder = Layers(metadata["decoder"], tensors, dtype).to(device)
        self._columns, self._loss = columns(metadata, tensors), loss(metadata)
        self._n_features = self._columns.n_features
        self._padded = -(-self._n_features // _COLUMNS) * _COLUMNS
        self._scaling = torch.from_numpy(self._columns.padded(self._padded)).to(device)
        self._multiprocessors = _device.multiprocessors(device)
        self._compaction = Compaction(_LAUNCH.per_sm * self._multiprocessors, device)
        self._reserved = 0
        self._at_once = self._rows_that_fit(_row_bytes(metadata, tensors), memory_limit)

    @property
    def config(self) -> Config:
        """How the last kernel is launched; what torch launches is torch's."""
        why = "torch layer by layer; this is the kernel of the score"
        return Config("score_layered", Blocks(_COLUMNS, _COLUMNS), _LAUNCH, _LAUNCH, 0, why)

    @property
    def device_bytes(self) -> int:
        """Device memory it holds: parameters and scratch; with a memory limit also what the
        activations of a call may take."""
        held = [self._scaling, self._compaction.per_program, *self._encoder.buffers()]
        held += [] if self._decoder is None else self._decoder.buffers()
        return self._reserved + sum(t.numel() * t.element_size() for t in held)

    @torch.inference_mode()
    def run(self, rows: Tensor, outputs: Outputs, threshold: float) -> None:
        """Queue one pass over rows [n, d], n > 0, on the current stream."""
        for start in range(0, len(rows), self._at_once):
            part = slice(start, start + self._at_once)
            self._run_part(rows[part], outputs.part(part), threshold)
        if outputs.accepted is not None:
            assert outputs.scores is not None
            programs = programs_to_launch(len(rows), _LAUNCH, self._multiprocessors)
            block = _LAUNCH.block_rows
            self._compaction.count(outputs.scores, threshold, programs, block)
            self._compaction.run(outputs.accepted, outputs.scores, threshold, programs, block)

    def _run_part(self, rows: Tensor, outputs: Outputs, threshold: float) -> None:
        with _device.current(self._device), _products(self._precision):
            encoded = self._encoder(self._prepared(rows)).contiguous()
            decoded = None
            if self._decoder is not None:
                decoded = self._decoder(encoded[:, : self._latent]).contiguous()
        self._score(rows, encoded, decoded, outputs, threshold)

    def _prepared(self, rows: Tensor) -> Tensor:
        """What the network gets of rows: float32 [n, d]."""
        if self._columns.only_standardized:
            mean, inverse_scale = self._scaling[:, : self._n_features]
            standardized: Tensor = (rows.float() - mean) * inverse_scale
            return standardized
        from vaelocity.kernels.score_columns import score_columns

        kernel: Any = score_columns
        programs = programs_to_launch(len(rows), _LAUNCH, self._multiprocessors)
        prepared = torch.empty(rows.shape, device=self._device)
        arguments = self._row_arguments(rows, programs) | {"prepared": prepared}
        kernel[(programs,)](**arguments, num_warps=_LAUNCH.warps, **OPTIONS)
        return prepared

    def _row_arguments(self, rows: Tensor, programs: int) -> dict[str, Any]:
        """What both kernels take: the rows, and what is done to their columns."""
        return {
            "x": rows,
            "row_stride": rows.stride(0),
            "column_stride": rows.stride(1),
            "n": len(rows),
            "scaling": self._scaling,
            "programs": programs,
            "D": self._n_features,
            "COLUMNS": self._columns.constants(pinned=False),
            "BM": _LAUNCH.block_rows,
            "C": _COLUMNS,
            "PADDED": self._padded,
        }

    def _score(
        self,
        rows: Tensor,
        encoded: Tensor,
        decoded: Tensor | None,
        outputs: Outputs,
        threshold: float,
    ) -> None:
        from vaelocity.kernels.score_layered import score_layered

        kernel: Any = score_layered
        programs = programs_to_launch(len(rows), _LAUNCH, self._multiprocessors)
        arguments = self._row_arguments(rows, programs) | {
            "encoded": encoded,
            "decoded": decoded,
            "beta": self._beta,
            "threshold": threshold,
            **outputs.tensors(),
            "LATENT": self._latent,
            "GAUSSIAN": int(self._gaussian),
            "KIND": self._kind,
            "LOSS": self._loss.constants,
        }
        with _device.current(self._device):
            kernel[(programs,)](**arguments, num_warps=_LAUNCH.warps, **OPTIONS)

    def _rows_that_fit(self, row_bytes: int, memory_limit: int | None) -> int:
        if memory_limit is None:
            return max(1, _ACTIVATION_BYTES // row_bytes)
        rows = (memory_limit - self.device_bytes) // (2 * row_bytes)
        if rows < 1:
            raise ValueError(
                f"memory_limit: the model needs {self.device_bytes} bytes on the device and "
                f"{2 * row_bytes} for a row, got {memory_limit}"
            )
        self._reserved = rows * row_bytes
        return rows


def _row_bytes(metadata: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> int:
    """An upper bound of what a row takes on its way: all values of all steps, in float32, twice."""
    shapes = {name: array.shape for name, array in tensors.items()}
    widths = [len(metadata["features"])]
    for part, given in (("encoder", widths[0]), ("decoder", int(metadata["latent"]["size"]))):
        widths.append(given)
        for step in metadata[part]:
            widths.append(output_width(step, shapes, widths[-1]))
    return 2 * 4 * sum(widths)


@contextlib.contextmanager
def _products(precision: str) -> Iterator[None]:
    """torch's switches for products in float32, as the scorer was asked, and not as the program
    around it has set them."""
    allow = precision == "tf32"
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allow
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=allow
        ):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
