"""Beyond one machine: shards and their merging; Ray where it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[io]")
pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")

import pyarrow as pa
import pyarrow.parquet as pq

import vaelocity
from vaelocity.cli import main
from vaelocity.cluster.merge import histogram_of, merge_scores
from vaelocity.cluster.shards import Shard

D = 7


def rows_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)


@pytest.fixture
def bundle(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle([D, 5, 2])


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Seven files of different sizes."""
    edges = [0, 100, 150, 400, 410, 800, 950, 1000]
    rows = rows_of(1000)
    for i in range(7):
        np.save(tmp_path / f"part-{i}.npy", rows[edges[i] : edges[i + 1]])
    return f"{tmp_path}/part-*.npy"


def test_shards_are_neighbours_and_share_out_everything() -> None:
    for n in (7, 8, 20):
        for count in range(1, 8):
            shares = [Shard(i, count).of(range(n)) for i in range(count)]
            assert [item for share in shares for item in share] == list(range(n))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1
    for wrong in ("4/4", "1", "-1/4", "a/b", "0/0"):
        with pytest.raises(ValueError, match="shard: expected i/n"):
            Shard.parse(wrong)
    with pytest.raises(ValueError, match="shard 0/3: there are only 2 files"):
        Shard(0, 3).of([1, 2])


def test_merged_shards_are_what_one_job_writes(bundle: Path, data: str, tmp_path: Path) -> None:
    args = ["--threshold", "5", "--batch-size", "64"]
    assert main(["score", str(bundle), data, "-o", f"{tmp_path}/one.parquet", *args]) == 0
    shards = [f"{tmp_path}/shard-{i}.parquet" for i in range(3)]
    for i, path in enumerate(shards):
        assert main(["score", str(bundle), data, "-o", path, "--shard", f"{i}/3", *args]) == 0
    out = f"{tmp_path}/merged.parquet"
    assert main(["merge", *shards[::-1], "-o", out]) == 0
    assert pq.read_table(out).equals(pq.read_table(f"{tmp_path}/one.parquet"))
    expected = vaelocity.load(bundle).histogram(rows_of(1000))
    assert histogram_of(out) == expected


def test_a_set_of_shards_that_is_not_one_is_refused(
    bundle: Path, data: str, tmp_path: Path, make_bundle: Callable[..., Path]
) -> None:
    def scored(name: str, *args: str, model: Path = bundle) -> str:
        path = f"{tmp_path}/{name}.parquet"
        assert main(["score", str(model), data, "-o", path, *args]) == 0
        return path

    a, b = scored("a", "--shard", "0/2"), scored("b", "--shard", "1/2")
    out = tmp_path / "out.parquet"
    for paths, said in [
        ([a], "shards 1 of 2 are missing"),
        ([a, b, b], "is shard 1/2, and so is"),
        ([a, scored("c", "--shard", "1/3")], "is shard 1/3, others are of 2"),
        ([a, scored("d", "--shard", "1/2", "--threshold", "5")], "vaelocity.threshold is 5.0"),
        ([a, scored("e")], "not the score file of a shard"),
        (
            [a, scored("f", "--shard", "1/2", model=make_bundle([D, 5, 2], seed=1))],
            "vaelocity.fingerprint is",
        ),
    ]:
        with pytest.raises(ValueError, match=said):
            merge_scores(paths, out)
        assert not out.exists()
    assert main(["score", str(bundle), data, "-o", f"{tmp_path}/x.csv", "--shard", "0/2"]) == 2


_RAY = """
import json, os, sys
import numpy as np, pyarrow as pa
import ray, ray.data
import vaelocity
from vaelocity.cluster.ray import Scorer, merge_histograms, options
bundle, data, killing = sys.argv[1], sys.argv[2], sys.argv[3]
ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False

class Dying(Scorer):
    # the first actor to see event 300 kills itself once
    def __call__(self, table):
        if 300 in table.column("event").to_pylist() and not os.path.exists(killing):
            open(killing, "x").close()
            os._exit(1)
        return super().__call__(table)

dataset = ray.data.read_parquet(data)
kind = Dying if killing else Scorer
scores = dataset.map_batches(
    kind, **options(bundle, actors=2, batch_size=100, columns=["event"])
).materialize()
rows = sorted((row["event"], row["score"]) for row in scores.take_all())
scorer = vaelocity.load(bundle)
print(json.dumps({
    "rows": rows, "histogram": merge_histograms(scores, scorer).to_dict(),
}))
"""


@pytest.mark.parametrize("killing", [False, True])
def test_ray_gives_the_same_bits_though_an_actor_dies(
    bundle: Path, tmp_path: Path, killing: bool
) -> None:
    pytest.importorskip("ray.data", reason="needs the extra vaelocity[ray]")
    rows = rows_of(1000)
    columns = {f"f{j}": rows[:, j] for j in range(D)}
    table = pa.table({"event": np.arange(1000), **columns})
    for i in range(4):
        pq.write_table(table.slice(250 * i, 250), tmp_path / f"{i}.parquet")
    (tmp_path / "data").mkdir()
    for i in range(4):
        (tmp_path / f"{i}.parquet").rename(tmp_path / "data" / f"{i}.parquet")
    mark = str(tmp_path / "killed") if killing else ""
    ran = subprocess.run(
        [sys.executable, "-c", _RAY, str(bundle), str(tmp_path / "data"), mark],
        capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    scorer = vaelocity.load(bundle)
    expected = scorer.score(rows)
    assert [event for event, _ in found["rows"]] == list(range(1000))
    np.testing.assert_array_equal(np.float32([score for _, score in found["rows"]]), expected)
    assert vaelocity.ScoreHistogram.from_dict(found["histogram"]) == scorer.histogram(rows)
    assert Path(mark).exists() or not killing
