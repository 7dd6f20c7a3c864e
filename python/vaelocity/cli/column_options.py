"""Options of `fit` that say what is done to columns: arguments of `Model.preprocess`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from vaelocity.cli import options
from vaelocity.cli.console import CommandError

_PANEL = "Preprocessing"

Clip = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=LOW:HIGH",
        rich_help_panel=_PANEL,
        help="Bounds of a column; either may be left out. May be given more than once.",
    ),
]
Wrap = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...", rich_help_panel=_PANEL, help="Angles in radians, brought into [-pi, pi)."
    ),
]
Log1p = Annotated[
    str | None,
    typer.Option("--log1p", metavar="A,B,...", rich_help_panel=_PANEL, help="sign(x) ln(1 + |x|)."),
]
MaskZeros = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...",
        rich_help_panel=_PANEL,
        help="Columns in which 0 is an object that is not there: out of the loss. ae and vae.",
    ),
]
FlagMissing = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...",
        rich_help_panel=_PANEL,
        help="Columns whose NaN or infinity leaves the loss, and is flagged. ae and vae.",
    ),
]
Impute = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=VALUE",
        rich_help_panel=_PANEL,
        help="What replaces a NaN or an infinity of a column. May be given more than once.",
    ),
]

Bound = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=LIMIT",
        rich_help_panel=_PANEL,
        help="Keeps the reconstruction of a column within +-LIMIT, by LIMIT tanh(y): an angle "
        "within pi, which may be written so. May be given more than once.",
    ),
]


def bounds(bound: Sequence[str] | None) -> dict[str | int, float]:
    """The argument of `DenseModel.bound`."""
    found: dict[str | int, float] = {}
    for text in bound or ():
        column, _, limit = text.rpartition("=")
        if not column:
            raise CommandError(f"--bound {text}: expected COLUMN=LIMIT")
        found[column] = math.pi if limit == "pi" else _number("--bound", text, limit)
    return found


def preprocessing(
    clip: Sequence[str] | None,
    wrap: str | None,
    log1p: str | None,
    mask_zeros: str | None,
    flag_missing: str | None,
    impute: Sequence[str] | None,
) -> dict[str, Any]:
    """The arguments of `Model.preprocess` that were asked for; {} for none."""
    found = {
        "clip": dict(_bounds(text) for text in clip or ()),
        "wrap": options.names(wrap),
        "log1p": options.names(log1p),
        "mask_zeros": options.names(mask_zeros),
        "flag": options.names(flag_missing),
        "impute": dict(_value(text) for text in impute or ()),
    }
    return {name: value for name, value in found.items() if value}


def _bounds(text: str) -> tuple[str, tuple[float | None, float | None]]:
    column, _, bounds = text.rpartition("=")
    low, colon, high = bounds.partition(":")
    if not (column and colon):
        raise CommandError(f"--clip {text}: expected COLUMN=LOW:HIGH")
    ends = [_number("--clip", text, end) if end else None for end in (low, high)]
    return column, (ends[0], ends[1])


def _value(text: str) -> tuple[str, float]:
    column, _, value = text.rpartition("=")
    if not column:
        raise CommandError(f"--impute {text}: expected COLUMN=VALUE")
    return column, _number("--impute", text, value)


def _number(option: str, text: str, number: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise CommandError(f"{option} {text}: {number!r} is no number") from None
