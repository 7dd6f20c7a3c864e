"""The models of `vaelocity stream`: loaded, and loaded again while it runs."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import vaelocity
from vaelocity.bundle import read_bundle
from vaelocity.bundle_parts import get_histogram, get_reference
from vaelocity.cli.console import CommandError
from vaelocity.cli.score import choose_cut
from vaelocity.cli.score_loop import Cut
from vaelocity.scorer import Scorer
from vaelocity.threshold import Threshold

if TYPE_CHECKING:
    from vaelocity.stream import Pump, StreamScorer
    from vaelocity.stream.selection import Selection

__all__ = ["Choice", "exchange_models", "sampled"]


@dataclass(frozen=True)
class Choice:
    """Which model, and how it decides: what stays when its file is loaded again.

    threshold  as of --threshold
    decides    False: without a threshold, whatever the file holds
    selects    what goes out is chosen by `selection`, not by the model
    """

    path: Path
    kind: str | None
    threshold: str | None
    columns: tuple[str, ...] = ()
    accepted_only: bool = False
    decides: bool = True
    selects: bool = False

    @classmethod
    def of_shadow(
        cls, path: Path, kind: str | None, threshold: str | None, live: str | None
    ) -> Choice:
        """threshold: the shadow's own; without it that of the live one's name, or the first."""
        if threshold is None and live in vaelocity.load(path, kind=kind).thresholds:
            threshold = live
        return cls(path, kind, threshold)

    def load(self) -> StreamScorer:
        """Raises OSError, ValueError, or CommandError for a threshold that is none."""
        from vaelocity.stream import StreamScorer
        from vaelocity.stream.scoring import Expected

        scorer = vaelocity.load(self.path, kind=self.kind)
        cut = self.cut(scorer)
        if cut is None and (self.accepted_only or self.selects):
            option = "--accepted-only" if self.accepted_only else "--prescale, --pass-through:"
            raise CommandError(f"{option} needs --threshold: the model holds none")
        metadata, tensors = read_bundle(self.path)
        expected = Expected(
            get_reference(metadata, tensors), get_histogram(metadata, tensors, scorer.kind)
        )
        return StreamScorer(
            scorer,
            threshold=None if cut is None else cut.value,
            columns=self.columns,
            accepted_only=self.accepted_only and not self.selects,
            expected=expected if metadata.get("identity") == scorer.identity else None,
        )

    def selection(self, prescale: int | None, sample: tuple[str, int] | None) -> Selection | None:
        """What goes out, where `selects`; None where the model says so."""
        from vaelocity.stream.selection import Selection

        if not self.selects:
            return None
        return Selection(
            accepted_only=self.accepted_only,
            columns=self.columns,
            prescale=prescale,
            sample=sample,
        )

    def cut(self, scorer: Scorer) -> Cut | None:
        """The threshold that is applied."""
        return choose_cut(scorer, self.threshold) if self.decides else None

    def made(self, scorer: Scorer) -> Threshold | None:
        """The same, where it is one of the file's."""
        cut = self.cut(scorer)
        return None if cut is None or cut.name is None else scorer.thresholds[cut.name]


def sampled(text: str, columns: list[str]) -> tuple[str, int]:
    """'event=1000' as ("event", 1000); the column is passed on, too."""
    name, _, factor = text.partition("=")
    if not name or not factor.isdecimal() or int(factor) < 1:
        raise CommandError(f"--pass-through {text}: expected COLUMN=N, such as event=1000")
    if name not in columns:
        columns.append(name)
    return name, int(factor)


def exchange_models(
    stack: ExitStack, pump: Pump, live: Choice, shadow: Choice | None, watch: float | None
) -> None:
    """Load the models again at SIGHUP, or when a file has changed."""
    from vaelocity.stream.reload import Reloader, live_model, shadow_model

    # The column `anomalous` neither comes nor goes.
    same = replace(live, decides=pump.scorer.threshold is not None)
    exchanges = [(live.path, live_model(pump, lambda: _again(same)))]
    if shadow is not None:
        exchanges.append((shadow.path, shadow_model(pump, lambda: _again(shadow))))
    reloaders = [
        stack.enter_context(Reloader(path, exchange, watch)) for path, exchange in exchanges
    ]

    def request(number: int, frame: object) -> None:
        for reloader in reloaders:
            reloader.request()

    before = signal.signal(signal.SIGHUP, request)
    stack.callback(signal.signal, signal.SIGHUP, before)


def _again(choice: Choice) -> StreamScorer:
    try:
        return choice.load()
    except CommandError as error:
        raise ValueError(str(error)) from error
