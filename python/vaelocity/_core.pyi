"""The compiled part of vaelocity (csrc/bind); use it through vaelocity.load()."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__version__: str

class _Ops(ModuleType):
    """One function for each kernel of csrc/bind/ops: name(*schema_args, *outputs, begin, end)."""

    def __getattr__(self, name: str) -> Callable[..., None]: ...

ops: _Ops

class BundleError(ValueError): ...

HISTOGRAM_BITS: int

def histogram_count(
    scores: npt.NDArray[np.float32], counts: npt.NDArray[np.uint64]
) -> tuple[int, int, int]: ...
def histogram_count_weighted(
    scores: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float64],
    counts: npt.NDArray[np.uint64],
    sums: npt.NDArray[np.float64],
    squares: npt.NDArray[np.float64],
    nan_sums: npt.NDArray[np.float64],
) -> tuple[int, int, int]: ...
def arrow_columns(
    schema: object, array: object, names: Sequence[str]
) -> list[npt.NDArray[np.float32]] | None: ...
def available_isas() -> list[str]: ...
def why_not_fast() -> str | None: ...

class Model:
    @staticmethod
    def from_file(
        path: str, kind: str = "", isa: str = "", verify: bool = True, fast: bool = False
    ) -> Model: ...
    @staticmethod
    def from_bytes(
        data: bytes, kind: str = "", isa: str = "", verify: bool = True, fast: bool = False
    ) -> Model: ...
    def score(
        self, rows: npt.NDArray[np.float32], out: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.float32]: ...
    def score_columns(
        self,
        columns: Sequence[npt.NDArray[np.float32]],
        out: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]: ...
    def features(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...
    def features_columns(
        self, columns: Sequence[npt.NDArray[np.float32]]
    ) -> npt.NDArray[np.float32]: ...
    def flags(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]: ...
    def flags_columns(
        self, columns: Sequence[npt.NDArray[np.float32]]
    ) -> npt.NDArray[np.uint8]: ...
    def score_flags(
        self, parts: Sequence[npt.NDArray[np.float32]]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]: ...
    def score_flags_columns(
        self, columns: Sequence[npt.NDArray[np.float32]]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]: ...
    def verify(self) -> None: ...
    @property
    def n_features(self) -> int: ...
    @property
    def latent(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def isa(self) -> str: ...
    @property
    def checksum(self) -> str: ...
    @property
    def metadata(self) -> str: ...
    @property
    def workspace_bytes(self) -> int: ...

FixedFormat: TypeAlias = tuple[int, int, bool, bool, bool]
"""width, fraction, signed, rounds to nearest, saturates"""
FixedLayer: TypeAlias = tuple[
    npt.NDArray[np.int32],
    npt.NDArray[np.int64],
    FixedFormat,
    int,
    bool,
    bool,
    int,
    bool,
    FixedFormat,
]
"""weight, bias, the sum's format, product_fraction, at_once, wraps, chunk, relu, the result's
format"""

class FixedNetwork:
    def __init__(
        self,
        mean: npt.NDArray[np.float32],
        inverse_scale: npt.NDArray[np.float32],
        input: FixedFormat,
        layers: Sequence[FixedLayer],
        reconstruction: bool,
        x_shift: int,
        y_shift: int,
        score: FixedFormat,
        square_fraction: int,
        score_at_once: bool,
        isa: str = "",
    ) -> None: ...
    def run(
        self, rows: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]: ...
