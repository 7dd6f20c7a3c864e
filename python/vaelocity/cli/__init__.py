"""The `vaelocity` command.

    vaelocity demo                           train on the shipped jets, score a stream, report
    vaelocity fit DATA -o M.vael             train a model and freeze it
    vaelocity score M.vael DATA -o S.parquet score events
    vaelocity explain M.vael DATA            which features make events anomalous
    vaelocity merge SHARDS -o S.parquet      join what `score --shard i/n` wrote
    vaelocity stream M.vael -s S -t T        score a stream: files, pipes, Kafka, ZeroMQ
    vaelocity inspect M.vael                 what a model file holds
    vaelocity verify M.vael                  is a model file intact, and does it score as it did
    vaelocity export M.vael --header M.hpp   the model as one C++ header that needs no library
    vaelocity report M.vael DATA -o R.html   figures and tables about a model, in one file
    vaelocity bench M.vael                   its speed on this machine, beside other runtimes
    vaelocity import M.onnx -o M.vael        an ONNX autoencoder as a model file

Results go to stdout, messages and progress to stderr. An error is one line. Exit codes:

    0    done
    1    `verify` found a file that is not what it was; `score --fail-on` met its condition
    2    wrong usage, or input that cannot be used
    3    an error inside vaelocity; --debug shows where
    130  interrupted
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; args defaults to sys.argv[1:]. Returns the exit code."""
    try:
        from vaelocity.cli.app import app
        from vaelocity.cli.console import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"typer", "rich"}:
            raise
        print(
            f'vaelocity: error: the command line needs {error.name}: pip install "vaelocity[cli]"',
            file=sys.stderr,
        )
        return 2
    return run(app, sys.argv[1:] if args is None else list(args))
