"""mkdocs hook: the reference pages, made from the package that is installed.

Signatures and texts are those of the functions; nothing is copied by hand.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file holds."""
    for name, made in (
        ("ops", _ops()),
        ("command-line", _command_line()),
        ("python", _python()),
    ):
        content = "\n".join(made) + "\n"
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def _ops() -> Iterator[str]:
    from vaelocity.ops import OPS
    from vaelocity.ops.__main__ import support

    yield "# Operations\n"
    yield "Fused, with autograd; every one has a reference in plain torch, against which each of"
    yield "its cases is tested in every backend, forward and backward.\n"
    served: dict[str, dict[str, set[str]]] = {}
    for op, dtype, said in support():
        for backend, why in said.items():
            if why is None:
                served.setdefault(op, {}).setdefault(backend, set()).add(dtype)
    for op, module in sorted(OPS.items()):
        yield from _entry(getattr(module, op), f"vaelocity.ops.{op}")
        yield "| backend | types |\n|---|---|"
        for backend, dtypes in served.get(op, {}).items():
            yield f"| {backend} | {', '.join(sorted(dtypes))} |"
        shapes = [case.name for case in module.CASES]
        yield f"\nTested cases ({len(shapes)}): {', '.join(f'`{name}`' for name in shapes)}.\n"
    yield "The tables are of the machine that built this page: `python -m vaelocity.ops` makes"
    yield "one of yours.\n"


def _python() -> Iterator[str]:
    import vaelocity
    from vaelocity import models

    yield "# Python\n"
    for name in vaelocity.__all__:
        thing = getattr(vaelocity, name)
        if not isinstance(thing, ModuleType | str):
            yield from _entry(thing, f"vaelocity.{name}")
    for name in models.__all__:
        thing = getattr(models, name)
        if callable(thing):
            yield from _entry(thing, f"vaelocity.models.{name}")


def _entry(thing: Any, name: str) -> Iterator[str]:
    """Heading, signature and text; of a class its public methods as well."""
    yield f"## {name}\n"
    yield from _described(thing, name.rpartition(".")[2])
    if not inspect.isclass(thing):
        return
    for key, member in inspect.getmembers(thing, callable):
        own = key in vars(thing) or any(
            key in vars(base) for base in thing.__mro__ if base.__module__.startswith("vaelocity")
        )
        if own and not key.startswith("_"):
            yield f"### {name.rpartition('.')[2]}.{key}\n"
            yield from _described(member, key)


def _described(thing: Any, name: str) -> Iterator[str]:
    try:
        signature = str(inspect.signature(thing))
    except ValueError:  # of a class that is compiled
        signature = ""
    yield f"```python\n{name}{signature}\n```\n"
    # Docstrings are plain text: shown as they stand, so that no sign in them is markup.
    yield f"```text\n{inspect.getdoc(thing) or ''}\n```\n"


def _command_line() -> Iterator[str]:
    import typer.main

    from vaelocity.cli.app import app

    root: Any = typer.main.get_command(app)
    yield "# Command line\n"
    yield f"{inspect.cleandoc(root.help or '')}\n"
    for name, command in sorted(root.commands.items()):
        context = command.make_context(name, [], resilient_parsing=True)
        usage = " ".join([f"vaelocity {name}", *command.collect_usage_pieces(context)])
        yield f"## {name}\n\n```text\n{usage}\n```\n"
        yield f"{inspect.cleandoc(command.help or '')}\n"
        yield "| | |\n|---|---|"
        for parameter in command.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None:
                yield f"| `{_cell(record[0])}` | {_cell(record[1])} |"
        yield ""


def _cell(text: str) -> str:
    """Text of the terminal in a cell of a table."""
    plain = re.sub(r"\[/?[a-z ]+\]", "", text)
    return re.sub(r"\s+", " ", plain).replace("|", "\\|").replace("<", "&lt;")
