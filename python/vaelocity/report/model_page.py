"""The page of `vaelocity report`: one model and what it makes of some data."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec

import numpy as np
from matplotlib.axes import Axes

import vaelocity
from vaelocity.benchmark.machine import cpu_model
from vaelocity.benchmark.pages import time_text
from vaelocity.cli.console import rate
from vaelocity.report import drift_section, feature_section, posterior_section, score_section, speed
from vaelocity.report.collect import Seen
from vaelocity.report.html import Grid, Picture, Report, Section, picture
from vaelocity.report.images import interpolation_strip, reconstruction_grid
from vaelocity.report.inside import Inside, inside, interpolations
from vaelocity.report.sections import latent_picture, top_grid, training_picture

_IMAGES_A_CLASS = 10
_CLASSES_SHOWN = 6


@dataclass(frozen=True)
class Options:
    """What the page is asked for beside what is always on it.

    image: height and width where a row is an image, its lines one after the other.
    projection: "pca" or "tsne", of latent spaces with more than two dimensions.
    files: names of the data.
    """

    image: tuple[int, int] | None = None
    projection: str = "pca"
    files: Sequence[str] = ()


def page(seen: Seen, options: Options) -> Report:
    """The whole page."""
    inner = inside(seen.path)
    sections = [
        score_section.scores(seen),
        score_section.thresholds(seen),
        *_latent(seen, inner, options),
        *_posterior(seen),
        *_images(seen, inner, options),
        *feature_section.sections(seen, options.image),
        *_top(seen),
        drift_section.section(seen),
        *_training(seen),
        _speed(seen),
    ]
    title = f"{seen.path.name}: {seen.scorer.kind} scores"
    return Report(title, _summary(seen), sections, _origin(seen, options))


def _summary(seen: Seen) -> list[str]:
    model = seen.scorer.metadata.get("module", {}).get("class", "model")
    counts = ", ".join(f"{name} {len(scores):,}" for name, scores in seen.scores.items())
    text = [
        f"{model} with {seen.scorer.n_features} features and "
        f"{seen.scorer.metadata['latent']['size']} latent dimensions. Events by class: {counts}. "
        "Higher scores are more anomalous.",
    ]
    if not seen.labelled:
        text.append(
            "The data came without labels, so nothing here says how well the score tells anomalous "
            "events from normal ones."
        )
    if seen.missing:
        text.append(
            f"{seen.missing:,} further events have a NaN or an infinity among their features: they "
            "have no score and are in no figure, and a threshold would keep every one of them."
        )
    return text


def _latent(seen: Seen, inner: Inside | str, options: Options) -> list[Section]:
    if isinstance(inner, str):
        return [Section("Latent space", [f"Not drawn: {inner}."])]
    names = list(seen.rows)
    codes = [np.asarray(inner.encode(rows)) for rows in seen.rows.values()]
    size = codes[0].shape[1]
    how = "" if size <= 2 else ", seen along the two in which the normal events vary most"
    if size > 2 and options.projection == "tsne":
        how = ", as a t-SNE map: neighbours stay together, distances and sizes mean nothing"
    most = 2000 // len(names) if options.projection == "tsne" and size > 2 else 1500
    caption = f"Its {size} latent dimensions{how}. At most {min(most, 1500):,} events of a class."
    return [
        Section(
            "Latent space",
            pictures=[latent_picture(codes, names, caption, projection=options.projection)],
        )
    ]


def _posterior(seen: Seen) -> list[Section]:
    """Of a dense VAE, where torch is there to ask it."""
    module = seen.scorer.metadata.get("module", {}).get("class")
    if module not in ("VAE", "VAEGAN") or find_spec("torch") is None:
        return []
    from vaelocity import models
    from vaelocity.models import VAE

    model = models.load(seen.path)
    assert isinstance(model, VAE)
    return [posterior_section.section(module, model, seen.rows[seen.normal_name])]


def _images(seen: Seen, inner: Inside | str, options: Options) -> list[Section]:
    shape = options.image
    if shape is None or isinstance(inner, str):
        return []
    shown = list(seen.rows)[:_CLASSES_SHOWN]
    grid = {}
    for name in shown:
        rows = seen.rows[name][:_IMAGES_A_CLASS]
        grid[name] = (rows, np.asarray(inner.decode(inner.encode(rows).astype(np.float32))))
    pictures = [
        _picture(
            lambda ax: reconstruction_grid(grid, shape, ax=ax),
            "Events, and what the model makes of them, on one grey scale.",
            "Grid of images above their reconstructions",
            len(grid) * 2 * shape[0] / (_IMAGES_A_CLASS * shape[1]),
        )
    ]
    ends = seen.rows[seen.normal_name][:6]
    between = interpolations(inner, ends[: len(ends) // 2 * 2])
    strips = [
        np.concatenate([ends[2 * i : 2 * i + 1], line, ends[2 * i + 1 : 2 * i + 2]])
        for i, line in enumerate(between)
    ]
    if strips:
        pictures.append(
            _picture(
                lambda ax: interpolation_strip(strips, shape, ax=ax),
                f"Left and right {seen.normal_name} events; between them what the decoder makes of "
                "equal steps on the line between their latent codes.",
                "Strips of images that change from one event into another",
                len(strips) * shape[0] / (len(strips[0]) * shape[1]),
            )
        )
    return [Section("Images", pictures=pictures)]


def _picture(draw: Callable[[Axes], object], caption: str, alt: str, ratio: float) -> Picture:
    """A wide picture, as high as its grid asks for."""
    return picture(draw, caption, alt, size=(8.5, 8.5 * ratio * 0.85 + 0.2), wide=True)


def _top(seen: Seen) -> list[Section]:
    if not seen.top:
        return []
    header = [*(["class"] if seen.labelled else []), f"{seen.scorer.kind} score", "row"]
    reasons = "largest parts of the reconstruction error: feature = value (share)"
    return [Section("The most anomalous events", grids=[top_grid(seen.top, [*header, reasons])])]


def _training(seen: Seen) -> list[Section]:
    history = seen.scorer.metadata.get("provenance", {}).get("history") or {}
    if not history.get("loss"):
        return [Section("Training", ["The file has no history of its training."])]
    caption = "Loss per event, on the events that train and on those that stop the training."
    epochs = len(history["loss"])
    return [
        Section(
            "Training",
            [f"{epochs} epoch{'s' if epochs > 1 else ''}."],
            pictures=[training_picture({"model": history}, caption)],
        )
    ]


def _speed(seen: Seen) -> Section:
    rows = []
    for one in speed.measure(seen.scorer, seen.rows[seen.normal_name]):
        tail = one.percentile(0.99)
        cells = [f"{one.rows:,}", time_text(one.median), "" if tail is None else time_text(tail)]
        rows.append([*cells, rate(one.rows / one.median), f"{len(one.seconds):,}"])
    text = (
        f"Measured while this report was written, on this machine and on no other: {cpu_model()}, "
        f"{seen.scorer.isa}, one thread, through Python, with whatever else the machine had to do. "
        "The command vaelocity bench measures in turns with other runtimes, and through the C ABI."
    )
    header = ["rows a call", "median", "99 % within", "events/s", "calls"]
    return Section("Speed on this machine", [text], [Grid(header, rows, text_columns=())])


def _origin(seen: Seen, options: Options) -> list[tuple[str, str]]:
    provenance = seen.scorer.metadata.get("provenance", {})
    known = [
        (f"training: {name}", str(value))
        for name, value in provenance.items()
        if isinstance(value, str | int | float)
    ]
    return [
        ("model file", str(seen.path)),
        ("checksum", seen.scorer.fingerprint),
        ("identity", seen.scorer.identity or "none (older file)"),
        *known,
        ("data", ", ".join(options.files)),
        ("written", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("with", f"vaelocity {vaelocity.__version__}, Python {platform.python_version()}"),
        ("machine", f"{cpu_model()}, {platform.system()}, scored with {seen.scorer.isa}"),
    ]
