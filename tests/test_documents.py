"""Every command and every program in docs/ runs, and the site builds without a warning."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import documents
import pytest

pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
pytest.importorskip("torch", reason="needs the extra vaelocity[train]")
pytest.importorskip("matplotlib", reason="needs the extra vaelocity[report]")

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
TRAINED = "vaelocity fit events.csv --label process --normal qcd -o jets.vael --epochs 5 --seed 0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of the documents, and jets.vael and vae.vael as the pages before leave them."""
    made = tmp_path_factory.mktemp("docs")
    documents.make_data(made, 400_000)
    more = TRAINED.replace("jets.vael", "vae.vael --model vae --latent 3")
    documents.run(documents.Block("bash", f"{TRAINED}\n{more}", 0), made)
    return made


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_runs(page: str, folder: Path, tmp_path: Path) -> None:
    """Commands in their order, then its Python, which is one program."""
    needs_hls4ml = "import hls4ml" in (DOCS / page).read_text()
    if needs_hls4ml and importlib.util.find_spec("hls4ml") is None:
        pytest.skip("needs hls4ml: pip install hls4ml")
    for source in folder.iterdir():
        (tmp_path / source.name).symlink_to(source)
    for name in ("jets.vael", "vae.vael"):
        (tmp_path / name).unlink()
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    program: list[str] = []
    for block in documents.blocks(DOCS / page):
        assert block.language in ("bash", "python"), f"{page}:{block.line}: {block.language!r}"
        if block.language == "bash":
            documents.run(block, tmp_path)
        else:
            program.append(block.text)
    if program:
        documents.run(documents.Block("python", "\n".join(program), 0), tmp_path)


@pytest.mark.skipif(
    importlib.util.find_spec("material") is None, reason="needs mkdocs-material (extra docs)"
)
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ops = (tmp_path / "site/reference/ops/index.html").read_text()
    commands = (tmp_path / "site/reference/command-line/index.html").read_text()
    from vaelocity.cli.app import app
    from vaelocity.ops import OPS

    assert all(f'id="vaelocityops{name}"' in ops for name in OPS)
    for command in app.registered_commands:
        assert command.callback is not None
        assert f'id="{command.name or command.callback.__name__}"' in commands
    assert "http" not in {
        link.partition(":")[0] for link in _sources((tmp_path / "site/index.html").read_text())
    }


def _sources(page: str) -> list[str]:
    """What a browser fetches to show the page."""
    import re

    return re.findall(r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="([^"]*)', page)
