"""Scores counted and events accepted in the scorer's own launch: the histogram bit for bit, the
events in the order of their rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from vaelocity.cuda.accept import Accepted
from vaelocity.cuda.config import Config, Launch
from vaelocity.cuda.plan import Blocks
from vaelocity.histogram import ScoreHistogram
from vaelocity.histogram_reference import BINS

Make = Callable[..., Any]

# The interpreter has two multiprocessors: six programs at most, the last ones often without rows.
LAUNCH = Launch(16, 4, 1, 3)
ON_CHIP = Config("score", Blocks(16, 16), LAUNCH, LAUNCH, 0, "test")
WIDE = Config("score_wide", Blocks(16, 32), LAUNCH, LAUNCH, 0, "test")
KERNELS = pytest.mark.parametrize("config", [ON_CHIP, WIDE], ids=["score", "score_wide"])


def rows_of(n: int, d: int = 7) -> torch.Tensor:
    """With a row that cannot be scored, one beyond float32, and one far out."""
    rows = np.random.default_rng(n).normal(size=(n, d)).astype(np.float32)
    rows[-1] = 40
    rows[n // 3] = 1e30
    rows[n // 2, 1] = np.nan
    return torch.from_numpy(rows)


@KERNELS
@pytest.mark.parametrize("n", [1, 97, 200])
def check_accepted_events(make_bundle: Make, make_scorer: Make, n: int, config: Config) -> None:
    scorer = make_scorer(make_bundle([7, 5, 2]), None, "tf32", config=config)
    rows = rows_of(n)
    scores = scorer.score(rows)
    usual = scores[~scores.isnan()]
    for threshold in (float(usual.median()) if len(usual) else 1.0, 1e38):
        index, found = scorer.accept(rows, threshold)
        expected = np.flatnonzero(~(scores.numpy() <= np.float32(threshold)))
        assert index.tolist() == expected.tolist()
        # A NaN is a NaN: compared by its bits.
        assert torch.equal(found.view(torch.int32), scores[expected].view(torch.int32))
    assert n // 2 in index


@KERNELS
def check_less_memory_than_accepted_events(
    make_bundle: Make, make_scorer: Make, config: Config
) -> None:
    """The first of them are there, the count is of all, and nothing behind is written to."""
    scorer = make_scorer(make_bundle([7, 5, 2]), None, "tf32", config=config)
    rows = rows_of(150)
    memory = Accepted.empty(40, torch.device("cpu"))
    memory.index.fill_(-7)
    some = Accepted(memory.index[:30], memory.scores[:30], memory.count)
    scores = torch.empty(150)
    scorer.score_into(rows, scores=scores, accepted=some, threshold=0.0)
    assert int(some.count) == 150
    assert some.taken()[0].tolist() == list(range(30))
    assert (memory.index[30:] == -7).all()
    scorer.score_into(rows[:0], scores=scores[:0], accepted=some, threshold=0.0)
    assert [len(each) for each in some.taken()] == [0, 0]


@KERNELS
@pytest.mark.parametrize("kind", ["reconstruction", "elbo"])
def check_histogram(make_bundle: Make, make_scorer: Make, kind: str, config: Config) -> None:
    """The counts of the CPU's histogram and of NumPy's, of the same scores."""
    path = make_bundle([7, 5, 2], gaussian=True)
    scorer = make_scorer(path, kind, "tf32", config=config)
    rows = rows_of(120)
    scores = scorer.score(rows).numpy()
    found = scorer.histogram(rows)
    for backend in ("cpu", "reference"):
        expected = ScoreHistogram(kind, scorer.identity).update(scores, backend=backend)
        assert found == expected, backend
    assert found.n_nan == 1
    assert found.n == 120


@KERNELS
def check_everything_in_one_pass(make_bundle: Make, make_scorer: Make, config: Config) -> None:
    """Scores have the same bits whether or not something is counted beside; counts add up."""
    scorer = make_scorer(make_bundle([7, 5, 2]), None, "tf32", config=config)
    rows = rows_of(100)
    alone = scorer.score(rows)
    scores, decisions = torch.empty(100), torch.empty(100, dtype=torch.bool)
    counts, accepted = scorer.new_counts(), Accepted.empty(100, torch.device("cpu"))
    for _ in range(2):
        scorer.score_into(
            rows, scores=scores, decisions=decisions, counts=counts, accepted=accepted,
            threshold=3.0,
        )  # fmt: skip
    assert torch.equal(scores.view(torch.int32), alone.view(torch.int32))
    assert torch.equal(decisions, scorer.predict(rows, 3.0))
    assert torch.equal(accepted.taken()[0], decisions.nonzero()[:, 0])
    assert int(counts.sum()) == 200
    assert int(counts[BINS]) == 2


def check_histogram_in_several_launches(
    make_bundle: Make, make_scorer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vaelocity.cuda import scorer as module

    scorer = make_scorer(make_bundle([7, 5, 2]), None, "tf32", config=ON_CHIP)
    rows = rows_of(50)
    whole = scorer.histogram(rows)
    monkeypatch.setattr(module, "_MOST_ROWS", 16)
    assert scorer.histogram(rows) == whole
    with pytest.raises(ValueError, match="rows: at most 16 with accepted events, got 50"):
        scorer.accept(rows, 1.0)


def check_what_is_refused(make_bundle: Make, make_scorer: Make) -> None:
    scorer = make_scorer(make_bundle([7, 5, 2]), None, "tf32", config=ON_CHIP)
    rows = rows_of(5)
    memory = Accepted.empty(5, torch.device("cpu"))
    with pytest.raises(ValueError, match="scores: needed where accepted events are asked for"):
        scorer.score_into(rows, accepted=memory, threshold=1.0)
    narrow = replace(memory, index=memory.index.int())
    with pytest.raises(ValueError, match=r"accepted.index: expected contiguous torch.int64 of sh"):
        scorer.score_into(rows, scores=torch.empty(5), accepted=narrow, threshold=1.0)
    with pytest.raises(ValueError, match="threshold: the file has none for kind"):
        scorer.accept(rows)
    with pytest.raises(ValueError, match=r"counts: expected contiguous torch.int32 of shape \(10"):
        scorer.score_into(rows, counts=torch.zeros(5, dtype=torch.int32))
