"""What a .vael file says is done to the columns of a row before the network sees them.

`preprocess` is a list of these steps, each at most once and in this order:

    missing      flag [columns], impute [columns], values [a float32 for each column of impute]
    mask_zeros   columns
    clip         columns, low and high [a float32 or null, for no bound, for each column]
    wrap         columns
    log1p        columns
    standardize  mean, scale: tensors [n_features]; always there

Columns are ascending numbers. A column that a step does not name is left as it is.

missing: what becomes of a value that is a NaN or an infinity. In a column of neither list it
rejects the row: the score is NaN, the flags are 1. In a column of `flag` the term of the value
leaves the loss. In a column of `impute` the value is replaced by the one in `values`, which then
goes through the steps that follow. In both cases the row's flags have 4, and the score is finite.

mask_zeros: a value of exactly 0 (of either sign, and before clip) stands for an object that is not
there, as in zero-padded lists: its term leaves the loss. No flag: absence is ordinary.

Where a term leaves the loss the network is given 0 for the feature, what its mean is standardised
to, whatever the later steps say; the score is the sum over the terms that are left, not scaled up.
Kinds of score without the features in their loss (mu2, kl, rz, output, latent_reconstruction) are
computed from the same input.

clip: max(low, min(high, x)). wrap: the angle x in radians brought into [-pi, pi), one that is there
already unchanged. log1p: sign(x) ln(1 + |x|), which is ln(1 + x) for the energies and counts that
it is for, keeps the order of negative values, and takes every finite number to a finite one.
standardize: (x - mean) * (1 / scale).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from vaelocity._core import BundleError
from vaelocity.steps import check_keys, is_float32, named_tensor

__all__ = [
    "COLUMNS",
    "check_preprocess",
    "columns_of",
    "leaves_out",
    "only_standardized",
    "prepared",
    "scorable",
]

ORDER = ("missing", "mask_zeros", "clip", "wrap", "log1p", "standardize")

Array = npt.NDArray[Any]
Exact = npt.NDArray[np.float64]
Tensors = Mapping[str, Array]
Step = Mapping[str, Any]


def only_standardized(metadata: Mapping[str, Any]) -> bool:
    """Has the file no step but standardize?"""
    return len(metadata["preprocess"]) == 1


def check_preprocess(steps: Any, tensors: Tensors, n_features: int) -> None:
    """Raise BundleError unless the steps are those of this module, in its order."""
    if not isinstance(steps, list):
        raise BundleError("preprocess: expected a list of steps")
    left = list(ORDER)
    for i, step in enumerate(steps):
        where, op = f"preprocess.{i}", step["op"]
        if op not in left:
            raise BundleError(
                f"{where}: no step {op!r} in this place: expected {', '.join(ORDER)}, in this "
                "order and each once at most"
            )
        left = left[left.index(op) + 1 :]
        _CHECKS[op](step, where, n_features)
        if op == "standardize":
            _check_standardize(step, tensors, n_features)
    if not steps or steps[-1]["op"] != "standardize":
        raise BundleError('preprocess: expected one step "standardize" at the end')


def _check_standardize(step: Step, tensors: Tensors, n_features: int) -> None:
    mean = named_tensor(tensors, step["mean"], np.float32, (n_features,))
    scale = named_tensor(tensors, step["scale"], np.float32, (n_features,))
    if not np.isfinite(mean).all():
        raise BundleError("preprocess: a mean is not finite")
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scale
    if not ((scale > 0) & np.isfinite(scale) & np.isfinite(inverse)).all():
        raise BundleError("preprocess: a scale is not positive and finite")


def _columns(step: Step, key: str, where: str, n_features: int) -> list[int]:
    columns = step[key]
    good = isinstance(columns, list) and all(type(column) is int for column in columns)
    if good:
        inside = not columns or (columns[0] >= 0 and columns[-1] < n_features)
        good = inside and all(a < b for a, b in pairwise(columns))
    if not good:
        raise BundleError(
            f"{where}: expected ascending numbers of columns below {n_features} as {key}"
        )
    return list(columns)


def _not_empty(columns: Sequence[int], where: str) -> None:
    if not columns:
        raise BundleError(f"{where}: names no column")


def _values(step: Step, key: str, columns: Sequence[int], where: str, bounds: bool) -> list[Any]:
    values = step[key]
    if not isinstance(values, list) or len(values) != len(columns):
        raise BundleError(f"{where}: expected one number for each column as {key}")
    for value in values:
        if not is_float32(value) and not (bounds and value is None):
            raise BundleError(f"{where}: expected a finite number as {key}, got {value!r}")
    return values


def _check_missing(step: Step, where: str, n_features: int) -> None:
    check_keys(step, ("op", "flag", "impute", "values"), where)
    flag = _columns(step, "flag", where, n_features)
    impute = _columns(step, "impute", where, n_features)
    _not_empty(flag + impute, where)
    both = sorted(set(flag) & set(impute))
    if both:
        raise BundleError(f"{where}: column {both[0]} is both flagged and imputed")
    _values(step, "values", impute, where, bounds=False)


def _check_clip(step: Step, where: str, n_features: int) -> None:
    check_keys(step, ("op", "columns", "low", "high"), where)
    columns = _columns(step, "columns", where, n_features)
    _not_empty(columns, where)
    low = _values(step, "low", columns, where, bounds=True)
    high = _values(step, "high", columns, where, bounds=True)
    for column, a, b in zip(columns, low, high, strict=True):
        if a is not None and b is not None and np.float32(a) > np.float32(b):
            raise BundleError(f"{where}: low is above high for column {column}")


def _check_marks(step: Step, where: str, n_features: int) -> None:
    check_keys(step, ("op", "columns"), where)
    _not_empty(_columns(step, "columns", where, n_features), where)


def _check_keys_alone(step: Step, where: str, n_features: int) -> None:
    check_keys(step, ("op", "mean", "scale"), where)


_CHECKS: dict[str, Callable[[Step, str, int], None]] = {
    "missing": _check_missing,
    "mask_zeros": _check_marks,
    "clip": _check_clip,
    "wrap": _check_marks,
    "log1p": _check_marks,
    "standardize": _check_keys_alone,
}


# ---- As arrays

COLUMNS = ("policy", "imputed", "absent", "low", "high", "wrapped", "logged")
"""policy: of a missing value, 0 reject, 1 leave out, 2 replace by `imputed`; absent: 1 where an
exact 0 is an absent object's; low, high: of clip; wrapped, logged: 1 where the step is done."""


