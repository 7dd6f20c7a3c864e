"""`vaelocity report`: one HTML file about a model and what it makes of some data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import vaelocity
from vaelocity import data as events
from vaelocity.cli import console, options
from vaelocity.cli.batches import feature_batches
from vaelocity.cli.columns import layout
from vaelocity.cli.console import CommandError

if TYPE_CHECKING:
    from vaelocity.report.collect import Seen

_NORMAL_CODE = "0"


def report(
    bundle: options.Bundle,
    data: options.Data,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The HTML file; default: MODEL.html in this folder."),
    ] = None,
    label: options.Label = None,
    normal: options.Normal = None,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="HxW", help="A row is an image: 28x28, line after line."),
    ] = None,
    tsne: Annotated[
        bool, typer.Option("--tsne", help="Latent space as a t-SNE map, not by principal axes.")
    ] = False,
    style: Annotated[
        str | None,
        typer.Option("--style", help="Style of mplhep for the figures: CMS, ATLAS, ALICE, LHCb2."),
    ] = None,
    kind: options.Kind = None,
    threads: options.Threads = None,
    batch_size: options.BatchSize = 65536,
    key: options.Key = None,
    file_format: options.FileFormat = None,
    header: options.Header = None,
    delimiter: options.Delimiter = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Write a report: scores by class, ROC, efficiencies, latent space, features, drift, speed.

    With --label the class named by --normal (0, if the labels are numbers) is compared with all
    others. The file needs nothing beside it. Exit code: 0; 2 unusable input or a missing package.
    """
    model_page, figures, collect = _modules()
    reading = options.Reading(key, file_format, header, delimiter)
    target = options.check_output(output or Path(f"{bundle.stem}.html"))
    scorer = vaelocity.load(bundle, kind=kind)
    shape = _shape(image, scorer.n_features) or _own_shape(scorer.metadata)
    chosen = _normal_labels(data, reading, label, normal or [])
    tables = feature_batches(scorer, data, reading, batch_size=batch_size, label=label)
    seen = collect.collect(bundle, kind, tables, chosen, threads or options.cores())
    files = [str(file.path) for file in reading.files(data)]
    wanted = model_page.Options(shape, "tsne" if tsne else "pca", files)
    with figures.style(style):
        page = model_page.page(seen, wanted)
    page.write(target)
    if as_json:
        console.print_json(_as_json(seen, target))
    else:
        console.out().print(console.facts([("report", str(target)), ("events", f"{seen.n:,}")]))


def _modules() -> tuple[Any, Any, Any]:
    """What draws and counts, or which package it needs, before any work is done."""
    try:
        import jinja2  # noqa: F401
        import sklearn  # noqa: F401

        from vaelocity.report import collect, figures, model_page
    except ModuleNotFoundError as error:
        raise CommandError(
            f'the report needs {error.name}: pip install "vaelocity[report]"'
        ) from error
    return model_page, figures, collect


def _shape(image: str | None, n_features: int) -> tuple[int, int] | None:
    if image is None:
        return None
    found = re.fullmatch(r"(\d+)x(\d+)", image)
    if found is None:
        raise CommandError(f"--image {image}: expected height x width as in 28x28")
    height, width = int(found[1]), int(found[2])
    if height * width != n_features:
        raise CommandError(f"--image {image}: {height * width} pixels, the model has {n_features}")
    return height, width


def _own_shape(metadata: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of the grey images that a model of images was made for."""
    image = metadata.get("module", {}).get("args", {}).get("image") or ()
    shape = tuple(image)[-2:]
    grey = len(shape) == 2 and math.prod(image) == math.prod(shape) == len(metadata["features"])
    return (shape[0], shape[1]) if grey else None


def _normal_labels(
    data: Sequence[str], reading: options.Reading, label: str | None, normal: Sequence[str]
) -> list[str]:
    """The labels of normal events; without --normal 0, where labels are numbers."""
    if label is None:
        if normal:
            raise CommandError("--normal needs --label COLUMN")
        return []
    if normal:
        return list(normal)
    layout(data, reading, label)
    first = next(iter(events.batches(data, rows=1, label=label, **reading.arguments())))
    if first.class_names is not None:
        raise CommandError(
            f"--label {label}: its labels are {', '.join(first.class_names)}; say which of them "
            "are normal with --normal"
        )
    return [_NORMAL_CODE]


def _as_json(seen: Seen, target: Path) -> dict[str, Any]:
    return {
        "report": str(target),
        "kind": seen.scorer.kind,
        "events": {name: len(scores) for name, scores in seen.scores.items()},
        "missing": seen.missing,
    }
