"""The score by class, and the thresholds in the file."""

from __future__ import annotations

from collections.abc import Sequence

from vaelocity.report.collect import Seen
from vaelocity.report.html import Grid, Section
from vaelocity.report.metrics import WorkingPoint, auc, passing, working_point
from vaelocity.report.sections import histogram_picture, percent, roc_picture
from vaelocity.threshold import Threshold
from vaelocity.units import format_rate

FPRS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


def scores(seen: Seen) -> Section:
    """Distributions, areas, and efficiencies where the sample supports them."""
    kind, threshold = seen.scorer.kind, _first_threshold(seen)
    pictures = [
        histogram_picture(
            kind,
            seen.normal,
            seen.anomalous,
            normal_name=seen.normal_name,
            threshold=None if threshold is None else threshold.value,
        )
    ]
    if not seen.anomalous:
        return Section("Scores", pictures=pictures)
    pictures.append(roc_picture(kind, seen.normal, seen.anomalous, normal_name=seen.normal_name))
    points = [working_point(seen.normal, seen.anomalous, fpr) for fpr in FPRS]
    text = ["Errors and intervals are those of the numbers of events; intervals are of 95 %."]
    missing = [point for point in points if point.threshold is None]
    if missing:
        rates = ", ".join(f"{point.fpr:g} ({point.needed:,})" for point in missing)
        text.append(
            f"There is no efficiency at false-positive rates of {rates}: in brackets the number of "
            f"{seen.normal_name} events that it takes, and there are {len(seen.normal):,}."
        )
    return Section("Scores", text, [_areas(seen), _efficiencies(points, seen)], pictures)


def _areas(seen: Seen) -> Grid:
    rows = []
    for name, scores in seen.anomalous.items():
        found = auc(seen.normal, scores)
        rows.append([name, f"{len(scores):,}", f"{found.value:.4f} ± {found.error:.4f}"])
    return Grid(
        ["class", "events", "area under the ROC curve"],
        rows,
        "0.5 is chance. Standard errors after Hanley and McNeil.",
    )


def _efficiencies(points: Sequence[WorkingPoint], seen: Seen) -> Grid:
    found = [(point, point.threshold) for point in points if point.threshold is not None]
    rows = [
        ["cut", *(f"{cut.value:.5g}" for _, cut in found)],
        ["its true false-positive rate", *(_promised(cut) for _, cut in found)],
        *([name, *(_interval(p.efficiency[name]) for p, _ in found)] for name in seen.anomalous),
    ]
    return Grid(
        ["in %, at a false-positive rate of", *(f"{100 * point.fpr:g}" for point, _ in found)],
        rows,
        f"Part of each class above the cut that this part of the {seen.normal_name} events of "
        "these data exceed; the cut is a score.",
    )


def _first_threshold(seen: Seen) -> Threshold | None:
    return next(iter(seen.scorer.thresholds.values()), None)


def thresholds(seen: Seen) -> Section:
    """What the file promises, and what it does to these data."""
    if not seen.scorer.thresholds:
        text = (
            f"The file has none for {seen.scorer.kind} scores; the command vaelocity threshold "
            "finds one in held-out events and stores it."
        )
        return Section("Thresholds in the file", [text])
    every = seen.scorer.thresholds
    stored = Grid(
        ["name", "asked for", "value", "promised, in %", "from events"],
        [[t.name, _asked(t), f"{t.value:.6g}", _promised(t), f"{t.n:,}"] for t in every.values()],
        "Promised: the 95 % interval of the part above, from the held-out events that it was found "
        "on.",
        text_columns=(0, 1),
    )
    above = [
        [name, *(_interval(passing(scores, one.value)) for one in every.values())]
        for name, scores in seen.scores.items()
    ]
    caption = "Part of these data above each threshold, with its 95 % interval."
    return Section("Thresholds in the file", grids=[stored, Grid(["in %", *every], above, caption)])


def _asked(one: Threshold) -> str:
    if one.rate is None:
        return f"{percent(one.fpr)} %"
    return f"{format_rate(one.fpr * (one.input_rate or 0))} of {format_rate(one.input_rate or 0)}"


def _promised(one: Threshold) -> str:
    return f"{percent(one.interval[0])} to {percent(one.interval[1])}"


def _interval(found: tuple[float, float, float]) -> str:
    value, low, high = found
    return f"{percent(value)} [{percent(low)}, {percent(high)}]"
