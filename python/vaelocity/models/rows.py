"""What callers hand to a model, checked and made into float32 tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Rows = npt.NDArray[np.floating[Any]] | Tensor
Scorable = Callable[[Tensor], Tensor]
"""Which rows have a score: bool [n] of rows [n, d]."""


def as_rows(value: Rows, n_columns: int, name: str) -> Tensor:
    """float32 [n, n_columns], sharing memory where the caller's is float32 and contiguous.

    Raises TypeError for anything but a floating NumPy array or torch tensor, ValueError for
    another shape.
    """
    tensor = _as_float32(value, name)
    if tensor.ndim != 2 or tensor.shape[1] != n_columns:
        raise ValueError(f"{name}: expected shape (n, {n_columns}), got {tuple(tensor.shape)}")
    return tensor


def as_training_rows(
    value: Rows,
    n_columns: int,
    name: str,
    missing: bool = False,
    scorable: Scorable | None = None,
) -> Tensor:
    """`as_rows`, at least one of them, and every number finite, or, with `missing`, NaN where a
    value is not there, but not in all of a row; or those that are `scorable`.

    Raises ValueError with the number of rows that are not and the first of them.
    """
    rows = as_rows(value, n_columns, name)
    if len(rows) == 0:
        raise ValueError(f"{name}: no rows")
    if bool(torch.isfinite(rows.sum())):
        return rows  # a NaN or an infinity anywhere would be in the sum
    if missing:
        bad = torch.isinf(rows).any(dim=1) | torch.isnan(rows).all(dim=1)
    elif scorable is not None:
        bad = ~torch.cat([scorable(chunk) for chunk in torch.split(rows, 1 << 16)])
    else:
        bad = ~finite_rows(rows)
    count = int(bad.sum())
    if count and missing:
        raise ValueError(
            f"{name}: {count} of {len(rows)} rows hold an infinity (as float32) or nothing but "
            f"NaN, the first is row {int(bad.int().argmax())}; leave them out or fill them"
        )
    if count:
        raise ValueError(
            f"{name}: {count} of {len(rows)} rows hold a NaN or an infinity (as float32), the "
            f"first is row {int(bad.int().argmax())}; leave them out or fill them"
        )
    return rows


def finite_rows(rows: Tensor) -> Tensor:
    """True where every feature is finite: bool [n]. A chunk at a time: the mask of all of a large
    tensor would be a quarter of its size."""
    chunks = torch.split(rows, 1 << 16)
    return torch.cat([torch.isfinite(chunk).all(dim=1) for chunk in chunks])


def as_weight(value: npt.ArrayLike | Tensor | None, n: int, name: str) -> Tensor | None:
    """Event weights, float32 [n], scaled to mean 1.

    Raises ValueError for another shape, a weight that is negative or not finite, or a sum of 0:
    with negative weights the loss has no minimum.
    """
    if value is None:
        return None
    given = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if given.shape != (n,) or given.dtype.kind not in "fiub":
        raise ValueError(
            f"{name}: expected {n} numbers, one a row, got {given.dtype} of shape {given.shape}"
        )
    weight = given.astype(np.float64)
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(
            f"{name}: {np.count_nonzero(bad)} weights are negative or not finite, the first is "
            f"{weight[first]} at {first}"
        )
    mean = weight.mean()
    if not (mean > 0 and np.isfinite(mean)):
        raise ValueError(f"{name}: the weights add up to {weight.sum()}")
    return torch.from_numpy((weight / mean).astype(np.float32))


def as_label(
    value: npt.ArrayLike | Tensor | None, n: int, n_classes: int, name: str
) -> Tensor | None:
    """Labels of rows, int64 [n], each below n_classes; None where the model has no classes.

    Raises ValueError for labels without classes, classes without labels, another shape or dtype
    and a label outside.
    """
    if value is None and not n_classes:
        return None
    if not n_classes:
        raise ValueError(f"{name}: this model has no classes (n_classes)")
    if value is None:
        raise ValueError(f"{name}: a model of {n_classes} classes needs the class of every row")
    given = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if given.shape != (n,) or given.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: expected {n} integers, one a row, got {given.dtype} of shape {given.shape}"
        )
    outside = (given < 0) | (given >= n_classes)
    if outside.any():
        first = int(np.argmax(outside))
        raise ValueError(
            f"{name}: expected integers from 0 to {n_classes - 1}, got {given[first]} at {first}"
        )
    return torch.from_numpy(given.astype(np.int64))


def _as_float32(value: Rows, name: str) -> Tensor:
    if isinstance(value, Tensor):
        if not value.is_floating_point():
            raise TypeError(f"{name}: expected a tensor of floats, got {value.dtype}")
        return value.detach().to(torch.float32).contiguous()
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{name}: expected a NumPy array or a torch tensor, got {type(value).__name__}"
        )
    if value.dtype.kind != "f":
        raise TypeError(
            f"{name}: expected floats, got {value.dtype}; convert with .astype(np.float32)"
        )
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(value, dtype=np.float32)
    # torch can neither share read-only memory without a warning nor at any odd address
    if not array.flags.writeable or not array.flags.aligned:
        array = array.copy()
    return torch.from_numpy(array)
