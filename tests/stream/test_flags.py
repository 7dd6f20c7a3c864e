"""Every flag that the scorer can raise is counted by name, wherever a stream's counts are told."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import physics_networks
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[stream]")

import vaelocity
from vaelocity.record_batch import FLAGS, count_flags, flags_text

HEADER = Path(__file__).parents[2] / "csrc" / "include" / "vaelocity" / "vaelocity.h"


@pytest.fixture
def flagging(tmp_path: Path) -> Path:
    """A model of 19 features that leaves missing values out of columns 1, 4 and 17."""
    path = tmp_path / "flagging.vael"
    metadata, tensors = physics_networks.network(("missing",))
    path.write_bytes(physics_networks.promised(metadata, tensors, ["reconstruction"]))
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """1,000 rows, of which 7 have a missing value, 5 a NaN that is none, 3 a score beyond float32,
    and 2 more both a missing value and such a score."""
    values = np.random.default_rng(0).normal(size=(1000, 19)).astype(np.float32)
    values[10:19, 4] = np.nan
    values[20:25, 2] = np.nan
    values[17:19, 2] = values[30:33, 2] = 1e30
    np.save(tmp_path / "rows.npy", values)
    return tmp_path / "rows.npy"


COUNTS = {"nan": 5, "saturated": 5, "missing": 9}


def test_a_flag_of_the_scorer_has_a_name_and_words() -> None:
    """The bits are those of the C header, of which NONFINITE is `nan` here."""
    found = dict(re.findall(r"#define VAEL_FLAG_(\w+) (\d+)u", HEADER.read_text()))
    assert {name.lower(): int(bit) for name, bit in found.items()} == {
        {"nan": "nonfinite"}.get(name, name): bit for name, bit in FLAGS.items()
    }
    every = count_flags(np.arange(8, dtype=np.uint8))
    assert every == dict.fromkeys(FLAGS, 4)
    assert flags_text(every).count("4 ") == len(FLAGS)


def test_the_report_counts_every_flag(
    flagging: Path, rows: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
    from vaelocity.cli import main

    flags = vaelocity.load(flagging).flags(np.load(rows))
    assert count_flags(flags) == COUNTS
    args = ["stream", str(flagging), "-s", str(rows), "-t", "null:", "--batch-size", "64"]
    assert main([*args, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert {name: found[name] for name in FLAGS} == COUNTS
    assert main(args) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert (
        "flagged 5 with NaN or infinity, 5 saturated, 9 with missing values left out or replaced"
    ) in said


def test_those_who_watch_see_every_flag(flagging: Path, rows: Path) -> None:
    """Prometheus, the JSON log's entry and the live view."""
    pytest.importorskip("prometheus_client", reason="needs the extra vaelocity[stream]")
    pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
    rich = pytest.importorskip("rich.console", reason="needs the extra vaelocity[cli]")
    from prometheus_page import values_of

    from vaelocity.cli.live import LiveView
    from vaelocity.stream import Pump, StreamScorer, open_sink, open_source
    from vaelocity.stream.recent import Recent

    model = StreamScorer(vaelocity.load(flagging))
    source = open_source(str(rows), model.scorer.feature_names)
    pump = Pump(source, open_sink("null:", source), model)
    stats = pump.run()
    metrics = values_of(stats, lambda: "x")
    for name, count in COUNTS.items():
        assert metrics[f"vaelocity_{name}_total"] == count
        assert stats.summary()[name] == count
    console = rich.Console(width=200)
    with console.capture() as captured:
        console.print(LiveView(pump, "title", None, Recent()).__rich__())
    assert flags_text(COUNTS) in captured.get()
