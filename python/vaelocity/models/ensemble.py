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
from vaelocity.models.base import Model
from vaelocity.models.load import load

Floats = npt.NDArray[np.float32]

FORMAT = 1
INDEX = "ensemble.json"


class Member(Protocol):
    """Anything that scores rows: a model, a `vaelocity.Scorer`, another ensemble."""

    def score(self, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...


class Ensemble:
    """The mean of the standardised scores of its members: float32 [n], higher is more anomalous.

    A member's score is standardised by median and interquartile range over normal rows, so that
    every member has the same say about those whatever the unit of its score. Mean and deviation
    would be ruled by the few rows with the highest scores, which the members do not agree on.

    Args:
        members: fitted models or scorers of the same features, at least one.
        X: normal rows [n, n_features], best of all rows that trained none of them.
        kinds: of the score of each member, which has to be a model where it is not None; None, as a
            whole or of one, is the member's own kind.

    Raises:
        ValueError: no members, a kind that a member does not have, kinds that are not one each, or
            a member whose scores of X are not finite, or equal for half of them.
        TypeError: a kind of a member that is no model.
    """

    def __init__(
        self,
        members: Sequence[Member],
        X: npt.NDArray[np.float32],
        kinds: Sequence[str | None] | None = None,
    ) -> None:
        self._take(members, kinds)
        scores = self._scores(X).astype(np.float64)
        low, self.median, high = np.percentile(scores, [25, 50, 75], axis=0)
        self.spread = high - low
        for i, spread in enumerate(self.spread):
            if not (np.isfinite(spread) and spread > 0):
                raise ValueError(
                    f"members: the scores of X by member {i} have an interquartile range of "
                    f"{spread}"
                )

    def _take(self, members: Sequence[Member], kinds: Sequence[str | None] | None) -> None:
        if not members:
            raise ValueError("members: expected at least one")
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

    def score_members(self, X: npt.NDArray[np.float32]) -> Floats:
        """The standardised score of every member: float32 [n, members]."""
        found: Floats = ((self._scores(X) - self.median) / self.spread).astype(np.float32)
        return found

    def score(self, X: npt.NDArray[np.float32]) -> Floats:
        """The mean over the members: float32 [n]; NaN where a member says NaN."""
        found: Floats = self.score_members(X).mean(axis=1)
        return found

    # ---- Files

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder: the file of every member (0.vael, 1.vael, ...; a folder for an ensemble),
        and ensemble.json, which is written last and says which models these have to be. Files of
        the same names are replaced.

        Raises TypeError for a member that is no model and no ensemble, such as a scorer:
        `models.load` of its file gives one.
        """
        for i, member in enumerate(self.members):
            if not isinstance(member, Model | Ensemble):
                raise TypeError(
                    f"member {i} is a {type(member).__name__}, which writes no file: make the "
                    "ensemble with models.load(path) in its place"
                )
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        entries = []
        for i, member in enumerate(self.members):
            assert isinstance(member, Model | Ensemble)
            path = place / (f"{i}.vael" if isinstance(member, Model) else str(i))
            member.save(path)
            entries.append(
                {
                    "file": path.name,
                    "identity": _identity(path),
                    "kind": self.kinds[i],
                    "median": float(self.median[i]),
                    "spread": float(self.spread[i]),
                }
            )
        write_atomically(place / INDEX, _json({"format": FORMAT, "members": entries}))

    @classmethod
    def load(cls, folder: str | os.PathLike[str], classes: Sequence[type[Model]] = ()) -> Self:
        """The ensemble that `save` wrote: the same scores, bit for bit on one machine.

        classes: models of your own among the members, see `models.load`.

        Raises:
            OSError: a file cannot be read.
            BundleError: a file is damaged, or is not the model that was saved.
        """
        place = Path(folder)
        try:
            content = json.loads((place / INDEX).read_bytes())
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']}, this version reads {FORMAT}")
            entries = content["members"]
            members: list[Member] = []
            for entry in entries:
                path = place / Path(entry["file"]).name
                inner = path.is_dir()
                members.append(cls.load(path, classes) if inner else load(path, classes))
                if _identity(path) != entry["identity"]:
                    raise ValueError(f"{path.name} is another model than the one that was saved")
            ensemble = cls.__new__(cls)
            ensemble._take(members, [entry["kind"] for entry in entries])
            ensemble.median = np.array([entry["median"] for entry in entries], np.float64)
            ensemble.spread = np.array([entry["spread"] for entry in entries], np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{place / INDEX}: no ensemble can be made of it: {error}") from error
        return ensemble


def _identity(path: Path) -> str:
    """Of a member's file, see `identity_of`; of an ensemble its members' one after the other."""
    if path.is_dir():
        entries = json.loads((path / INDEX).read_bytes())["members"]
        return " ".join(str(entry["identity"]) for entry in entries)
    metadata, _ = read_bundle(path, frozen=False)
    return str(metadata["identity"])


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
