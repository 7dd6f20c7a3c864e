"""ROOT files through uproot: flat branches of a TTree or fields of an RNTuple."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaelocity.data.source import Block, DataError, Options, Source, check_known, need

_TREES = ("TTree", "TNtuple", "TNtupleD", "RNTuple")


def open_root(path: Path, options: Options) -> Source:
    """The tree called `key`, or the only one of the file. One number per event and branch."""
    uproot = need("uproot", "io")
    file = uproot.open(path)
    try:
        # The tail of a file is not needed to read its trees, so a cut there would go unnoticed.
        expected, size = int(file.file.fEND), path.stat().st_size
        if size < expected:
            raise DataError(f"{path}: it is truncated: {size} of {expected} bytes")
        tree = file[_tree_name(path, file, options.key)]
        names = [str(name) for name in tree.keys(recursive=False)]
        return RootSource(
            path=path, names=names, n_rows=int(tree.num_entries), tree=tree, file=file
        )
    except BaseException:
        file.close()
        raise


@dataclass
class RootSource(Source):
    """tree: uproot's TTree or RNTuple, open in file."""

    tree: Any = None
    file: Any = None

    def blocks(
        self, features: Sequence[str], label: str | None, weight: str | None, rows: int
    ) -> Iterator[Block]:
        others = [name for name in (label, weight) if name is not None]
        wanted = [*features, *others]
        # filter_name and not a list of names: that would be parsed as formulas, in which a branch
        # called "pt-scaled" is a difference. iterate keeps the baskets that two steps share.
        steps = self.tree.iterate(
            filter_name=lambda name: name in wanted, step_size=rows, library="np"
        )
        for arrays in steps:
            columns = {name: np.asarray(arrays[name]) for name in wanted}
            yield Block(
                [columns[name] for name in features],
                {name: columns[name] for name in others},
                len(columns[wanted[0]]),
            )

    def close(self) -> None:
        if self.file is not None:
            self.file.close()


def _tree_name(path: Path, file: Any, key: str | None) -> str:
    """The tree to read, by its name without the cycle (`;2`): the highest cycle is meant."""
    kinds = file.classnames(cycle=False)
    trees = [str(name) for name, kind in kinds.items() if kind.endswith(_TREES)]
    if key is not None:
        bare = key.partition(";")[0]
        check_known("key", [bare], trees, path)
        return key
    if not trees:
        raise DataError(f"{path}: it holds no TTree and no RNTuple")
    if len(trees) > 1:
        raise DataError(f"{path}: it holds several trees; choose by key=: {', '.join(trees[:12])}")
    return trees[0]
