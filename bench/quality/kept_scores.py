"""Scores of trained models, kept in files: what was trained once need not be trained again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from task import Scored

import vaelocity
from vaelocity.benchmark import machine


@dataclass(frozen=True)
class Kept:
    """Scores, the seconds of training and scoring, and where that was done."""

    scored: Scored
    seconds: float
    where: str


class KeptScores:
    """Files in `folder`, one a key; each says which configuration the scores are of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str, configuration: str) -> Kept | None:
        """What `put` kept; None where there is nothing, or of another configuration."""
        path = self._path(key)
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as arrays:
            if str(arrays["configuration"]) != configuration:
                return None
            where = str(arrays["where"]) if "where" in arrays else "a machine that was not recorded"
            scored = Scored(arrays["train"], arrays["test"])
            return Kept(scored, float(arrays["seconds"]), where)

    def put(self, key: str, configuration: str, scored: Scored, seconds: float) -> Kept:
        """Replaces what is there; gives what `get` would."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = Kept(scored, seconds, here())
        path = self._path(key)
        draft = path.with_suffix(".draft.npz")
        arrays = {"train": scored.train, "test": scored.test, "where": kept.where}
        np.savez(draft, configuration=configuration, seconds=seconds, **arrays)
        draft.replace(path)
        return kept

    def _path(self, key: str) -> Path:
        return self.folder / f"{key.replace(' ', '_')}.npz"


def here() -> str:
    """This machine, and with what it computes."""
    torch_and_own = f"torch {torch.__version__}, vaelocity {vaelocity.__version__}"
    return f"{machine.folder_name()}, {torch_and_own}"
