"""`vaelocity merge`: the score files of all shards as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaelocity.cli import console, options


def merge(
    shards: Annotated[
        list[Path],
        typer.Argument(metavar="SHARD.parquet", help="What `score --shard i/n` wrote, all n."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A Parquet file.")],
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Join the score files of all shards: rows in order, histograms added.

    Refuses a set in which a shard is missing, there twice, or of another model or threshold.
    """
    from vaelocity.cluster.merge import merge_scores

    options.check_output(output)
    merged = merge_scores(shards, output)
    if as_json:
        console.print_json({"output": str(output), "rows": merged.rows, "shards": len(shards)})
        return
    console.out().print(
        console.facts(
            [("events", f"{merged.rows:,} of {len(shards)} shards"), ("saved", str(output))]
        )
    )
