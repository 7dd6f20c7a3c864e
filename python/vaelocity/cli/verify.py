"""`vaelocity verify`: is a model file intact, and does it score here as where it was made?"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from vaelocity import _core
from vaelocity.cli import console, options
from vaelocity.cli.tensors import TensorFile


@dataclass
class Verdict:
    """What was found out about one file. scored: per kind of score, the instruction sets."""

    path: Path
    fingerprint: str | None = None
    rows: int = 0
    scored: dict[str, list[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "ok": not self.failures,
            "fingerprint": self.fingerprint,
            "conformance_rows": self.rows,
            "scored": self.scored,
            "failures": self.failures,
        }


def verify(
    bundles: Annotated[
        list[Path], typer.Argument(metavar="MODEL.vael", help="Model files made by `fit`.")
    ],
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Check every byte of a model file by its checksum, and score its conformance rows again.

    Each kind of score is computed with each instruction set of this machine and compared with the
    scores in the file bit for bit. Every reason to fail is one line. Exit code: 0 all files passed;
    1 a file failed; 2 a file cannot be read.
    """
    verdicts = [check(path) for path in bundles]
    try:
        if as_json:
            console.print_json({"files": [verdict.as_json() for verdict in verdicts]})
        else:
            for verdict in verdicts:
                _print(verdict)
    finally:  # a reader that stops early must not hide it
        if any(verdict.failures for verdict in verdicts):
            raise typer.Exit(console.FAILED)


def check(path: Path) -> Verdict:
    """Everything that can be found out about one file. Raises OSError if it cannot be read."""
    path.open("rb").close()
    verdict = Verdict(path)
    try:
        # Checks structure and checksum; the conformance rows come one by one below.
        loaded = _core.Model.from_file(str(path), verify=False)
    except _core.BundleError as error:
        verdict.failures.append(str(error))
        return verdict
    verdict.fingerprint = loaded.checksum
    conformance = json.loads(loaded.metadata).get("conformance")
    if not conformance:
        verdict.failures.append("the file holds no conformance rows to score again")
        return verdict
    verdict.rows = TensorFile(path).shapes[conformance["rows"]][0]
    for kind in sorted({loaded.kind, *conformance["scores"]}):
        verdict.scored[kind] = []
        for isa in _core.available_isas():
            try:
                _core.Model.from_file(str(path), kind=kind, isa=isa, verify=True)
                verdict.scored[kind].append(isa)
            except _core.BundleError as error:
                verdict.failures.append(f"{kind} with {isa}: {error}")
    return verdict


def _print(verdict: Verdict) -> None:
    out = console.out()

    def line(*parts: str | tuple[str, str]) -> None:
        out.print(Text.assemble((f"{verdict.path}: ", "bold"), *parts), soft_wrap=True)

    if verdict.fingerprint is not None:
        line("checksum ", ("ok", "green"), f" {verdict.fingerprint}")
    for kind, isas in verdict.scored.items():
        if isas:
            how = f" {verdict.rows} rows, bit for bit, {', '.join(isas)}"
            line(f"conformance {kind} ", ("ok", "green"), how)
    for failure in verdict.failures:
        line(("FAILED", "bold red"), f" {' '.join(failure.split())}")
