"""The typer application: which commands there are."""

from __future__ import annotations

from typing import Annotated

import typer

from vaelocity.cli.bench import bench
from vaelocity.cli.console import out
from vaelocity.cli.demo import demo
from vaelocity.cli.drift import drift
from vaelocity.cli.explain import explain
from vaelocity.cli.export import export
from vaelocity.cli.faults import faults
from vaelocity.cli.fit import fit
from vaelocity.cli.fixed import fixed
from vaelocity.cli.import_model import import_model
from vaelocity.cli.inspect import inspect
from vaelocity.cli.merge import merge
from vaelocity.cli.overlap import overlap
from vaelocity.cli.report import report
from vaelocity.cli.score import score
from vaelocity.cli.stream import stream
from vaelocity.cli.threshold import threshold
from vaelocity.cli.verify import verify

app = typer.Typer(
    name="vaelocity",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)


def _version(value: bool) -> None:
    if value:
        import vaelocity

        out().print(f"vaelocity {vaelocity.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (any command).")
    ] = False,
) -> None:
    """Anomaly scores from autoencoders and variational autoencoders.

    Results go to stdout, messages to stderr.

    Exit codes: 0 done; 1 the check failed (verify, score --fail-on, drift --fail); 2 wrong usage
    or unusable input; 3 an error inside vaelocity; 130 interrupted.
    """


for command in (
    demo, fit, score, explain, merge, stream, threshold, overlap, drift, faults, inspect, verify,
    export, fixed, report, bench,
):  # fmt: skip
    app.command()(command)
app.command("import")(import_model)
