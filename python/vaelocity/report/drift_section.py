"""Whether the data are still those of the training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vaelocity.drift import Channel
from vaelocity.report.collect import Seen
from vaelocity.report.html import Grid, Section
from vaelocity.report.sections import percent

_CHANNELS_SHOWN = 12


def section(seen: Seen) -> Section:
    """Every input against the training rows, and the score against the held-out ones."""
    title = f"Are the {seen.normal_name} events those of the training?"
    if not seen.labelled:
        title = "Are these data those of the training?"
    if seen.channels is None:
        return Section(title, ["The file has no distributions of its training rows to compare."])
    bad = [channel for channel in seen.channels if channel.state != "ok"]
    text = [
        f"{len(bad)} of {len(seen.channels)} features are not as they were. PSI, the population "
        "stability index, is below 0.1 where a distribution is stable and above 0.25 where it has "
        "changed; KS is the largest distance of the cumulative distributions."
    ]
    if seen.drift is not None:
        psi, ks = seen.drift
        text.append(f"The score against the held-out events: PSI {psi:.3g}, KS {ks:.3g}.")
    ordered = sorted(seen.channels, key=lambda c: (c.state == "ok", -np.nan_to_num(c.psi)))
    return Section(title, text, [_channels(ordered)])


def _channels(channels: Sequence[Channel]) -> Grid:
    rows = [
        [
            channel.name,
            channel.state,
            f"{channel.psi:.3g}",
            f"{channel.ks:.3g}",
            percent(channel.missing),
            percent(channel.above),
            percent(channel.below),
        ]
        for channel in channels[:_CHANNELS_SHOWN]
    ]
    left = len(channels) - len(rows)
    caption = "Above, below: part of the values beyond all of the training's." + (
        f" The {left} features that changed least are left out." if left > 0 else ""
    )
    header = ["feature", "state", "PSI", "KS", "missing in %", "above in %", "below in %"]
    return Grid(header, rows, caption, text_columns=(0, 1))
