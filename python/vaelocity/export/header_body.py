"""The body of the header's score(): statements, and where in the workspace their values lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Body", "Value"]

_LINE = 16
"""Floats in a cache line: every value begins with one."""


class Value(NamedTuple):
    """A row's values between two steps.

    name: of the pointer to it. size: how many there are. floats: how many are written, with what
    pads them. image: its C++ type where it is an image held by pixel, None where it lies as a row
    of the file does.
    """

    name: str
    size: int
    floats: int
    image: str | None = None


@dataclass
class _Lease:
    """Floats that are taken from statement `first` to `last` inclusive."""

    floats: int
    first: int
    last: int
    at: int = 0


class Body:
    """Statements in order. Values share memory where they are not alive at the same time."""

    def __init__(self) -> None:
        self._statements: list[str] = []
        self._leases: dict[str, _Lease] = {}

    def value(
        self, name: str, size: int, floats: int | None = None, image: str | None = None
    ) -> Value:
        """A new value, which the next statement writes. floats: `size` by default."""
        now, floats = len(self._statements), floats or size
        self._leases[name] = _Lease(floats + -floats % _LINE, now, now)
        return Value(name, size, floats, image)

    def add(self, statement: str, *reads: Value) -> None:
        """Append a statement, and say whose values it reads."""
        for value in reads:
            self._leases[value.name].last = len(self._statements)
        self._statements.append(statement)

    def lay_out(self) -> int:
        """Give every value the lowest place that is free while it is alive; returns the floats of
        the workspace."""
        placed: list[_Lease] = []
        for lease in self._leases.values():
            at_once = [o for o in placed if o.last >= lease.first and o.first <= lease.last]
            for other in sorted(at_once, key=lambda each: each.at):
                if lease.at + lease.floats <= other.at:
                    break
                lease.at = max(lease.at, other.at + other.floats)
            placed.append(lease)
        return max(lease.at + lease.floats for lease in placed)

    def text(self) -> str:
        """The lines of the function's body; after lay_out."""
        pointers = [
            f"  float *const {name} = space.memory + {lease.at};"
            for name, lease in self._leases.items()
        ]
        return "\n".join([*pointers, *self._statements])
