"""`null:`: scores that nobody keeps, to measure the rest of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

__all__ = ["NullSink"]


class NullSink:
    """Counts rows and forgets them."""

    def __init__(self) -> None:
        self.name = "null:"
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows

    def flush(self, positions: Sequence[Any]) -> None:
        """Nothing is held back."""

    def close(self, *, complete: bool) -> None:
        """Nothing is open."""
