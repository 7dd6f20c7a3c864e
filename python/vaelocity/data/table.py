"""`Table`: rows of events with the names of their features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

_ROWS_AT_ONCE = 65536


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Events as float32 rows, with feature names and, where known, labels and weights.

    rows           float32 [n, d], C-contiguous; NaN and infinities are kept, see `nan_rows`
    feature_names  d distinct names, in the order of the columns
    labels         int64 [n] or None; codes into class_names where those are known
    weights        float32 [n] or None
    class_names    list of names, or None

    Raises TypeError for rows or weights that are not float32 and labels that are not integers
    (conversion belongs to `read`, where it can be checked), and ValueError for shapes and names
    that do not fit together.
    """

    rows: npt.NDArray[np.float32]
    feature_names: list[str]
    labels: npt.NDArray[np.int64] | None = None
    weights: npt.NDArray[np.float32] | None = None
    class_names: list[str] | None = None

    def __post_init__(self) -> None:
        rows = self.rows
        if not isinstance(rows, np.ndarray) or rows.dtype != np.float32:
            raise TypeError(f"rows: expected a float32 array, got {_kind(rows)}")
        if rows.ndim != 2:
            raise ValueError(f"rows: expected shape [n, d], got {rows.shape}")
        names = list(self.feature_names)
        if len(names) != rows.shape[1] or len(set(names)) != len(names):
            raise ValueError(
                f"feature_names: expected {rows.shape[1]} distinct names, "
                f"got {len(names)} ({len(set(names))} distinct)"
            )
        # The dataclass is frozen for its users; only this normalisation writes to it.
        object.__setattr__(self, "rows", np.ascontiguousarray(rows))
        object.__setattr__(self, "feature_names", names)
        self._check_labels()
        if self.weights is not None:
            if not isinstance(self.weights, np.ndarray) or self.weights.dtype != np.float32:
                raise TypeError(f"weights: expected a float32 array, got {_kind(self.weights)}")
            if self.weights.shape != (len(rows),):
                raise ValueError(f"weights: expected [{len(rows)}], got {self.weights.shape}")

    def _check_labels(self) -> None:
        if self.class_names is not None:
            object.__setattr__(self, "class_names", list(self.class_names))
        labels = self.labels
        if labels is None:
            return
        if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
            raise TypeError(f"labels: expected an integer array, got {_kind(labels)}")
        if labels.shape != (len(self.rows),):
            raise ValueError(f"labels: expected [{len(self.rows)}], got {labels.shape}")
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))
        if self.class_names is not None and len(labels):
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= len(self.class_names):
                raise ValueError(
                    f"labels: codes {low}..{high} do not fit {len(self.class_names)} class_names"
                )

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        extra = [name for name in ("labels", "weights") if getattr(self, name) is not None]
        with_ = f", with {' and '.join(extra)}" if extra else ""
        return f"Table({len(self)} rows x {self.n_features} features{with_})"

    @property
    def n_features(self) -> int:
        return int(self.rows.shape[1])

    @property
    def nan_rows(self) -> npt.NDArray[np.int64]:
        """Indices (ascending, counting from 0) of the rows that hold a NaN or an infinity."""
        found = [
            start + np.flatnonzero(~np.isfinite(self.rows[start : start + _ROWS_AT_ONCE]).all(1))
            for start in range(0, len(self), _ROWS_AT_ONCE)
        ]
        return np.concatenate([np.empty(0, np.int64), *found]).astype(np.int64, copy=False)

    def select(self, which: npt.ArrayLike | slice) -> Table:
        """The rows that `which` names, in its order: a mask (bool [n]), indices, or a slice."""
        index: npt.NDArray[np.generic] | slice
        if isinstance(which, slice):
            index = which
        else:
            index = np.asarray(which)
            if index.size == 0 and index.ndim == 1 and index.dtype.kind == "f":
                index = index.astype(np.intp)  # what np.asarray makes of an empty list
            if index.ndim != 1 or index.dtype.kind not in "biu":
                raise TypeError(
                    f"which: expected a 1-D mask or 1-D indices, "
                    f"got {index.dtype} of shape {index.shape}"
                )
            if index.dtype.kind == "b" and len(index) != len(self):
                raise ValueError(f"which: expected a mask of {len(self)} rows, got {len(index)}")
        return replace(
            self,
            rows=self.rows[index],
            labels=None if self.labels is None else self.labels[index],
            weights=None if self.weights is None else self.weights[index],
        )

    def of_class(self, *names: str) -> Table:
        """The rows whose label is one of the named classes, in their order."""
        if self.labels is None or self.class_names is None:
            raise ValueError("of_class: this table has no labels with class_names")
        for name in names:
            if name not in self.class_names:
                raise ValueError(f"of_class: no class {name!r}; there are {self.class_names}")
        codes = [self.class_names.index(name) for name in names]
        return self.select(np.isin(self.labels, codes))

    def with_features(self, names: Sequence[str]) -> Table:
        """The same rows with only the named features, in the order of `names`."""
        from vaelocity.data.source import check_known

        check_known("features", names, self.feature_names, "the table")
        if list(names) == self.feature_names:
            return self
        place = {name: j for j, name in enumerate(self.feature_names)}
        rows = np.ascontiguousarray(self.rows[:, [place[name] for name in names]])
        return replace(self, rows=rows, feature_names=list(names))

    def split(self, fraction: float, seed: int = 0) -> tuple[Table, Table]:
        """Two disjoint tables: round(fraction * n) rows drawn without replacement, and the rest.

        Rows keep their order within each part; the same seed gives the same split.
        """
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"fraction: expected a number from 0 to 1, got {fraction!r}")
        order = np.random.default_rng(seed).permutation(len(self))
        mask = np.zeros(len(self), bool)
        mask[order[: round(fraction * len(self))]] = True
        return self.select(mask), self.select(~mask)

    def sha256(self) -> str:
        """Hex digest of the feature names, the shape and the bytes of the rows (little-endian).

        Two tables with equal digests hold the same numbers bit for bit under the same names.
        Labels and weights are not part of it.
        """
        head = {"features": self.feature_names, "shape": list(self.rows.shape)}
        digest = hashlib.sha256(json.dumps(head, separators=(",", ":")).encode() + b"\n")
        for start in range(0, len(self), _ROWS_AT_ONCE):
            part = self.rows[start : start + _ROWS_AT_ONCE].astype("<f4", copy=False)
            digest.update(part.tobytes())
        return digest.hexdigest()


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__
