"""`vaelocity inspect`: what a model file holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

import vaelocity
from vaelocity.cli import console, options
from vaelocity.cli.console import facts
from vaelocity.cli.tensors import TensorFile
from vaelocity.cli.threshold import threshold_table
from vaelocity.steps import CONVOLUTIONS, POOLS, output_image, output_width
from vaelocity.threshold import Threshold


def inspect(
    bundle: options.Bundle,
    features: Annotated[
        bool, typer.Option("--features", help="List every feature with its mean and scale.")
    ] = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Show the steps, features, scores, thresholds and origin of a model file.

    The file is verified first. Exit code: 0; 2 if it is no model file or a damaged one.
    """
    scorer = vaelocity.load(bundle)
    file = TensorFile(bundle)
    if as_json:
        console.print_json(_as_json(bundle, scorer, file))
        return
    out = console.out()
    out.print(facts(_overview(bundle, scorer, file)))
    out.print()
    out.print(_steps(scorer.metadata, file))
    thresholds = scorer.metadata.get("thresholds", [])
    if thresholds:
        out.print()
        out.print(threshold_table([Threshold.from_dict(entry) for entry in thresholds]))
    out.print()
    out.print(facts(_provenance(scorer.metadata["provenance"]), title="provenance"))
    if features:
        out.print()
        out.print(_features(scorer.metadata, file))


def parameter_count(metadata: Mapping[str, Any], file: TensorFile) -> int:
    """Weights and biases of all layers."""
    layers = [*metadata["encoder"], *metadata["decoder"]]
    names = [layer[part] for layer in layers for part in ("weight", "bias") if part in layer]
    return sum(math.prod(file.shapes[name]) for name in names)


def network_name(metadata: Mapping[str, Any], file: TensorFile) -> str:
    """The widths from the features to the reconstruction: 59-64-32-16-32-64-59."""
    widths = [len(metadata["features"])]
    for step in metadata["encoder"]:
        widths.append(output_width(step, file.shapes, widths[-1]))
    widths[-1] = metadata["latent"]["size"]
    for step in metadata["decoder"]:
        widths.append(output_width(step, file.shapes, widths[-1]))
    return "-".join(map(str, widths))


def _overview(path: Path, scorer: vaelocity.Scorer, file: TensorFile) -> list[tuple[str, str]]:
    metadata = scorer.metadata
    latent = metadata["latent"]
    return [
        ("file", f"{path} ({path.stat().st_size:,} bytes, format {metadata['format']})"),
        ("model", f"{metadata['module']['class']}, {network_name(metadata, file)}"),
        (
            "parameters",
            f"{parameter_count(metadata, file):,}, weights {metadata.get('weights', 'float32')}",
        ),
        ("features", f"{scorer.n_features}: {shorten(scorer.feature_names)}"),
        ("latent", f"{latent['size']} dimensions, {latent['kind']}"),
        ("score", f"{scorer.kind}; kinds: {', '.join(scorer.kinds)}"),
        ("instruction set", scorer.isa),
        ("fingerprint", scorer.fingerprint),
        ("identity", scorer.identity or "none (an older file)"),
    ]


def shorten(names: Sequence[str], most: int = 8) -> str:
    """The first names, and that there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _steps(metadata: Mapping[str, Any], file: TensorFile) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("part", "step", "size", "activation"):
        table.add_column(name)
    for step in metadata["preprocess"]:
        table.add_row("preprocess", step["op"], str(len(metadata["features"])), "")
    width = len(metadata["features"])
    for part in ("encoder", "decoder"):
        for step in metadata[part]:
            size, width = _size(step, file, width)
            table.add_row(part, step["op"], size, step.get("activation", "identity"))
        width = metadata["latent"]["size"]
    score = metadata["score"]
    beta = f", beta {score['beta']:g}" if score["kind"] == "elbo" else ""
    table.add_row("score", score["kind"], "", f"{score['loss']}{beta}")
    return table


def _size(step: Mapping[str, Any], file: TensorFile, width: int) -> tuple[str, int]:
    """A step's input and output as text, images as channels x height x width; the new width."""
    made = output_width(step, file.shapes, width)
    if step["op"] not in CONVOLUTIONS + POOLS:
        return f"{width} to {made}", made
    before, after = (
        "x".join(map(str, i)) for i in (step["input"], output_image(step, file.shapes))
    )
    kernel = step["kernel"] if step["op"] in POOLS else file.shapes[step["weight"]][2:]
    window = f"window {kernel[0]}x{kernel[1]}, stride {step['stride'][0]}x{step['stride'][1]}"
    return f"{before} to {after}, {window}", made


def _provenance(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Everything but the loss of every epoch, of which the last is shown."""
    rows = []
    for name, value in provenance.items():
        if isinstance(value, Mapping):
            last = {k: v[-1] for k, v in value.items() if isinstance(v, list) and v}
            shown = ", ".join(f"{k} {v:.4g}" for k, v in last.items() if isinstance(v, int | float))
            rows.append((name, f"last epoch: {shown}" if shown else str(dict(value))))
        else:
            rows.append((name, str(value)))
    return rows


def _features(metadata: Mapping[str, Any], file: TensorFile) -> Table:
    table = Table(title="features", title_justify="left", box=None, pad_edge=False)
    table.add_column("number", justify="right")
    table.add_column("name")
    table.add_column("mean", justify="right")
    table.add_column("scale", justify="right")
    step = metadata["preprocess"][-1]
    mean, scale = file.read(step["mean"]), file.read(step["scale"])
    for j, name in enumerate(metadata["features"]):
        table.add_row(str(j), name, f"{mean[j]:.6g}", f"{scale[j]:.6g}")
    return table


def _as_json(path: Path, scorer: vaelocity.Scorer, file: TensorFile) -> dict[str, Any]:
    metadata = scorer.metadata
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "fingerprint": scorer.fingerprint,
        "identity": scorer.identity,
        "kind": scorer.kind,
        "kinds": list(scorer.kinds),
        "isa": scorer.isa,
        "parameters": parameter_count(metadata, file),
        "network": network_name(metadata, file),
        "thresholds": metadata.get("thresholds", []),
        "metadata": metadata,
    }
