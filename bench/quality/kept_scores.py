"""Scores of trained models, kept in files: what was trained once need not be trained again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from task import Scored


class KeptScores:
    """Files in `folder`, one a key; each says which configuration the scores are of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str, configuration: str) -> tuple[Scored, float] | None:
        """What `put` kept: scores, and the seconds they took; None where there is nothing, or of
        another configuration."""
        path = self._path(key)
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as arrays:
            if str(arrays["configuration"]) != configuration:
                return None
            return Scored(arrays["train"], arrays["test"]), float(arrays["seconds"])

    def put(self, key: str, configuration: str, scored: Scored, seconds: float) -> None:
        """Replaces what is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(key)
        draft = path.with_suffix(".draft.npz")
        arrays = {"train": scored.train, "test": scored.test}
        np.savez(draft, configuration=configuration, seconds=seconds, **arrays)
        draft.replace(path)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key.replace(' ', '_')}.npz"
