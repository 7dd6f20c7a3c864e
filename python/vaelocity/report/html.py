"""A report as one HTML file: tables, and pictures inside the file."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vaelocity.bundle import write_atomically

_DPI = 144


@dataclass(frozen=True)
class Picture:
    """A PNG with what it shows. alt: for readers that cannot see it."""

    png: bytes
    caption: str
    alt: str
    wide: bool = False

    @property
    def uri(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Grid:
    """A table: the first column is text, the others are right-aligned."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    text_columns: Sequence[int] = (0,)


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, tables and pictures, in this order."""

    title: str
    text: Sequence[str] = ()
    grids: Sequence[Grid] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Report:
    """Everything on the page. summary: paragraphs at the top; provenance: at its foot."""

    title: str
    summary: Sequence[str]
    sections: Sequence[Section]
    provenance: Sequence[tuple[str, str]] = field(default_factory=tuple)

    def html(self) -> str:
        """The page. All text is escaped."""
        import jinja2

        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("vaelocity.report", "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        return environment.get_template("report.html.j2").render(report=self)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to `path`, completely or not at all."""
        write_atomically(path, self.html().encode("utf-8"))
        return Path(path)


def picture(
    draw: Callable[[Axes], object],
    caption: str,
    alt: str,
    *,
    size: tuple[float, float] = (6.4, 4.2),
    wide: bool = False,
) -> Picture:
    """Draw on fresh axes of `size` inches and keep the PNG; no window, no global state."""
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.add_subplot())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return Picture(buffer.getvalue(), caption, alt, wide)
