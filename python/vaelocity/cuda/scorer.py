"""Scoring torch tensors on a GPU: one launch of one Triton kernel a call.

A score follows: CudaScorer.score -> score_into -> FusedNetwork.run (cuda/fused.py) ->
kernels/score.py (or score_wide.py). With convolutions: LayeredNetwork.run (cuda/layered.py) ->
torch, layer by layer -> kernels/score_layered.py.
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
from vaelocity.cuda.accept import Accepted
from vaelocity.cuda.config import Config
from vaelocity.cuda.fused import FusedNetwork, Outputs
from vaelocity.cuda.layered import LayeredNetwork
from vaelocity.cuda.plan import fusible, network
from vaelocity.histogram import ScoreHistogram
from vaelocity.histogram_reference import BINS
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
    be captured in a CUDA graph, once a first call of the same kind has compiled the kernel. The
    scorer has scratch memory of its own: one stream at a time.

    A network of dense layers, bounds behind them included, is one kernel, with whatever the file
    says of preprocessing and loss. One with other steps (convolutions, pools, norms, residual sums)
    runs through torch layer by layer, convolutions through cuDNN, and its
    activations through memory of torch's allocator; one kernel makes the score of what comes out.

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
        self.device = device
        self.precision = precision
        self.memory_limit = memory_limit
        self._network: FusedNetwork | LayeredNetwork
        if fusible(metadata):
            made = network(metadata, tensors, kind)
            self._network = FusedNetwork(made, precision, device, config)
        else:
            self._network = LayeredNetwork(
                metadata, tensors, self._file.kind, precision, device, memory_limit
            )
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
        """What every feature adds to the score in the standardised space, 1/2 (y_j - x_j)^2 for the
        squared error, 0 where its term leaves the loss: float32 [n, n_features].

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

        0: nothing. 1: a NaN or inf among its features that no policy of the file deals with, its
        score is NaN. Else a sum of 2: the score overflowed and is float32's largest number (an
        output's may be the lowest), and 4: a missing value was left out or replaced.
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

    def accept(
        self,
        rows: Tensor,
        threshold: float | str | Threshold | None = None,
        counts: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(index, scores) of the anomalous events, in the order of the rows: int64 [m] and float32
        [m] on the device, rows[index] being the events.

        Those for which predict() is True. Waits for the device, to know how many there are;
        score_into() does not.

        Args:
            rows: n events, at most 2^30; see the class.
            threshold: see predict().
            counts: see score_into().
        """
        accepted = Accepted.empty(self._check_rows(rows), self.device)
        scores = torch.empty(len(rows), device=self.device)
        self.score_into(rows, scores=scores, accepted=accepted, counts=counts, threshold=threshold)
        return accepted.taken()

    def histogram(self, rows: Tensor) -> ScoreHistogram:
        """The scores of rows, counted in the kernel that makes them: to find thresholds in, or to
        merge first. Equal to `ScoreHistogram.update` of the same scores. Waits for the device."""
        histogram = ScoreHistogram(self.kind, self.identity)
        self._check_rows(rows)
        for start in range(0, len(rows), _MOST_ROWS):
            counts = self.new_counts()
            self.score_into(rows[start : start + _MOST_ROWS], counts=counts)
            histogram.add_counts(counts.cpu().numpy())
        return histogram

    def new_counts(self) -> Tensor:
        """Zeros for score_into's `counts`: int32 [2^20 + 1] on the device."""
        return torch.zeros(BINS + 1, dtype=torch.int32, device=self.device)

    def score_into(
        self,
        rows: Tensor,
        *,
        scores: Tensor | None = None,
        flags: Tensor | None = None,
        decisions: Tensor | None = None,
        features: Tensor | None = None,
        threshold: float | str | Threshold | None = None,
        counts: Tensor | None = None,
        accepted: Accepted | None = None,
    ) -> None:
        """Whatever is asked for, in one pass over the rows, into memory of the caller.

        Args:
            rows: n events; see the class.
            scores: float32 [n].
            flags: uint8 [n].
            decisions: bool [n], by `threshold` as in predict().
            features: float32 [n, n_features]; reconstruction and elbo only.
            threshold: see predict().
            counts: from new_counts(): every score is added to its bin, for
                `ScoreHistogram.add_counts`. Empty it before 2^31 events.
            accepted: memory for the accepted events (`cuda.accept.Accepted`), by `threshold`, in
                the order of the rows; needs `scores`. A second, small kernel puts them there.
        """
        n = self._check_rows(rows)
        self._check_out("scores", scores, torch.float32, (n,))
        self._check_out("flags", flags, torch.uint8, (n,))
        self._check_out("decisions", decisions, torch.bool, (n,))
        self._check_out("features", features, torch.float32, (n, self.n_features))
        self._check_out("counts", counts, torch.int32, (BINS + 1,))
        if accepted is not None:
            self._check_accepted(accepted, scores, n)
        decides = decisions is not None or accepted is not None
        limit = float(np.float32(self.threshold(threshold))) if decides else 0.0
        marks = decisions.view(torch.uint8) if decisions is not None else None
        outputs = Outputs(scores, flags, marks, features, counts, accepted)
        for start in range(0, n, _MOST_ROWS):
            some = slice(start, min(n, start + _MOST_ROWS))
            whole = n <= _MOST_ROWS
            self._network.run(
                rows if whole else rows[some], outputs if whole else outputs.part(some), limit
            )

    def score_stream(
        self,
        batches: Iterable[Any],
        batch_rows: int = 1 << 18,
        flags: bool = False,
        threshold: float | str | Threshold | None = None,
        accepted_only: bool = False,
        histogram: ScoreHistogram | None = None,
    ) -> Iterator[Any]:
        """Scores of batches in host memory, while the next one is on its way to the GPU.

        Two streams, each with its own pinned and device buffers: copy in, kernel, copy back of one
        batch overlap those of the other, kernels one after the other. Results come in the order of
        the batches.

        Args:
            batches: CPU tensors or numpy arrays [m, n_features], all float32 or all of one of the
                other dtypes. A contiguous pinned tensor is read where it lies: leave it alone until
                its scores have come. Others are copied to pinned memory first, by up to eight
                threads, and no more than torch.get_num_threads().
            batch_rows: rows of a buffer; longer batches go in several parts.
            flags: give (scores, flags) for every batch.
            threshold: of accepted_only; see predict().
            accepted_only: give (index, scores) of every batch's anomalous events, and let nothing
                else leave the GPU: rows of the batch, ascending, and their scores.
            histogram: takes in all scores, counted on the GPU, when the stream ends or is closed;
                before that every 2^30 events.

        Yields:
            float32 CPU tensors [m]; with flags (float32 [m], uint8 [m]); with accepted_only
            (int64 [k], float32 [k]).

        Raises:
            ValueError: memory_limit leaves no room for the buffers; a batch that does not fit; a
                threshold that predict() would not take, or one without accepted_only; a histogram
                of another model or kind; flags of accepted_only.
        """
        from vaelocity.cuda.stream import Wanted, score_stream

        if accepted_only and flags:
            raise ValueError("flags: not with accepted_only, which gives rows and scores")
        if threshold is not None and not accepted_only:
            raise ValueError("threshold: given without accepted_only")
        limit = self.threshold(threshold) if accepted_only else None
        if histogram is not None:
            # What merging would refuse at the end is refused now.
            ScoreHistogram(self.kind, self.identity).merge(
                ScoreHistogram(histogram.kind, histogram.model)
            )
        return score_stream(self, batches, batch_rows, Wanted(flags, limit, histogram))

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
        return self._file.n_features

    @property
    def kind(self) -> str:
        """The score it computes: one of vaelocity.structure.SCORES."""
        return self._file.kind

    @property
    def config(self) -> Config:
        """The kernel and how it is launched, and why."""
        return self._network.config

    @property
    def device_bytes(self) -> int:
        """Device memory it holds: parameters and scratch."""
        return self._network.device_bytes

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

    def _check_accepted(self, accepted: Accepted, scores: Tensor | None, n: int) -> None:
        accepted.check(self.device)
        if scores is None:
            raise ValueError("scores: needed where accepted events are asked for, got None")
        if n > _MOST_ROWS:
            raise ValueError(f"rows: at most {_MOST_ROWS:,} with accepted events, got {n:,}")
        if n == 0:
            accepted.count.zero_()

    def _out(
        self, name: str, out: Tensor | None, rows: Tensor, dtype: torch.dtype, *more: int
    ) -> Tensor:
        """`out`, or new memory where it is None."""
        shape = (self._check_rows(rows), *more)
        self._check_out(name, out, dtype, shape)
        return torch.empty(shape, dtype=dtype, device=self.device) if out is None else out


def _conformance(
    metadata: dict[str, Any], tensors: dict[str, Any], kind: str
) -> tuple[Any, Any, Any]:
    names = metadata.get("conformance")
    if names is None or kind not in names["scores"]:
        raise BundleError(f'no conformance rows for kind "{kind}"')
    return (tensors[names["rows"]], tensors[names["scores"][kind]], tensors[names["flags"][kind]])
