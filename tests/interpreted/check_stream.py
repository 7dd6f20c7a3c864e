"""score_stream's order, parts and memory limit, with streams and pinned memory that pretend."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from physics_networks import edges, network, promised

import vaelocity
from vaelocity.cuda.config import Config, Launch
from vaelocity.cuda.plan import Blocks
from vaelocity.histogram import ScoreHistogram

Make = Callable[..., Any]

LAUNCH = Launch(16, 4, 1, 1)
CONFIG = Config("score", Blocks(32, 32), LAUNCH, LAUNCH, 0, "test")


class _Event:
    """Counts what is recorded and not yet waited for: a buffer must not be used again before."""

    under_way = 0

    def record(self, stream: Any) -> None:
        _Event.under_way += 1
        assert _Event.under_way <= 2

    def synchronize(self) -> None:
        _Event.under_way -= 1
        assert _Event.under_way >= 0


class _Stream:
    def __init__(self, device: Any) -> None:
        pass

    def wait_stream(self, other: Any) -> None:
        pass

    def synchronize(self) -> None:
        pass


@pytest.fixture(autouse=True)
def pretend(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Patches torch.cuda; the sizes of the pinned buffers, in elements."""
    pinned: list[int] = []
    empty = torch.empty

    def counted(*size: Any, pin_memory: bool = False, **more: Any) -> torch.Tensor:
        made = empty(*size, **more)
        if pin_memory:
            pinned.append(made.numel())
        return made

    monkeypatch.setattr(torch, "empty", counted)
    monkeypatch.setattr(torch.cuda, "Stream", _Stream)
    monkeypatch.setattr(torch.cuda, "Event", _Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    return pinned


def rows_of(n: int, d: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def check_order_and_parts(make_bundle: Make, make_scorer: Make, pretend: list[int]) -> None:
    scorer = make_scorer(make_bundle([9, 8, 3]), None, "tf32", config=CONFIG)
    batches = [rows_of(n, 9, i) for i, n in enumerate([5, 40, 0, 33, 1, 16, 7])]
    batches[1][3, 2] = np.nan
    found = list(scorer.score_stream(iter(batches), batch_rows=16, flags=True))
    assert len(found) == len(batches)
    for (scores, flags), batch in zip(found, batches, strict=True):
        rows = torch.from_numpy(batch)
        assert torch.allclose(scores, scorer.score(rows), rtol=1e-5, equal_nan=True)
        assert torch.equal(flags, scorer.flags(rows))
    assert _Event.under_way == 0
    assert sorted(pretend) == [16, 16, 16, 16, 16 * 9, 16 * 9]


def check_rows_with_missing_values(make_scorer: Make, tmp_path: Path) -> None:
    """Scores, flags and histogram of a model that leaves terms out of its loss."""
    path = tmp_path / "model.vael"
    content = network(("missing", "mask_zeros"), "huber")
    path.write_bytes(promised(*content, ["reconstruction"]))
    scorer = make_scorer(path, None, "tf32", config=CONFIG)
    batches, counted = [edges(19), edges(19)[5:12]], ScoreHistogram()
    found = list(scorer.score_stream(batches, batch_rows=30, flags=True, histogram=counted))
    for (scores, flags), batch in zip(found, batches, strict=True):
        expected = scorer.score(torch.from_numpy(batch))
        assert torch.allclose(scores, expected, rtol=1e-5, equal_nan=True)
        assert flags.tolist() == vaelocity.load(path).flags(batch).tolist()
        assert {0, 1, 2, 4} & set(flags.tolist()) >= {1, 4}
    assert counted.n == 48
    assert _Event.under_way == 0


def check_accepted_events_alone(make_bundle: Make, make_scorer: Make) -> None:
    """Their rows are those of the batch, also behind its first part; all scores are counted."""
    scorer = make_scorer(make_bundle([9, 8, 3]), None, "tf32", config=CONFIG)
    batches = [rows_of(n, 9, i) for i, n in enumerate([5, 40, 0, 33, 1, 16, 7])]
    batches[1][30, 2] = np.nan
    scores = [scorer.score(torch.from_numpy(batch)).numpy() for batch in batches]
    threshold = float(np.nanquantile(np.concatenate(scores), 0.8))
    counted = ScoreHistogram()
    stream = scorer.score_stream(
        batches, batch_rows=16, threshold=threshold, accepted_only=True, histogram=counted
    )
    found = list(stream)
    assert len(found) == len(batches)
    for (index, kept), expected in zip(found, scores, strict=True):
        assert index.dtype == torch.int64
        assert index.tolist() == np.flatnonzero(~(expected <= np.float32(threshold))).tolist()
        np.testing.assert_allclose(kept.numpy(), expected[index], rtol=1e-5)
    assert 30 in found[1][0]
    assert counted.n == sum(map(len, batches))
    assert counted.n_nan == 1
    assert (counted.kind, counted.model) == (scorer.kind, scorer.identity)


def check_the_histogram_of_a_stream(
    make_bundle: Make, make_scorer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Added to what it holds, before counts could overflow, and when the stream is closed early."""
    from vaelocity.cuda import stream as module

    monkeypatch.setattr(module, "_MOST_COUNTED", 40)
    scorer = make_scorer(make_bundle([9, 8, 3]), None, "tf32", config=CONFIG)
    batches = [rows_of(16, 9, i) for i in range(6)]
    scores = torch.cat([scorer.score(torch.from_numpy(batch)) for batch in batches]).numpy()
    counted = ScoreHistogram(scorer.kind, scorer.identity).update(scores)
    list(scorer.score_stream(batches, batch_rows=16, histogram=counted))
    assert counted == ScoreHistogram(scorer.kind, scorer.identity).update(np.tile(scores, 2))
    early = ScoreHistogram()
    stream = scorer.score_stream(batches, batch_rows=16, histogram=early)
    next(stream)
    stream.close()
    assert early.n == 3 * 16
    _Event.under_way = 0


def check_bad_arguments(make_bundle: Make, make_scorer: Make) -> None:
    scorer = make_scorer(make_bundle([9, 8, 3]), None, "tf32", config=CONFIG)
    for arguments, text in (
        ({"threshold": 1.0}, "threshold: given without accepted_only"),
        ({"accepted_only": True, "flags": True}, "flags: not with accepted_only"),
        ({"accepted_only": True}, "threshold: the file has none"),
        ({"histogram": ScoreHistogram("kl")}, "merge: scores of another kind"),
    ):
        with pytest.raises(ValueError, match=text):
            scorer.score_stream([], **arguments)


def check_scores_come_before_the_stream_ends(make_bundle: Make, make_scorer: Make) -> None:
    """A stream without an end must give results: two parts are under way, no more."""
    scorer = make_scorer(make_bundle([9, 8, 3]), None, "tf32", config=CONFIG)
    taken = 0

    def endless() -> Any:
        nonlocal taken
        while True:
            taken += 1
            yield rows_of(4, 9, taken)

    stream = scorer.score_stream(endless(), batch_rows=16)
    for i in range(1, 4):
        next(stream)
        assert taken == i + 2
    stream.close()
    _Event.under_way = 0


def check_memory_limit(make_bundle: Make, make_scorer: Make, pretend: list[int]) -> None:
    path = make_bundle([9, 8, 3])
    held = make_scorer(path, None, "tf32", config=CONFIG).device_bytes
    with pytest.raises(ValueError, match=rf"memory_limit: the model needs {held} bytes"):
        make_scorer(path, None, "tf32", config=CONFIG, memory_limit=held - 1)
    per_row = 2 * (9 * 4 + 5)
    scorer = make_scorer(path, None, "tf32", config=CONFIG, memory_limit=held + 10 * per_row)
    batch = rows_of(25, 9, 0)
    (scores,) = scorer.score_stream([batch])
    # Other places in a tile: NumPy's products may round in another order.
    assert torch.allclose(scores, scorer.score(torch.from_numpy(batch)), rtol=1e-5)
    assert max(pretend) == 10 * 9
    none = make_scorer(path, None, "tf32", config=CONFIG, memory_limit=held + per_row - 1)
    with pytest.raises(ValueError, match="leave no room for a row"):
        list(none.score_stream([batch]))


@pytest.mark.parametrize(
    ("batches", "error", "text"),
    [
        ([np.zeros((2, 8), np.float32)], ValueError, r"expected shape \[m, 9\], got \(2, 8\)"),
        ([np.zeros((2, 9))], TypeError, "got torch.float64"),
        (
            [np.zeros((2, 9), np.float32), np.zeros((2, 9), np.float16)],
            TypeError,
            "expected torch.float32, got torch.float16",
        ),
    ],
)
def check_bad_batches(
    make_bundle: Make, make_scorer: Make, batches: Any, error: type, text: str
) -> None:
    scorer = make_scorer(make_bundle([9, 8, 3]), None, "tf32", config=CONFIG)
    with pytest.raises(error, match=text):
        list(scorer.score_stream(batches))
    _Event.under_way = 0
