"""Several models as one score."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from vaelocity.bundle import BundleError, read_bundle, write_atomically
from vaelocity.models import neighbour_files
from vaelocity.models.base import Model
from vaelocity.models.code_neighbours import CodeNeighbours
from vaelocity.models.load import load
from vaelocity.models.neighbour_score import NeighbourScore
from vaelocity.models.relative import saturated
from vaelocity.models.relative_score import RelativeScore

Floats = npt.NDArray[np.float32]

FORMAT = 2
"""The newest format. An ensemble is written in the oldest one that can hold it: 2 says by what the
scores are standardised, and may have members that look at neighbours."""

INDEX = "ensemble.json"

NEIGHBOURS = ".neighbours"
"""Ends the name of the folder of a member that looks at neighbours."""

BY = {"quartiles": "an interquartile range", "deviation": "a standard deviation"}
"""By what scores are standardised, and what is their spread then."""

_NEIGHBOURS: dict[str, type[NeighbourScore]] = {
    each.__name__: each for each in (RelativeScore, CodeNeighbours)
}


class Member(Protocol):
    """Anything that scores rows: a model, a `vaelocity.Scorer`, a score that looks at neighbours,
    another ensemble."""

    @property
    def n_features(self) -> int: ...

    def score(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...


class Ensemble:
    """The mean of the standardised scores of its members: float32 [n], higher is more anomalous.

    A member's score is standardised over normal rows, so that every member has the same say about
    those whatever the unit of its score. By median and interquartile range the few rows with the
    highest scores, which the members do not agree on, have no say in that. By mean and standard
    deviation a member that has such rows says less about others: better, where scores are relative
    to those of neighbours (bench/results/quality/mixtures.md).

    centre, spread: of the scores of each member, float64 [members].

    Args:
        members: fitted models or scorers of the same features, at least one.
        X: normal rows [n, n_features], best of all rows that trained none of them; None takes the
            members' own scores of the rows that they were trained on, where all have
            `score_training`.
        kinds: of the score of each member, which has to be a model where it is not None; None, as a
            whole or of one, is the member's own kind.
        by: "quartiles" or "deviation".

    Raises:
        ValueError: no members, a kind that a member does not have, kinds that are not one each, no
            X where it is needed, or a member whose scores of X are not finite, or equal for half of
            them (by deviation for all).
        TypeError: a kind of a member that is no model.
    """

    def __init__(
        self,
        members: Sequence[Member],
        X: npt.NDArray[np.float32] | None = None,
        kinds: Sequence[str | None] | None = None,
        by: str = "quartiles",
    ) -> None:
        self._take(members, kinds, by)
        scores = self._training_scores("X") if X is None else self._scores(X)
        places = [centre_and_spread(each, by) for each in scores.T]
        self.centre, self.spread = np.array(places, np.float64).T
        for i, spread in enumerate(self.spread):
            if not (np.isfinite(spread) and spread > 0):
                raise ValueError(
                    f"members: the scores of X by member {i} have {BY[by]} of {spread}"
                )

    def _take(self, members: Sequence[Member], kinds: Sequence[str | None] | None, by: str) -> None:
        if not members:
            raise ValueError("members: expected at least one")
        if by not in BY:
            raise ValueError(f"by: expected one of {', '.join(BY)}, got {by!r}")
        self.by = by
        self.members = list(members)
        self.kinds = [None] * len(members) if kinds is None else list(kinds)
        if len(self.kinds) != len(members):
            raise ValueError(f"kinds: expected {len(members)}, one a member, got {len(self.kinds)}")
        for i, (member, kind) in enumerate(zip(self.members, self.kinds, strict=True)):
            if kind is not None and not isinstance(member, Model):
                raise TypeError(
                    f"kinds: member {i} is a {type(member).__name__}, which has one kind of score"
                )

    def _scores(self, X: npt.NDArray[np.float32]) -> Floats:
        """Of the members, as they give them: [n, members]."""
        found = [
            member.score(X, kind) if isinstance(member, Model) else member.score(X)
            for member, kind in zip(self.members, self.kinds, strict=True)
        ]
        return np.stack(found, axis=1)

    def _training_scores(self, argument: str) -> Floats:
        """The members' own of the rows they were trained on: [N, members]; argument: whose fault it
        is that there are none."""
        found = []
        for i, member in enumerate(self.members):
            if not isinstance(member, NeighbourScore | Ensemble):
                raise ValueError(
                    f"{argument}: member {i} is a {type(member).__name__}, which does not keep the "
                    "scores of the rows that it was trained on"
                )
            found.append(member.score_training())
        if len({len(scores) for scores in found}) > 1:
            counts = ", ".join(str(len(scores)) for scores in found)
            raise ValueError(f"members: expected one number of training rows, got {counts}")
        return np.stack(found, axis=1)

    @property
    def n_features(self) -> int:
        """Of the first member."""
        return self.members[0].n_features

    def score_members(self, X: npt.NDArray[np.float32]) -> Floats:
        """The standardised score of every member: float32 [n, members]."""
        return self._standardised(self._scores(X))

    def _standardised(self, scores: Floats) -> Floats:
        return saturated((scores - self.centre) / self.spread)

    def score(self, X: npt.NDArray[np.float32]) -> Floats:
        """The mean over the members: float32 [n]; NaN where a member says NaN."""
        return _mean(self.score_members(X))

    def score_training(self) -> Floats:
        """The mean over the members for the rows they were trained on, float32 [N], from their own
        scores of these; ValueError for a member that keeps none."""
        return _mean(self._standardised(self._training_scores("members")))

    # ---- Files

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder: the file of every member (0.vael, 1.vael, ...; a folder 2.neighbours for
        one that looks at neighbours, 3 for an ensemble), and ensemble.json, which is written last
        and says which members these have to be. Files of the same names are replaced.

        Raises TypeError for a member that writes no file, such as a scorer: `models.load` of its
        file gives one.
        """
        for i, member in enumerate(self.members):
            if not isinstance(member, Model | NeighbourScore | Ensemble):
                raise TypeError(
                    f"member {i} is a {type(member).__name__}, which writes no file: make the "
                    "ensemble with models.load(path) in its place"
                )
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        newer = self.by != "quartiles" or any(isinstance(m, NeighbourScore) for m in self.members)
        entries = []
        for i, member in enumerate(self.members):
            assert isinstance(member, Model | NeighbourScore | Ensemble)
            path = place / f"{i}{_suffix(member)}"
            member.save(path)
            entries.append(
                {
                    "file": path.name,
                    "identity": _identity(path),
                    "kind": self.kinds[i],
                    "centre" if newer else "median": float(self.centre[i]),
                    "spread": float(self.spread[i]),
                }
            )
        said = {"format": 2, "by": self.by} if newer else {"format": 1}
        write_atomically(place / INDEX, _json({**said, "members": entries}))

    @classmethod
    def load(cls, folder: str | os.PathLike[str], classes: Sequence[type[Model]] = ()) -> Self:
        """The ensemble that `save` wrote: the same scores, bit for bit on one machine.

        classes: models of your own among the members, see `models.load`.

        Raises:
            OSError: a file cannot be read.
            BundleError: a file is damaged, or is not the model that was saved.
            ImportError: without scikit-learn, where a member looks at neighbours.
        """
        place = Path(folder)
        try:
            content = json.loads((place / INDEX).read_bytes())
            if content["format"] not in range(1, FORMAT + 1):
                raise ValueError(f"format {content['format']}, this version reads up to {FORMAT}")
            entries = content["members"]
            members = [cls._member(place, entry, classes) for entry in entries]
            newer = content["format"] > 1
            ensemble = cls.__new__(cls)
            by = content["by"] if newer else "quartiles"
            ensemble._take(members, [entry["kind"] for entry in entries], by)
            centres = [entry["centre" if newer else "median"] for entry in entries]
            ensemble.centre = np.array(centres, np.float64)
            ensemble.spread = np.array([entry["spread"] for entry in entries], np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{place / INDEX}: no ensemble can be made of it: {error}") from error
        return ensemble

    @classmethod
    def _member(cls, place: Path, entry: dict[str, Any], classes: Sequence[type[Model]]) -> Member:
        """Of an entry of the index, verified to be the one that was saved."""
        path = place / Path(entry["file"]).name
        if not path.is_dir():
            member: Member = load(path, classes)
        elif path.suffix == NEIGHBOURS:
            name = neighbour_files.read_index(path)["score"]
            member = _NEIGHBOURS[name].load(path, classes)
        else:
            member = cls.load(path, classes)
        if _identity(path) != entry["identity"]:
            raise ValueError(f"{path.name} is another model than the one that was saved")
        return member


def _mean(scores: Floats) -> Floats:
    """Over the members, in float64: two scores that are saturated are no infinity."""
    found: Floats = scores.mean(axis=1, dtype=np.float64).astype(np.float32)
    return found


def centre_and_spread(scores: Floats, by: str) -> tuple[float, float]:
    """Of scores [n]: median and interquartile range, by "quartiles", or mean and standard
    deviation, by "deviation"; in float64."""
    exact = scores.astype(np.float64)
    if by == "deviation":
        # The deviation of equal scores may be 1e-17 and not 0.
        apart = exact.min() < exact.max()
        return float(exact.mean()), float(exact.std()) if apart else 0.0
    low, median, high = np.percentile(exact, [25, 50, 75])
    return float(median), float(high - low)


def _suffix(member: Member) -> str:
    """Of the name of its file or folder, by which it is read back: a folder that was written over
    may hold files of another member, too."""
    if isinstance(member, Model):
        return ".vael"
    return NEIGHBOURS if isinstance(member, NeighbourScore) else ""


def _identity(path: Path) -> str:
    """Of a member's file, see `identity_of`; of one that looks at neighbours its index's; of an
    ensemble its members' one after the other."""
    if path.suffix == NEIGHBOURS:
        return str(neighbour_files.read_index(path)["identity"])
    if path.is_dir():
        entries = json.loads((path / INDEX).read_bytes())["members"]
        return " ".join(str(entry["identity"]) for entry in entries)
    metadata, _ = read_bundle(path, frozen=False)
    return str(metadata["identity"])


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
