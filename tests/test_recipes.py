"""The recipes for engines of others: what they hand to the scorer, run as far as is installed here.

Without pyspark and coffea their own part is left out: what Spark calls is a function of Arrow
batches, and is called as Spark does; coffea's base classes are needed to define its hook.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra vaelocity[io]")
import pyarrow as pa
import pyarrow.parquet as pq

import vaelocity

EXAMPLES = Path(__file__).parents[1] / "examples"
D = 7


def rows_of(n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, D)).astype(np.float32)


@pytest.fixture
def bundle(make_bundle: Callable[..., Path]) -> Path:
    return make_bundle([D, 5, 2])


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """example("spark_map_in_arrow"): a file of examples/ as a module."""

    def load(name: str) -> Any:
        monkeypatch.syspath_prepend(str(EXAMPLES))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return __import__(name)

    return load


def events_of(rows: np.ndarray) -> pa.Table:
    columns = {f"f{j}": rows[:, j] for j in range(D)}
    return pa.table({"event": np.arange(len(rows)), **columns})


def test_what_spark_calls_scores_its_batches(bundle: Path, example: Callable[[str], Any]) -> None:
    rows = rows_of(1000)
    recipe = example("spark_map_in_arrow")
    batches = events_of(rows).to_batches(max_chunksize=300)
    found = list(recipe.scoring(str(bundle))(iter(batches)))
    assert [batch.num_rows for batch in found] == [300, 300, 300, 100]
    # The types of SCHEMA, in Spark's words: mapInArrow refuses others.
    kinds = {"long": pa.int64(), "float": pa.float32(), "short": pa.int16()}
    wanted = [field.split() for field in recipe.SCHEMA.split(", ")]
    assert found[0].schema.names == [name for name, _ in wanted]
    assert found[0].schema.types == [kinds[kind] for _, kind in wanted]
    table = pa.Table.from_batches(found)
    assert table["event"].to_pylist() == list(range(1000))
    np.testing.assert_array_equal(table["score"], vaelocity.load(bundle).score(rows))
    assert list(recipe.scoring(str(bundle))(iter([]))) == []


def test_spark_itself(bundle: Path, tmp_path: Path) -> None:
    """The program as its docstring says, on Spark in this machine."""
    pytest.importorskip("pyspark", reason="needs pyspark and Java 17")
    rows, scores = rows_of(1000), tmp_path / "scores.parquet"
    pq.write_table(events_of(rows), tmp_path / "events.parquet")
    recipe = str(EXAMPLES / "spark_map_in_arrow.py")
    command = [sys.executable, recipe, str(bundle), str(tmp_path / "events.parquet"), str(scores)]
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    table = pq.read_table(scores).sort_by("event")
    assert table["event"].to_pylist() == list(range(1000))
    np.testing.assert_array_equal(table["score"], vaelocity.load(bundle).score(rows))


def test_coffea_hook_gives_the_scorers_bits(bundle: Path, example: Callable[[str], Any]) -> None:
    """Flat and jagged objects; shipped to a worker, the hook takes the path, not the model."""
    ak = pytest.importorskip("awkward", reason="needs awkward")
    pytest.importorskip("coffea.ml_tools.helper", reason="needs coffea")
    rows = rows_of(1000)
    flat = ak.zip({f"f{j}": rows[:, j] for j in range(D - 1, -1, -1)})
    counts = np.random.default_rng(1).multinomial(1000, np.full(400, 1 / 400))
    expected = vaelocity.load(bundle).score(rows)
    hook = example("coffea_scorer").VaelocityScorer(str(bundle))
    np.testing.assert_array_equal(hook(flat), expected)
    jagged = hook(ak.unflatten(flat, counts))
    np.testing.assert_array_equal(ak.flatten(jagged, axis=None), expected)
    assert len(pickle.dumps(hook)) < 5000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(hook))(flat), expected)


def test_coffea_hook_over_dask_gives_the_scorers_bits(
    bundle: Path, example: Callable[[str], Any]
) -> None:
    ak = pytest.importorskip("awkward", reason="needs awkward")
    pytest.importorskip("coffea.ml_tools.helper", reason="needs coffea")
    dak = pytest.importorskip("dask_awkward", reason="needs dask-awkward")
    rows = rows_of(1000)
    flat = ak.zip({f"f{j}": rows[:, j] for j in range(D)})
    lazy = example("coffea_scorer").VaelocityScorer(str(bundle))(
        dak.from_awkward(flat, npartitions=3)
    )
    np.testing.assert_array_equal(lazy.compute(), vaelocity.load(bundle).score(rows))
