"""Loading a .vael file and scoring rows with it: no torch, one fused C++ kernel.

A score follows: Scorer.score -> rows.layout_of -> _core.Model.score (csrc/bind/model.cpp) ->
vael_score_rows (csrc/src/api.cpp) -> score() of one instruction set
(csrc/src/score/kernels/score.cpp).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import numpy as np
import numpy.typing as npt

from vaelocity import rows as _rows
from vaelocity._core import BundleError, Model
from vaelocity.histogram import ScoreHistogram
from vaelocity.threshold import Threshold, threshold_for

if TYPE_CHECKING:
    from vaelocity.adapters.pyod import Detector
    from vaelocity.adapters.river import Anomaly
    from vaelocity.adapters.sklearn import OutlierDetector
    from vaelocity.cuda.scorer import CudaScorer
    from vaelocity.drift import Reference
    from vaelocity.explain import Explanation

Floats = npt.NDArray[np.float32]
_Scalar = TypeVar("_Scalar", bound=np.generic)

# A thread's share below this many rows costs more to hand out than to score.
_ROWS_PER_THREAD = 2048


@overload
def load(
    path: str | os.PathLike[str],
    backend: Literal["cuda"],
    kind: str | None = None,
    *,
    verify: bool = True,
    precision: str = "float32",
    device: Any = None,
    memory_limit: int | None = None,
) -> CudaScorer: ...
@overload
def load(
    path: str | os.PathLike[str],
    backend: Literal["auto", "cpu"] = "auto",
    kind: str | None = None,
    *,
    isa: str | None = None,
    verify: bool = True,
    fast: bool = False,
) -> Scorer: ...
def load(
    path: str | os.PathLike[str],
    backend: str = "auto",
    kind: str | None = None,
    *,
    isa: str | None = None,
    verify: bool = True,
    fast: bool = False,
    precision: str | None = None,
    device: Any = None,
    memory_limit: int | None = None,
) -> Scorer | CudaScorer:
    """The scorer of a .vael file.

    Every byte is checked against the file's checksum and its conformance rows are scored again:
    on the CPU they must come out bit for bit, on a GPU and with `fast` within a tolerance.

    Args:
        path: the file.
        backend: "auto" or "cpu"; "cuda" for a scorer of torch tensors on a GPU (needs torch and
            triton): one kernel for a network of dense layers; convolutions, pools and norms run
            through torch (cuDNN), and one kernel makes the score of what they give.
        kind: reconstruction, kl, mu2, rz or elbo; None takes the one the file was saved with.
        isa: avx512, avx2 or generic; None asks VAELOCITY_ISA, and without it takes the best.
        verify: False leaves out the conformance rows (not the checksum).
        fast: CPU only: dense layers by AVX512_BF16's dot products. Their inputs and weights are
            rounded to bfloat16, sums are float32. The scores are not those of other machines; on
            one machine a row has the same bits in any batch.
        precision: "cuda" only: float32 (the default), tf32 or bf16, of the operands of the
            layers' products; sums, preprocessing and scores are float32 in each.
        device: "cuda" only: a torch device; None takes the current one.
        memory_limit: "cuda" only: bytes of device memory that the scorer may hold.

    Raises:
        OSError: the file cannot be read: FileNotFoundError, IsADirectoryError, ...
        BundleError: it is no bundle, damaged, newer than this version, has no score of that kind,
            or does not give its own scores here; fast where there is no AVX512_BF16; the message
            says which.
        ValueError: unknown backend or precision, or an argument of the other backend.
        ModuleNotFoundError, RuntimeError: "cuda" without torch or triton, or without a device.
    """
    if backend not in ("auto", "cpu", "cuda"):
        raise ValueError(f"backend: expected 'auto', 'cpu' or 'cuda', got {backend!r}")
    gpu = {"precision": precision, "device": device, "memory_limit": memory_limit}
    cpu = {"isa": isa, "fast": fast or None}
    foreign = cpu if backend == "cuda" else gpu
    for argument, value in foreign.items():
        if value is not None:
            raise ValueError(f"{argument}: backend {backend!r} takes none, got {value!r}")
    name = os.fspath(path)
    with open(name, "rb"):  # raises what it should for a missing file, a folder, no permission
        pass
    try:
        if backend == "cuda":
            return _load_cuda(name, kind, verify, precision or "float32", device, memory_limit)
        return Scorer(Model.from_file(name, kind or "", isa or "", verify, fast))
    except BundleError as error:
        # read_bundle names the file already, the C++ reader does not.
        text = str(error).removeprefix(f"{name}: ")
        raise BundleError(f"{name}: {text}") from None


def _load_cuda(name: str, kind: str | None, verify: bool, *options: Any) -> CudaScorer:
    for package in ("torch", "triton", "safetensors"):
        if find_spec(package) is None:
            raise ModuleNotFoundError(
                f"backend: 'cuda' needs {package}: pip install 'vaelocity[gpu]'", name=package
            )
    from vaelocity.cuda.scorer import load as load_cuda

    return load_cuda(name, kind, verify, *options)


class Scorer:
    """Scores rows with a frozen model; made by vaelocity.load(). Immutable, safe in any thread.

    `rows` may be, without a copy: a float32 numpy array or CPU torch tensor [n, n_features] with
    any strides; a list or dict of float32 columns, a structured array, a pyarrow RecordBatch or
    Table (one chunk), a pandas DataFrame. Named columns are taken by feature name. Anything but
    float32 is a TypeError. The same row gets the same bits in all of them, in any batch, on any
    thread.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._score = model.score

    def score(self, rows: Any, out: Floats | None = None, threads: int = 1) -> Floats:
        """Anomaly scores, float32 [n]; higher is more anomalous.

        A row with a NaN or inf gets NaN, a score beyond float32 its largest number; flags() tells.

        Args:
            rows: n events; see the class.
            out: where to write, float32 [n], contiguous; returned.
            threads: rows are shared out to so many threads.

        Raises:
            TypeError: not float32, or no rows at all.
            ValueError: another number of features, a missing column, an `out` that does not fit.
        """
        if threads == 1 and type(rows) is np.ndarray and rows.dtype.names is None:
            return self._score(rows, out)
        layout = _rows.layout_of(rows, self.feature_names)
        n = _rows.n_rows(layout)
        spans = _spans(n, threads)
        if len(spans) == 1:
            return self._score_part(layout, out)
        whole = np.empty(n, np.float32) if out is None else out
        if whole.shape != (n,):
            raise ValueError(f"out: expected shape ({n},), got {whole.shape}")
        _in_threads(lambda a, b: self._score_part(_rows.part(layout, a, b), whole[a:b]), spans)
        return whole

    def score_features(self, rows: Any, threads: int = 1) -> Floats:
        """1/2 (y_j - x_j)^2 of every feature in the standardised space: float32 [n, n_features].

        A row's sum is its score, up to float32 rounding. Raises ValueError for kinds other than
        reconstruction, which have no scores per feature; else as score().
        """

        def part(layout: _rows.Layout) -> Floats:
            if isinstance(layout, list):
                return self._model.features_columns(layout)
            return self._model.features(layout)

        return self._in_parts(part, rows, threads)

    def explain(
        self,
        rows: Any,
        k: int = 3,
        groups: Mapping[str, Sequence[str]] | None = None,
        reference: Reference | None = None,
    ) -> list[Explanation]:
        """The k features with the largest part of each row's reconstruction score, and the scores
        of groups of features: see `vaelocity.explain`. `reference`: `explain.reference_of(path)`
        tells which values are unusual."""
        from vaelocity.explain import explain

        return explain(self, rows, k, groups=groups, reference=reference)

    def flags(self, rows: Any, threads: int = 1) -> npt.NDArray[np.uint8]:
        """What is unusual about each row, uint8 [n].

        A sum of bits, 0: nothing. 1, and then no other: a NaN or inf among its features, its score
        is NaN. 2: the score of finite features overflowed and is float32's largest number (or, of
        kind output, the negative one). 4: a NaN or inf was left out of the score or replaced, as
        the file's preprocessing says (`vaelocity.preprocess`).
        """

        def part(layout: _rows.Layout) -> npt.NDArray[np.uint8]:
            if isinstance(layout, list):
                return self._model.flags_columns(layout)
            return self._model.flags(layout)

        return self._in_parts(part, rows, threads)

    def score_flags(self, rows: Any, threads: int = 1) -> tuple[Floats, npt.NDArray[np.uint8]]:
        """score() and flags() of rows, in one pass."""
        layout = _rows.layout_of(rows, self.feature_names)
        spans = _spans(_rows.n_rows(layout), threads)
        if len(spans) == 1:
            return self._score_flags_part(layout)
        found = _in_threads(lambda a, b: self._score_flags_part(_rows.part(layout, a, b)), spans)
        scores, flags = zip(*found, strict=True)
        return np.concatenate(scores), np.concatenate(flags)

    def score_flags_of(self, parts: Sequence[Floats]) -> tuple[Floats, npt.NDArray[np.uint8]]:
        """score_flags() of neighbouring arrays of rows [n_i, n_features], as of one array."""
        return self._model.score_flags(parts)

    def predict(
        self, rows: Any, threshold: float | str | Threshold | None = None, threads: int = 1
    ) -> npt.NDArray[np.bool_]:
        """True where an event is anomalous: where not score <= threshold, bool [n].

        Written so that a NaN score counts as anomalous: an event that cannot be scored is kept.

        Args:
            threshold: a score, the name of one of `thresholds`, or a `Threshold`; None takes the
                file's first one for this kind of score.

        Raises:
            ValueError: the threshold is NaN, unknown, for another model or kind of score, or None
                and the file has none for this kind.
        """
        cut = np.float32(self.threshold(threshold))
        return ~(self.score(rows, threads=threads) <= cut)

    def threshold(self, threshold: float | str | Threshold | None = None) -> float:
        """The score to compare with: what `predict` takes for this `threshold`."""
        if threshold is None or isinstance(threshold, str):
            return self.stored_threshold(threshold).value
        if not isinstance(threshold, Threshold):
            if np.isnan(threshold):
                raise ValueError("threshold: got NaN")
            return float(threshold)
        if threshold.kind != self.kind:
            raise ValueError(
                f"threshold: {threshold.name} is for {threshold.kind} scores, these are {self.kind}"
            )
        if None not in (threshold.model, self.identity) and threshold.model != self.identity:
            raise ValueError(
                f"threshold: {threshold.name} is for model {threshold.model}, this is model "
                f"{self.identity}"
            )
        return threshold.value

    def stored_threshold(self, name: str | None = None) -> Threshold:
        """The file's threshold of that name for this kind of score; None: the first.

        Raises ValueError where there is none.
        """
        if name is None and not self.thresholds:
            raise ValueError(
                f"threshold: the file has none for kind {self.kind!r}; pass one, or save the "
                "model with thresholds=[threshold_for(...)]"
            )
        name = next(iter(self.thresholds)) if name is None else name
        if name not in self.thresholds:
            known = ", ".join(map(repr, self.thresholds)) or "none"
            raise ValueError(f"threshold: expected one of the file's ({known}), got {name!r}")
        return self.thresholds[name]

    def histogram(self, rows: Any, threads: int = 1) -> ScoreHistogram:
        """The scores of rows, counted: to find thresholds in, or to merge first."""
        histogram = ScoreHistogram(self.kind, self.identity)
        return histogram.update(self.score(rows, threads=threads))

    def threshold_for(self, rows: Any, threads: int = 1, **asked: Any) -> Threshold:
        """The threshold for held-out rows: `vaelocity.threshold_for` of their scores, with the
        kind and the identity of this scorer. `asked`: its arguments, fpr=0.01 for instance."""
        scores = self.score(rows, threads=threads)
        return threshold_for(scores, kind=self.kind, model=self.identity, **asked)

    def as_sklearn(self, rows: Any = None, contamination: float = 0.1) -> OutlierDetector:
        """This scorer as a fitted outlier detector of scikit-learn: `vaelocity.adapters`."""
        from vaelocity.adapters.sklearn import as_sklearn

        return as_sklearn(self, rows, contamination)

    def as_pyod(self, rows: Any, contamination: float = 0.1) -> Detector:
        """This scorer as a fitted detector of PyOD: `vaelocity.adapters`."""
        from vaelocity.adapters.pyod import as_pyod

        return as_pyod(self, rows, contamination)

    def as_river(self) -> Anomaly:
        """This scorer as an anomaly detector of river that does not learn: `vaelocity.adapters`."""
        from vaelocity.adapters.river import as_river

        return as_river(self)

    def verify(self) -> None:
        """Scores the file's conformance rows again; BundleError names the first that differs."""
        self._model.verify()

    @property
    def n_features(self) -> int:
        """Columns of a row."""
        return self._model.n_features

    @property
    def kind(self) -> str:
        """The score it computes: reconstruction, kl, mu2, rz or elbo."""
        return self._model.kind

    @property
    def isa(self) -> str:
        """The instruction set it computes with: avx512, avx2, neon or generic; avx512_bf16 in fast
        mode."""
        return self._model.isa

    @property
    def fingerprint(self) -> str:
        """The file's checksum, 64 hex digits: SHA-256 of the file with its checksum as zeros."""
        return self._model.checksum

    @property
    def identity(self) -> str | None:
        """The model's identity, 64 hex digits: the same for all files that score alike, whatever
        thresholds they hold (`vaelocity.identity`). None in a file of an older version."""
        identity: str | None = self.metadata.get("identity")
        return identity

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """The file's JSON: features, steps, thresholds, provenance."""
        metadata: dict[str, Any] = json.loads(self._model.metadata)
        return metadata

    @cached_property
    def feature_names(self) -> list[str]:
        """Names of the columns, in order."""
        return list(self.metadata["features"])

    @cached_property
    def kinds(self) -> list[str]:
        """The kinds of score this file can give; load(path, kind=...) chooses."""
        return list(self.metadata["conformance"]["scores"])

    @cached_property
    def thresholds(self) -> dict[str, Threshold]:
        """The file's thresholds for this kind of score by name, in the order of the file."""
        every = [Threshold.from_dict(entry) for entry in self.metadata.get("thresholds", [])]
        return {threshold.name: threshold for threshold in every if threshold.kind == self.kind}

    def __repr__(self) -> str:
        return f"Scorer(kind={self.kind!r}, n_features={self.n_features}, isa={self.isa!r})"

    def _score_part(self, layout: _rows.Layout, out: Floats | None) -> Floats:
        if isinstance(layout, list):
            return self._model.score_columns(layout, out)
        return self._model.score(layout, out)

    def _score_flags_part(self, layout: _rows.Layout) -> tuple[Floats, npt.NDArray[np.uint8]]:
        if isinstance(layout, list):
            return self._model.score_flags_columns(layout)
        return self._model.score_flags([layout])

    def _in_parts(
        self,
        part: Callable[[_rows.Layout], npt.NDArray[_Scalar]],
        rows: Any,
        threads: int,
    ) -> npt.NDArray[_Scalar]:
        layout = _rows.layout_of(rows, self.feature_names)
        spans = _spans(_rows.n_rows(layout), threads)
        if len(spans) == 1:
            return part(layout)
        return np.concatenate(_in_threads(lambda a, b: part(_rows.part(layout, a, b)), spans))


def _spans(n: int, threads: int) -> list[tuple[int, int]]:
    """n rows cut into at most `threads` neighbouring spans."""
    if not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads: expected a positive int, got {threads!r}")
    count = max(1, min(threads, n // _ROWS_PER_THREAD))
    edges = [n * i // count for i in range(count + 1)]
    return list(pairwise(edges))


_Result = TypeVar("_Result")


def _in_threads(work: Callable[[int, int], _Result], spans: list[tuple[int, int]]) -> list[_Result]:
    """work(start, stop) for every span at once; the kernels run without the interpreter lock."""
    with ThreadPoolExecutor(len(spans)) as pool:
        return [future.result() for future in [pool.submit(work, *span) for span in spans]]
