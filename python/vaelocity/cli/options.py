"""Options that several commands have, each written once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from vaelocity.cli.console import CommandError
from vaelocity.data.files import File, find_files
from vaelocity.data.source import Options

Bundle = Annotated[Path, typer.Argument(metavar="MODEL.vael", help="A model file made by `fit`.")]
Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA",
        help="Files of one kind: npy, npz, csv, parquet, arrow, h5 or root; * and ? work.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Label = Annotated[
    str | None,
    typer.Option("--label", metavar="COLUMN", help="The column with the class; never a feature."),
]
Normal = Annotated[
    list[str] | None,
    typer.Option(
        "--normal",
        metavar="VALUE",
        help="Only rows with this label; may be given more than once. Needs --label.",
    ),
]
Kind = Annotated[str | None, typer.Option("--kind", help="Score kind; default: the model's own.")]
ThresholdName = Annotated[
    str | None,
    typer.Option("--threshold", help="Name of a threshold in the model; default: its first."),
]
InputRate = Annotated[
    str | None,
    typer.Option("--input-rate", metavar="RATE", help='Rate of all events: "40 MHz", "5/day".'),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Rows in memory at a time.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="Threads that score; default: every core allowed."),
]


def cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_output(path: Path) -> Path:
    """Say before the work, not after it, that the result could not be written."""
    folder = path.parent
    if not folder.is_dir():
        raise CommandError(f"{path}: there is no folder {folder}")
    if path.is_dir():
        raise CommandError(f"{path}: is a folder, expected the name of a file")
    if not os.access(folder, os.W_OK):
        raise CommandError(f"{path}: the folder {folder} cannot be written to")
    return path


def names(text: str | None) -> list[str] | None:
    """'pt, eta' as ["pt", "eta"]; None stays None."""
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip()]


@dataclass(frozen=True)
class Reading:
    """How to read DATA: what `vaelocity.data.read` takes beside the path and the columns."""

    key: str | None = None
    format: str | None = None
    header: bool | None = None
    delimiter: str | None = None

    def arguments(self) -> dict[str, Any]:
        return asdict(self)

    def files(self, data: Sequence[str]) -> list[File]:
        """The files that DATA names, in order."""
        return find_files(data, Options(self.key, self.header, self.delimiter), self.format)


_PANEL = "Reading DATA"
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        rich_help_panel=_PANEL,
        help="npz: the array of rows; HDF5: the dataset; ROOT: the tree.",
    ),
]
FileFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        rich_help_panel=_PANEL,
        help="npy npz csv parquet arrow hdf5 root, where the suffix does not say.",
    ),
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header", rich_help_panel=_PANEL, help="csv: the first row holds names."
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option("--delimiter", rich_help_panel=_PANEL, help="csv: one character."),
]
