"""What a peer is: a file beside this one with NAME, LIBRARY, INFORMATION and ways().

NAME         as the tables show it
LIBRARY      the module it needs
INFORMATION  None; or why the peer is timed but counts in no comparison, and is let off the check
ways(network, n) -> [Way, ...]: the ways to score exactly n rows; the plainest first, the fastest is
             found by a race. Raises ImportError where the peer is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vaelocity.frozen import Network, Rows

Call = Callable[[], Any]


@dataclass(frozen=True)
class Way:
    """bind(rows [n, n_features]) -> a call that scores them; it gives n float32 scores.

    What the call gives may lie in memory that the next call writes again. Everything that can be
    prepared once for rows that stay where they are (wrapping, binding, output memory) is done by
    bind, outside the clock.
    """

    name: str
    bind: Callable[[Rows], Call]


class Peer(Protocol):
    """The module of a peer."""

    NAME: str
    LIBRARY: str
    INFORMATION: str | None

    def ways(self, network: Network, n: int) -> Sequence[Way]: ...
