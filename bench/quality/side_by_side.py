"""Work in several processes of one thread each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    function: Callable[[Item], Result], items: Sequence[Item], processes: int
) -> Iterator[tuple[Item, Result]]:
    """Every item with function(item), as they come; begun in the order of `items`.

    Raises: ExceptionGroup at the end, of the calls that failed: they stop none of the others.
    """
    failures = []
    # Fresh processes: one that was forked cannot use CUDA, and may hang in torch.
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        running = {pool.submit(function, item): item for item in items}
        for future in as_completed(running):
            failure = future.exception()
            if failure is None:
                yield running[future], future.result()
            else:
                failure.add_note(f"with {running[future]}")
                failures.append(failure)
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} of {len(items)} failed", failures)
