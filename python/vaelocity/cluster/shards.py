"""One job of many: which files are its own, and what its score file must say to be merged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["SHARD", "Shard"]

SHARD = "vaelocity.shard"
"""Where a score file says which shard it holds: "0/4"."""

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Shard:
    """Number `index` of `count` shards, counted from 0 as HTCondor and Slurm count their jobs."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard "i/n". Raises ValueError unless 0 <= i < n."""
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if found is None or not int(found[1]) < int(found[2]):
            raise ValueError(f"shard: expected i/n with 0 <= i < n, got {text!r}")
        return cls(int(found[1]), int(found[2]))

    def of(self, files: Sequence[_Item]) -> list[_Item]:
        """Its share of the files: neighbours, so that the shards in order are the files in order.

        Raises ValueError where there are fewer files than shards.
        """
        n = len(files)
        if n < self.count:
            raise ValueError(f"shard {self}: there are only {n} files to share out")
        return list(files[n * self.index // self.count : n * (self.index + 1) // self.count])

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"
