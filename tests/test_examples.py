"""Examples that say they run by themselves do, the notebook included."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

EXAMPLES = Path(__file__).parents[1] / "examples"
ALONE = "Runs by itself"
OTHERS = {
    "coffea_scorer.py": "needs coffea; test_recipes.py",
    "generative_moons.py": "trains for minutes",
    "latent_digits.py": "trains for minutes, on MNIST",
    "spark_map_in_arrow.py": "needs pyspark; test_recipes.py",
}
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


def runnable() -> list[Path]:
    found = []
    for path in sorted(EXAMPLES.glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        # An example that does not run here is listed with the reason.
        assert (ALONE in text) != (path.name in OTHERS), path.name
        if ALONE in text:
            found.append(path)
    return found


@pytest.mark.parametrize("path", runnable(), ids=lambda path: path.stem)
def test_an_example_runs(path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(
        command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not list(tmp_path.iterdir())


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell; what it draws is in the outputs."""
    nbformat = pytest.importorskip("nbformat", reason="needs the extra vaelocity[test]")
    nbclient = pytest.importorskip("nbclient", reason="needs the extra vaelocity[test]")
    pytest.importorskip("ipykernel", reason="needs the extra vaelocity[test]")
    pytest.importorskip("matplotlib", reason="needs the extra vaelocity[report]")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(EXAMPLES / "lecture_pictures.ipynb", as_version=4)
    # Committed without outputs: what a reader sees is what ran there.
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    # The kernel of this Python, not one that happens to be registered as "python3".
    folder = tmp_path / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": command, "display_name": "Python 3", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(kernel))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": tmp_path}}
    ).execute()
    pictures = [o for cell in code for o in cell.outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 6
