"""python -m vaelocity.ops: which backend takes which op in which dtype, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import torch
from rich.console import Console
from rich.table import Table

from vaelocity.backends import BACKENDS
from vaelocity.ops import OPS, explain
from vaelocity.ops._case import Case


def support() -> Iterator[tuple[str, str, dict[str, str | None]]]:
    """(op, dtype, what every backend says) for the dtypes of an op's cases and float64."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name, module in sorted(OPS.items()):
        first: dict[torch.dtype, Case] = {}
        for case in module.CASES:
            first.setdefault(case.dtype, case)
        for dtype, case in first.items():
            yield name, _short(dtype), explain(name, **case.arguments(device))
        arguments = next(iter(first.values())).arguments(device)
        wide = {key: _double(value) for key, value in arguments.items()}
        yield name, "float64", explain(name, **wide)


def main() -> None:
    """Print the table, and every reason once below it."""
    table = Table("op", "dtype", *BACKENDS, title="vaelocity.ops on this machine")
    reasons: list[str] = []
    for name, rows in groupby(support(), key=lambda row: row[0]):
        for i, (_, dtype, said) in enumerate(rows):
            cells = []
            for why in said.values():
                if why is not None and why not in reasons:
                    reasons.append(why)
                cells.append("[green]yes[/]" if why is None else f"no ({reasons.index(why) + 1})")
            table.add_row(name if i == 0 else "", dtype, *cells)
    console = Console()
    console.print(table)
    for number, reason in enumerate(reasons, 1):
        console.print(f"({number}) {reason}", markup=False)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _double(value: object) -> object:
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.double()
    return torch.float64 if isinstance(value, torch.dtype) else value


if __name__ == "__main__":
    main()
