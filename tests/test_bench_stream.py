"""The benchmark of a stream: its page and table, which processors its ends get, and what of Ray's
actors is counted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")
import pyarrow as pa
from bench_results import results

from vaelocity.benchmark import timing


def test_the_page_of_a_stream(module: Callable[[str], ModuleType]) -> None:
    report = module("stream_report")
    latency = {"p50": 1.2e-3, "p99": 3e-3, "p99.9": 5e-3}
    ratio = timing.Estimate(0.9, 0.85, 0.95)
    cases = [
        report.line("file", 10, 2e6, ratio=ratio, of="the scorer alone", wanted=">= 0.8", met=True),
        report.line("paced", 10, 5e5, latency=latency, note="a note"),
    ]
    page = report.markdown({**results(), "cases": cases, "network": "7-5-7"})
    assert "| file | 2 | 0.90 [0.85, 0.95] of the scorer alone |  | >= 0.8 | yes |  |" in page
    assert "| paced | 0.5 |  | 1.2 ms / 3 ms / 5 ms | stated |  | a note |" in page


def test_results_of_streams_have_a_table_and_are_not_compared(
    module: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, compare = module("tables"), module("compare")
    line, ratio = module("stream_report").line, timing.Estimate(0.9, 0.85, 0.95)
    latency = {"p50": 1e-3, "p99": 3e-3}
    cases = [
        line("a file", 10, 2e6, ratio=ratio, of="the scorer alone", wanted=">= 0.8", met=True),
        line("paced", 10, 2e6, latency=latency),
    ]
    made = {**results(), "cases": cases}
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / "stream.json").write_text(json.dumps(made))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    page = tables.page()
    assert "| a file | 2.00 | 0.90 [0.85, 0.95] | the scorer alone |  | >= 0.8 |" in page
    assert "| paced | 2.00 |  |  | 1 ms / 3 ms | stated |" in page
    with pytest.raises(ValueError, match="cases without entries"):
        compare.compare(made, made)


def test_actors_are_compared_while_all_are_at_work(module: Callable[[str], ModuleType]) -> None:
    """The second begins at 1 s and the first ends at 3 s: within, 10 + 10 + half of 10 events."""
    blocks = [
        {"actor": 1, "start": 0.0, "end": 1.0, "rows": 10},
        {"actor": 1, "start": 1.0, "end": 3.0, "rows": 10},
        {"actor": 2, "start": 1.0, "end": 2.0, "rows": 10},
        {"actor": 2, "start": 2.0, "end": 4.0, "rows": 10},
    ]
    assert module("stream_ray").rate(blocks) == pytest.approx(25 / 2)


def test_the_rate_of_actors_leaves_their_start_out(module: Callable[[str], ModuleType]) -> None:
    """One begins a second after the other: what counts is the time in which both are at work."""
    blocks = [
        {"actor": actor, "start": at, "end": at + 0.5, "rows": 100}
        for actor, first in ((1, 0.0), (2, 1.0))
        for at in np.arange(first, 4.0, 0.5)
    ]
    assert module("stream_ray").rate(blocks) == pytest.approx(400)
    assert module("stream_ray").rate(blocks[:8]) == pytest.approx(200)


def test_two_actors_of_which_one_waits_are_not_both_at_work(
    module: Callable[[str], ModuleType],
) -> None:
    """Within the four seconds of both, the first has a block for three and the second for one."""
    blocks = [
        {"actor": 1, "start": 0.0, "end": 3.0, "rows": 10},
        {"actor": 1, "start": 4.0, "end": 5.0, "rows": 10},
        {"actor": 2, "start": 0.0, "end": 0.5, "rows": 10},
        {"actor": 2, "start": 3.5, "end": 4.0, "rows": 10},
    ]
    assert module("stream_ray").at_work(blocks) == pytest.approx(4 / 8)


@pytest.mark.parametrize("told", [True, False])
def test_the_sender_has_whole_cores_of_its_own(
    module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """Of 16 processors 7 and 15, where these are threads of one core; with no word of cores the
    last two. Two processors are shared, and what was allowed before is allowed again after."""
    scaling = module("stream_scaling")
    held: list[set[int]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, some: held.append(set(some)))
    if told:
        monkeypatch.setattr(scaling, "_siblings", lambda cpu: {cpu % 8, cpu % 8 + 8})
    else:
        monkeypatch.setattr(scaling, "SIBLINGS", "/no/cpu{}")
    for allowed, senders in (
        (set(range(16)), {7, 15} if told else {14, 15}),
        ({0, 1, 7, 8, 15}, {7, 15} if told else {8, 15}),
        ({0, 1}, {0, 1}),
    ):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, allowed=allowed: allowed)
        held.clear()
        with scaling._processors() as (own, found):
            assert found == senders
            assert own == (allowed - senders or allowed)
        assert held == [own, allowed]


@pytest.mark.parametrize(
    ("text", "found"),
    [("3", {3}), ("3,11", {3, 11}), ("2-3", {2, 3}), ("0-1,8-9", {0, 1, 3, 8, 9})],
)
def test_threads_of_a_core_are_read_from_linux(
    module: Callable[[str], ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    found: set[int],
) -> None:
    scaling = module("stream_scaling")
    (tmp_path / "cpu3").write_text(f"{text}\n")
    monkeypatch.setattr(scaling, "SIBLINGS", f"{tmp_path}/cpu{{}}")
    assert scaling._siblings(3) == found


def test_a_stream_is_judged_by_its_fastest_threads_and_the_low_end(
    module: Callable[[str], ModuleType],
) -> None:
    scaling = module("stream_scaling")
    alone = {1: 2e6, 2: 4e6, 4: 8e6}
    rates = {0: [2e7] * 3, 1: [2e6] * 3, 2: [5.5e6, 6e6, 6.5e6], 4: [4e6] * 3}

    def lines() -> list[dict[str, Any]]:
        seconds = {n: 1 / np.array(values) for n, values in rates.items()}
        return scaling._lines("title", seconds, alone, "here", 1000)

    assert [one["met"] for one in lines()] == [None, True, None]
    assert [one["events"] for one in lines()] == [1000, 2000, 4000]
    assert lines()[1]["ratio"]["value"] == pytest.approx(3)
    rates[2] = [4.5e6, 6e6, 6.5e6]
    assert [one["met"] for one in lines()] == [None, False, None]


def test_a_wrong_score_is_never_timed(module: Callable[[str], ModuleType]) -> None:
    expected = np.array([1.0, np.nan, 3.0], np.float32)
    sink = module("stream_scaling")._Compared(expected)
    sink.write(pa.record_batch({"score": np.tile(expected, 2)}))
    assert sink.messages == 2
    wrong = np.nextafter(np.tile(expected, 2), np.float32(9))
    with pytest.raises(AssertionError, match="not the scorer's"):
        sink.write(pa.record_batch({"score": wrong}))