def columns_of(metadata: Mapping[str, Any]) -> dict[str, npt.NDArray[np.float32]]:
    """The checked steps before standardize as an array [n_features] for each entry of COLUMNS that
    they need: as `Columns` of the scorer has them (csrc/src/score/plan.h)."""
    d = len(metadata["features"])
    found: dict[str, npt.NDArray[np.float32]] = {}

    def put(name: str, columns: Sequence[int], values: Any, otherwise: float) -> None:
        found[name] = np.full(d, otherwise, np.float32)
        found[name][list(columns)] = np.array(values, np.float32)

    for step in metadata["preprocess"]:
        match step["op"]:
            case "missing":
                put("policy", step["flag"], 1, 0)
                found["policy"][step["impute"]] = 2
                put("imputed", step["impute"], step["values"], 0)
            case "mask_zeros":
                put("absent", step["columns"], 1, 0)
            case "clip":
                low, high = (
                    [end if bound is None else bound for bound in step[key]]
                    for key, end in (("low", -np.inf), ("high", np.inf))
                )
                put("low", step["columns"], low, -np.inf)
                put("high", step["columns"], high, np.inf)
            case "wrap":
                put("wrapped", step["columns"], 1, 0)
            case "log1p":
                put("logged", step["columns"], 1, 0)
    return found


def leaves_out(metadata: Mapping[str, Any]) -> bool:
    """May the term of a feature leave the loss?"""
    steps = {step["op"]: step for step in metadata["preprocess"]}
    return "mask_zeros" in steps or bool(steps.get("missing", {}).get("flag"))


def scorable(metadata: Mapping[str, Any], rows: Array) -> npt.NDArray[np.bool_]:
    """Which rows [n, n_features] are not rejected: bool [n]."""
    policy = columns_of(metadata).get("policy", np.zeros(rows.shape[1], np.float32))
    return np.asarray((np.isfinite(rows) | (policy > 0)).all(axis=1))


# ---- In float64


def prepared(
    metadata: Mapping[str, Any], tensors: Tensors, rows: Array
) -> tuple[Exact, npt.NDArray[np.bool_]]:
    """The standardised rows and which terms count, both [n, n_features]: in float64, from rows
    [n, n_features] float32. A row that is rejected keeps what is not finite in it."""
    x = rows.astype(np.float64)
    counts = np.ones(x.shape, np.bool_)
    for step in metadata["preprocess"]:
        with np.errstate(invalid="ignore"):
            x = _STEPS[step["op"]](step, tensors, x, counts)
    return np.where(counts, x, 0.0), counts


def _missing(step: Step, tensors: Tensors, x: Exact, counts: npt.NDArray[np.bool_]) -> Exact:
    lost = ~np.isfinite(x)
    counts[:, step["flag"]] &= ~lost[:, step["flag"]]
    value = np.full(x.shape[1], np.nan)
    value[step["flag"]] = 0
    value[step["impute"]] = np.array(step["values"], np.float32)
    return np.where(lost & np.isfinite(value), value, x)


def _mask_zeros(step: Step, tensors: Tensors, x: Exact, counts: npt.NDArray[np.bool_]) -> Exact:
    counts[:, step["columns"]] &= x[:, step["columns"]] != 0
    return x


def _clip(step: Step, tensors: Tensors, x: Exact, counts: npt.NDArray[np.bool_]) -> Exact:
    x = x.copy()
    for column, low, high in zip(step["columns"], step["low"], step["high"], strict=True):
        x[:, column] = np.clip(
            x[:, column],
            -np.inf if low is None else np.float32(low),
            np.inf if high is None else np.float32(high),
        )
    return x


def _wrap(step: Step, tensors: Tensors, x: Exact, counts: npt.NDArray[np.bool_]) -> Exact:
    x = x.copy()
    angle = x[:, step["columns"]]
    limited = np.clip(angle, -(2.0**20), 2.0**20)
    turned = limited - 2 * np.pi * np.rint(limited / (2 * np.pi))
    pi = float(np.float32(np.pi))
    x[:, step["columns"]] = np.where((angle >= -pi) & (angle < pi), angle, turned)
    return x


def _log1p(step: Step, tensors: Tensors, x: Exact, counts: npt.NDArray[np.bool_]) -> Exact:
    x = x.copy()
    value = x[:, step["columns"]]
    x[:, step["columns"]] = np.copysign(np.log1p(np.abs(value)), value)
    return x


def _standardize(step: Step, tensors: Tensors, x: Exact, counts: npt.NDArray[np.bool_]) -> Exact:
    inverse = (np.float32(1) / tensors[step["scale"]]).astype(np.float64)
    return np.asarray((x - tensors[step["mean"]]) * inverse)


_STEPS: dict[str, Callable[[Step, Tensors, Exact, npt.NDArray[np.bool_]], Exact]] = {
    "missing": _missing,
    "mask_zeros": _mask_zeros,
    "clip": _clip,
    "wrap": _wrap,
    "log1p": _log1p,
    "standardize": _standardize,
}
