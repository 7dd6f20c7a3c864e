"""What the tests of streams have in common: a small network, and as the model of a stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vaelocity

if TYPE_CHECKING:
    from vaelocity.stream import StreamScorer


@pytest.fixture
def bundle(make_bundle: Callable[..., Path]) -> Path:
    """A model of the features of stream_ends.py."""
    from stream_ends import D

    return make_bundle([D, 5, 2])


@pytest.fixture
def scorer(bundle: Path) -> vaelocity.Scorer:
    return vaelocity.load(bundle)


@pytest.fixture
def cut(scorer: vaelocity.Scorer) -> float:
    """About half of the events of batch_of(n) are above it."""
    from stream_ends import batch_of

    return float(np.median(vaelocity.score_batch(scorer, batch_of(1000)).column("score")))


@pytest.fixture
def model(scorer: vaelocity.Scorer, cut: float) -> StreamScorer:
    """It decides by `cut` and passes the number of an event on."""
    from vaelocity.stream import StreamScorer

    return StreamScorer(scorer, threshold=cut, columns=["event"])
