"""Which scored events go out: accepted ones, prescaled, and a sample no score decides on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vaelocity.prescale import Prescale, pass_through
from vaelocity.stream.scoring import Scored

__all__ = ["Selection"]


class Selection:
    """Called with the results of micro-batches in their order, since a prescale counts.

    Every way by which an event goes out has a column, bool: `selected` where there is a prescale
    (anomalous, and kept by it), `pass_through` where there is a pass-through. `anomalous` is the
    decision before the prescale. Counts begin anew with the stream.
    """

    def __init__(
        self,
        *,
        accepted_only: bool,
        columns: Sequence[str],
        prescale: int | None = None,
        sample: tuple[str, int] | None = None,
    ) -> None:
        """
        Args:
            accepted_only: only events with one of the ways go out; else all, with these columns.
            columns: passed on beside the score.
            prescale: of the anomalous events every so many-th is selected; None selects all.
            sample: a column of event numbers among `columns`, and N: one event in N passes
                through, see `vaelocity.prescale.pass_through`; None for none.

        Raises ValueError for a factor below 1, or a column that is not there or there already.
        """
        self._accepted_only = accepted_only
        self._prescale = None if prescale is None else Prescale(prescale)
        self._sample = sample
        if sample is not None:
            pass_through(np.arange(0), sample[1])  # checks the factor
            if sample[0] not in columns:
                raise ValueError(f"pass-through: {sample[0]!r} is not among the columns passed on")
        for name in self._added:
            if name in columns:
                raise ValueError(f"columns: {name!r} is the name of a column that is added")

    @property
    def _added(self) -> list[str]:
        ways = {"selected": self._prescale, "pass_through": self._sample}
        return [name for name, way in ways.items() if way is not None]

    def refuse(self, batch: pa.RecordBatch) -> str:
        """Why no event can be chosen in a batch of a source; "" if it can."""
        if self._sample is None:
            return ""
        name = self._sample[0]
        column = batch.column(name)
        if pa.types.is_integer(column.type) and not column.null_count:
            return ""
        nulls = f" with {column.null_count} nulls" if column.null_count else ""
        return f"pass-through: column {name!r}: expected integers, got {column.type}{nulls}"

    def __call__(self, scored: Scored) -> Scored:
        """What of a result goes out; the counts in it stay those of all events."""
        batch = scored.batch
        selected = batch.column("anomalous").to_numpy(zero_copy_only=False)
        if self._prescale is not None:
            selected = self._prescale(selected)
            batch = _with(batch, "selected", selected)
        out = selected
        if self._sample is not None:
            name, factor = self._sample
            passed = pass_through(batch.column(name).to_numpy(), factor)
            batch = _with(batch, "pass_through", passed)
            out = selected | passed
        return replace(scored, batch=batch.filter(pa.array(out)) if self._accepted_only else batch)


def _with(batch: pa.RecordBatch, name: str, mask: npt.NDArray[np.bool_]) -> pa.RecordBatch:
    """The batch with a column more; its metadata stay."""
    schema = batch.schema.append(pa.field(name, pa.bool_()))
    return pa.record_batch([*batch.columns, pa.array(mask)], schema=schema)
