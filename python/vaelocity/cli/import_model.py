"""`vaelocity import`: an ONNX model of another package as a model file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from vaelocity import data as events
from vaelocity.cli import console, options
from vaelocity.cli.columns import layout
from vaelocity.cli.console import CommandError


def import_model(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="An ONNX autoencoder.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="M.vael", help="The model file to write.")
    ],
    example: Annotated[
        list[str] | None,
        typer.Option(
            "--example",
            metavar="DATA",
            help="Rows of events, in the units of the features: scores are compared on them, they "
            "name the features, and show `drift` and `explain` what is usual.",
        ),
    ] = None,
    standardize: Annotated[
        bool,
        typer.Option(
            "--standardize",
            help="The model takes (x - mean) / deviation: take both from the example.",
        ),
    ] = False,
    outputs: Annotated[
        str | None,
        typer.Option("--outputs", help="Names of the reconstruction, or also of mu and logvar."),
    ] = None,
    kind: options.Kind = None,
    beta: Annotated[float, typer.Option("--beta", help="Of the score elbo.")] = 1.0,
    label: options.Label = None,
    key: options.Key = None,
    file_format: options.FileFormat = None,
    header: options.Header = None,
    delimiter: options.Delimiter = None,
    debug: options.Debug = False,
) -> None:
    """Read an ONNX autoencoder or VAE, compare its scores, and write it as a model file.

    It takes dense layers, batch norms and activations; a node it cannot take is named.
    """
    from vaelocity.importing import onnx_file

    options.check_output(output)
    if standardize and example is None:
        raise CommandError("--standardize needs --example DATA, to take the mean from")
    rows, names, mean, scale = None, None, None, None
    if example is not None:
        reading = options.Reading(key, file_format, header, delimiter)
        found = layout(example, reading, label)
        table = events.read(example, features=list(found.names), label=label, **reading.arguments())
        rows, names = table.rows, table.feature_names
    if standardize:
        assert rows is not None
        mean, scale = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
        scale[scale == 0] = 1
    scorer = onnx_file(
        model,
        output,
        example=rows,
        mean=mean,
        scale=scale,
        kind=kind,
        beta=beta,
        feature_names=names,
        outputs=options.names(outputs),
    )
    console.out().print(
        f"wrote {output}: {scorer.n_features} features, scores {', '.join(scorer.kinds)}",
        soft_wrap=True,
        highlight=False,
    )
