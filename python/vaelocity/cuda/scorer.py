"""Scoring torch tensors on a GPU: one launch of one Triton kernel a call.

A score follows: CudaScorer.score -> score_into -> _launch -> kernels/score.py (or score_wide.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from vaelocity._core import BundleError, Model
from vaelocity.bundle import read_bundle
from vaelocity.cuda import device as _device
from vaelocity.cuda.compile import OPTIONS
from vaelocity.cuda.config import Config, Launch
from vaelocity.cuda.plan import network
from vaelocity.cuda.program import program, programs_to_launch
from vaelocity.scorer import Scorer
from vaelocity.threshold import Threshold

Tensor = torch.Tensor

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

# Row numbers are int32 in the kernels: more rows go in several launches.
_MOST_ROWS = 1 << 30

# How far the GPU's scores of the conformance rows may be from the file's: |error| <= tolerance *
# (|score| + the median score).
TOLERANCES = {"float32": 1e-4, "tf32": 2e-2, "bf16": 1e-1}


def load(
    path: str | os.PathLike[str],
    kind: str | None,
    verify: bool,
    precision: str,
    device: str | torch.device | None,
    memory_limit: int | None,
) -> CudaScorer:
    """`vaelocity.load(path, backend="cuda")`; see there."""
    where = _device.resolve(device)
    scorer = CudaScorer(path, kind, precision, where, memory_limit)
    if verify:
        scorer.verify()
    return scorer


class CudaScorer:
    """Scores rows on a GPU with a frozen model; made by vaelocity.load(path, backend="cuda").

    `rows` is a float32, bfloat16 or float16 tensor [n, n_features] on the scorer's device, with
    any strides: row-major, a slice of wider rows, or [n_features, n] columns seen through `.T`.
    Work is queued on torch's current stream. With `out` given nothing is allocated, and a call can
    be captured in a CUDA graph, once a first call of the same kind has compiled the kernel.

    The scores are within TOLERANCES of the CPU's, not equal to them, and the same bits in every
    call with the same number of rows.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        kind: str | None,
        precision: str,
        device: torch.device,
        memory_limit: int | None = None,
        config: Config | None = None,
    ) -> None:
        # The C++ reader refuses what the CPU would refuse, in the same words.
        self._file = Scorer(Model.from_file(os.fspath(path), kind or "", "", False))
        metadata, tensors = read_bundle(path)
        self._conformance = _conformance(metadata, tensors, self._file.kind)
        self._network = network(metadata, tensors, kind)
        self.device = device
        self.precision = precision
        self.memory_limit = memory_limit
        self._multiprocessors = _device.multiprocessors(device)
        self._program = program(self._network, _device.arch(device), precision, config)
        self._kernel = self._program.kernel
        self._compiled: dict[tuple[Any, ...], Any] = {}
        self._weights = _device.upload(self._program.weights, device)
        self._biases = _device.upload(self._program.plan.biases, device)
        self._scaling = _device.upload(self._program.plan.scaling, device)
        self._scratch = self._make_scratch()
        if memory_limit is not None and self.device_bytes > memory_limit:
            raise ValueError(
                f"memory_limit: the model needs {self.device_bytes} bytes on the device, "
                f"got {memory_limit}"
            )

    # ---- Scores

    def score(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        """Anomaly scores, float32 [n]; higher is more anomalous.

        A row with a NaN or inf gets NaN, a score beyond float32 its largest number; flags() tells.

        Args:
            rows: n events; see the class.
            out: where to write, float32 [n], contiguous, on the device; returned.

        Raises:
            TypeError: not a tensor, or of another dtype.
            ValueError: another device or number of features, an `out` that does not fit.
        """
        found = self._out("out", out, rows, torch.float32)
        self.score_into(rows, scores=found)
        return found

    def score_features(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        """1/2 (y_j - x_j)^2 of every feature in the standardised space: float32 [n, n_features].

        Raises ValueError for kinds other than reconstruction; else as score().
        """
        if self.kind != "reconstruction":
            raise ValueError(
                f"kind {self.kind!r} has no scores per feature: load the model with "
                "kind='reconstruction'"
            )
        found = self._out("out", out, rows, torch.float32, self.n_features)
        self.score_into(rows, features=found)
        return found

    def flags(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        """What is unusual about each row, uint8 [n].

        0: nothing. 1: a NaN or inf among its features, its score is NaN. 2: the score of finite
        features overflowed and is float32's largest number.
        """
        found = self._out("out", out, rows, torch.uint8)
        self.score_into(rows, flags=found)
        return found

    def predict(
        self,
        rows: Tensor,
        threshold: float | str | Threshold | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """True where an event is anomalous: where not score <= threshold, bool [n].

        Decided in the kernel. A NaN score counts as anomalous.

        Args:
            rows: n events; see the class.
            threshold: a score, the name of one of `thresholds`, or a `Threshold`; None takes the
                file's first one for this kind of score.
            out: where to write, bool [n].

        Raises:
            ValueError: the threshold is NaN, unknown, for another model or kind of score, or None
                and the file has none for this kind.
        """
        found = self._out("out", out, rows, torch.bool)
        self.score_into(rows, decisions=found, threshold=threshold)
        return found

    def score_into(
        self,
        rows: Tensor,
        *,
        scores: Tensor | None = None,
        flags: Tensor | None = None,
        decisions: Tensor | None = None,
        features: Tensor | None = None,
        threshold: float | str | Threshold | None = None,
    ) -> None:
        """Whatever is asked for, in one pass over the rows, into memory of the caller.

        Args:
            rows: n events; see the class.
            scores: float32 [n].
            flags: uint8 [n].
            decisions: bool [n], by `threshold` as in predict().
            features: float32 [n, n_features]; reconstruction and elbo only.
            threshold: see predict().
        """
        n = self._check_rows(rows)
        self._check_out("scores", scores, torch.float32, (n,))
        self._check_out("flags", flags, torch.uint8, (n,))
        self._check_out("decisions", decisions, torch.bool, (n,))
        self._check_out("features", features, torch.float32, (n, self.n_features))
        limit = float(np.float32(self.threshold(threshold))) if decisions is not None else 0.0
        marks = decisions.view(torch.uint8) if decisions is not None else None
        outputs = {"scores": scores, "flags": flags, "decisions": marks, "features": features}
        if n <= _MOST_ROWS:
            self._launch(rows, outputs, limit)
            return
        for start in range(0, n, _MOST_ROWS):
            some = slice(start, min(n, start + _MOST_ROWS))
            part = {k: None if v is None else v[some] for k, v in outputs.items()}
            self._launch(rows[some], part, limit)

    def score_stream(
        self, batches: Iterable[Any], batch_rows: int = 1 << 18, flags: bool = False
    ) -> Iterator[Any]:
        """Scores of batches in host memory, while the next one is on its way to the GPU.

        Two streams, each with its own pinned and device buffers: copy in, kernel, copy back of one
        batch overlap those of the other. Results come in the order of the batches.

        Args:
            batches: CPU tensors or numpy arrays [m, n_features], all float32 or all of one of the
                other dtypes. A pinned tensor is read where it lies: leave it alone until its
                scores have come.
            batch_rows: rows of a buffer; longer batches go in several parts.
            flags: give (scores, flags) for every batch.

        Yields:
            float32 CPU tensors [m]; with flags (float32 [m], uint8 [m]).

        Raises:
            ValueError: memory_limit leaves no room for the buffers; a batch that does not fit.
        """
        from vaelocity.cuda.stream import score_stream

        return score_stream(self, batches, batch_rows, flags)

    def verify(self) -> None:
        """Scores the file's conformance rows on the GPU; BundleError names the first that is
        further from the file's score than TOLERANCES allows, or has other flags."""
        rows, expected, expected_flags = self._conformance
        on_device = torch.from_numpy(rows).to(self.device)
        scores = self.score(on_device).cpu().numpy()
        flags = self.flags(on_device).cpu().numpy()
        usual = expected[expected_flags == 0]
        typical = float(np.median(np.abs(usual))) if usual.size else 0.0
        tolerance = TOLERANCES[self.precision]
        for i, (score, wanted) in enumerate(zip(scores, expected, strict=True)):
            near = abs(float(score) - float(wanted)) <= tolerance * (abs(float(wanted)) + typical)
            same = flags[i] == expected_flags[i]
            if not same or not (near or (np.isnan(score) and np.isnan(wanted))):
                raise BundleError(
                    f"conformance row {i}: score {score:.9g} flags {flags[i]} on {self.device}, "
                    f"the bundle says {wanted:.9g} flags {expected_flags[i]}"
                )

    # ---- What it is

    @property
    def n_features(self) -> int:
        """Columns of a row."""
        return self._network.n_features

    @property
    def kind(self) -> str:
        """The score it computes: reconstruction, kl, mu2, rz or elbo."""
        return self._network.kind

    @property
    def config(self) -> Config:
        """The kernel and how it is launched, and why."""
        return self._program.config

    @property
    def device_bytes(self) -> int:
        """Device memory it holds: parameters and scratch."""
        held = [self._weights, self._biases, self._scaling, self._scratch]
        return sum(t.numel() * t.element_size() for t in held if t is not None)

    @property
    def fingerprint(self) -> str:
        """The model's identity, 64 hex digits: SHA-256 of the file with its checksum as zeros."""
        return self._file.fingerprint

    @property
    def identity(self) -> str | None:
        """The same for all files that score alike; see Scorer.identity."""
        return self._file.identity

    @property
    def metadata(self) -> dict[str, Any]:
        """The file's JSON: features, steps, thresholds, provenance."""
        return self._file.metadata

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns, in order."""
        return self._file.feature_names

    @property
    def kinds(self) -> list[str]:
        """The kinds of score this file can give; load(path, kind=...) chooses."""
        return self._file.kinds

    @property
    def thresholds(self) -> dict[str, Threshold]:
        """The file's thresholds for this kind of score by name, in the order of the file."""
        return self._file.thresholds

    def threshold(self, threshold: float | str | Threshold | None = None) -> float:
        """The score to compare with: what `predict` takes for this `threshold`."""
        return self._file.threshold(threshold)

    def __repr__(self) -> str:
        return (
            f"CudaScorer(kind={self.kind!r}, n_features={self.n_features}, "
            f"precision={self.precision!r}, device={str(self.device)!r})"
        )

    # ---- Checks

    def _check_rows(self, rows: Tensor) -> int:
        if not isinstance(rows, torch.Tensor):
            raise TypeError(f"rows: expected a torch tensor [n, d], got {type(rows).__name__}")
        if rows.dtype not in _DTYPES:
            raise TypeError(f"rows: expected float32, bfloat16 or float16, got {rows.dtype}")
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise ValueError(
                f"rows: expected shape [n, {self.n_features}], got {tuple(rows.shape)}"
            )
        if rows.device != self.device:
            raise ValueError(f"rows: expected a tensor on {self.device}, got {rows.device}")
        return rows.shape[0]

    def _check_out(
        self, name: str, out: Tensor | None, dtype: torch.dtype, shape: tuple[int, ...]
    ) -> None:
        if out is None:
            return
        wanted = f"expected contiguous {dtype} of shape {shape} on {self.device}"
        if not isinstance(out, torch.Tensor):
            raise TypeError(f"{name}: {wanted}, got {type(out).__name__}")
        same = out.dtype == dtype and tuple(out.shape) == shape and out.device == self.device
        if not same or not out.is_contiguous():
            raise ValueError(
                f"{name}: {wanted}, got {out.dtype} of shape {tuple(out.shape)}, strides "
                f"{out.stride()}, on {out.device}"
            )

    def _out(
        self, name: str, out: Tensor | None, rows: Tensor, dtype: torch.dtype, *more: int
    ) -> Tensor:
        """`out`, or new memory where it is None."""
        shape = (self._check_rows(rows), *more)
        self._check_out(name, out, dtype, shape)
        return torch.empty(shape, dtype=dtype, device=self.device) if out is None else out

    # ---- The launch

    def _launch(self, rows: Tensor, outputs: dict[str, Tensor | None], threshold: float) -> None:
        n = rows.shape[0]
        if n == 0:
            return
        launch = self.config.launch(n)
        programs = programs_to_launch(n, launch, self._multiprocessors)
        row_stride, column_stride = rows.stride()
        read_padding = self._may_read_padding(rows)
        arguments = {
            "x": rows,
            "row_stride": row_stride,
            "column_stride": column_stride,
            "n": n,
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

    def _may_read_padding(self, rows: Tensor) -> bool:
        """Rows a multiple of 16 bytes apart, with all of their padded width in the same storage."""
        width = self._program.plan.padded_features
        row_stride, column_stride = rows.stride()
        size = rows.element_size()
        if column_stride != 1 or row_stride < width or width == self.n_features:
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


def _conformance(
    metadata: dict[str, Any], tensors: dict[str, Any], kind: str
) -> tuple[Any, Any, Any]:
    names = metadata.get("conformance")
    if names is None or kind not in names["scores"]:
        raise BundleError(f'no conformance rows for kind "{kind}"')
    return (tensors[names["rows"]], tensors[names["scores"][kind]], tensors[names["flags"][kind]])
