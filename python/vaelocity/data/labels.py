"""Label columns: whole numbers are kept, text becomes codes into class_names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from vaelocity.data.convert import Place, one_column
from vaelocity.data.source import AnyArray, DataError

Labels = npt.NDArray[np.int64]


def is_text(values: AnyArray) -> bool:
    return values.dtype.kind in "USOT"


def as_text(values: AnyArray, name: str, place: Place) -> npt.NDArray[np.str_]:
    """Text labels as a str array [n]; a missing one (null or empty) is an error with its row."""
    texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values.tolist()]
    for row, text in enumerate(texts):
        if text is None or text == "":
            raise DataError(
                f"{place.path}: label {name!r} is missing in row {place.row + row} "
                f"(counting from 0)"
            )
        if not isinstance(text, str):
            raise DataError(
                f"{place.path}: label {name!r} holds {type(text).__name__} objects; "
                f"expected whole numbers or text"
            )
    return np.array(texts, dtype=np.str_)


def whole_numbers(values: AnyArray, name: str, place: Place) -> Labels:
    """Numeric labels as int64 [n]; a fraction, a NaN or a value beyond int64 is an error."""
    kind = values.dtype.kind
    if kind not in "biuf":
        raise DataError(
            f"{place.path}: label {name!r} is {values.dtype}; expected whole numbers or text"
        )
    if kind == "f":
        # 2^63 is a float64; the comparison is false for NaN.
        bad = ~((values == np.floor(values)) & (np.abs(values) < 2.0**63))
    else:
        bad = values > np.iinfo(np.int64).max if kind == "u" else np.zeros(len(values), bool)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{place.path}: label {name!r} is {values[row]} in row {place.row + row} "
            f"(counting from 0); labels are whole numbers or text"
        )
    return values.astype(np.int64)


class Coder:
    """Turns raw label values into int64 codes, the same way for every block of rows.

    class_names: given by the caller or by the file; None to take them from the text itself.
    texts: every text that occurs (unused when class_names are given). Text that is a whole number
    throughout, as in a CSV file, is taken as that number; otherwise the classes are the texts in
    alphabetical order.
    """

    def __init__(self, class_names: Sequence[str] | None, texts: Iterable[str] = ()) -> None:
        self.class_names = None if class_names is None else list(class_names)
        self._by_text = False
        if class_names is None:
            found = sorted(set(texts))
            if found and not all(map(_is_whole, found)):
                self.class_names = found
                self._by_text = True
        names = self.class_names or []
        self._codes = {text: code for code, text in enumerate(names)}

    def encode(self, values: AnyArray, name: str, place: Place) -> Labels:
        """Labels [n] as int64 [n]. Raises DataError naming file, column and row."""
        values = one_column(values, name, place)
        if self._by_text and not is_text(values):
            raise DataError(f"{place.path}: label {name!r} is {values.dtype}, and text elsewhere")
        codes = (
            self._from_text(as_text(values, name, place), name, place)
            if is_text(values)
            else whole_numbers(values, name, place)
        )
        if self.class_names is not None and len(codes):
            bad = (codes < 0) | (codes >= len(self.class_names))
            if bad.any():
                row = int(np.argmax(bad))
                raise DataError(
                    f"{place.path}: label {name!r} is {codes[row]} in row {place.row + row} "
                    f"(counting from 0), which is no code of {self.class_names}"
                )
        return codes

    def _from_text(self, texts: npt.NDArray[np.str_], name: str, place: Place) -> Labels:
        distinct, where = np.unique(texts, return_inverse=True)
        codes = np.empty(len(distinct), np.int64)
        for k, text in enumerate(distinct.tolist()):
            if text in self._codes:
                codes[k] = self._codes[text]
            elif _is_whole(text):
                codes[k] = int(float(text)) if "." in text or "e" in text.lower() else int(text)
            else:
                row = place.row + int(np.argmax(texts == text))
                expected = self.class_names or "the whole numbers that come before it"
                raise DataError(
                    f"{place.path}: label {name!r} is {text!r} in row {row} (counting from 0), "
                    f"which is not one of {expected}"
                )
        return codes[where.reshape(-1)]


def _is_whole(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return value == np.floor(value) and abs(value) < 2.0**63
