"""Values as C++ writes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def number(x: np.float32) -> str:
    """A float, exactly."""
    if np.isnan(x):
        return '__builtin_nanf("")'
    if np.isinf(x):
        return "__builtin_inff()" if x > 0 else "-__builtin_inff()"
    return f"{float(x).hex()}f"


def floats(name: str, values: npt.NDArray[Any]) -> str:
    """A constant array of floats."""
    flat = values.astype(np.float32).ravel()
    return _array("float", name, [number(x) for x in flat])


def integers(kind: str, name: str, values: npt.NDArray[Any]) -> str:
    """A constant array of unsigned integers of type `kind`."""
    return _array(kind, name, [f"{int(x)}u" for x in values])


def strings(name: str, values: list[str]) -> str:
    """A constant array of C strings."""
    return _array("const char *", name, [_string(value) for value in values])


def _string(text: str) -> str:
    """A C string literal of the UTF-8 bytes; the quotes after an escape end it."""
    out = []
    for byte in text.encode():
        plain = 32 <= byte < 127 and chr(byte) not in '"\\?'
        out.append(chr(byte) if plain else f'\\x{byte:02x}""')
    return '"' + "".join(out) + '"'


def _array(kind: str, name: str, items: list[str]) -> str:
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) > 98:
            lines.append(line)
            line = "   "
        line += f" {item},"
    body = "\n".join([*lines, line])
    const = "const char *const" if kind == "const char *" else kind
    return f"alignas(64) inline constexpr {const} {name}[{len(items)}] = {{\n{body}\n}};"
