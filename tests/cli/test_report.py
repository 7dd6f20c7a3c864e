"""`vaelocity report`: what is on the page, and what is not because the data cannot support it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
pytest.importorskip("matplotlib", reason="needs the extra vaelocity[report]")
pytest.importorskip("sklearn", reason="needs the extra vaelocity[report]")

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

import vaelocity
from vaelocity import cli
from vaelocity.intervals import clopper_pearson
from vaelocity.report import images, metrics

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
NAMES = ["pt", "eta", "mass", "width"]


def sample(n: int, shift: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    sheet = np.column_stack([a, b, a * b, a + b])
    return (sheet + 0.1 * rng.normal(size=(n, 4)) + shift).astype(np.float32)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a VAE, m.vael, and labelled data, test.csv: 2,000 normal events, 300 others,
    one with a NaN."""
    torch = pytest.importorskip("torch")
    from vaelocity import models

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("report")
    model = models.VAE(4, latent=3, hidden=(8,), feature_names=NAMES)
    model.fit(sample(2000, 0, 1), sample(500, 0, 2), epochs=3, seed=0, progress=False)
    torch.set_num_threads(threads)
    model.save(folder / "draft.vael", kind="elbo")
    scorer = vaelocity.load(folder / "draft.vael")
    held = sample(1500, 0, 3)
    cut = scorer.threshold_for(held, fpr=0.02)
    model.save(
        folder / "m.vael", kind="elbo", thresholds=[cut], histograms=[scorer.histogram(held)]
    )
    rows = np.concatenate([sample(2000, 0, 4), sample(300, 2, 5)])
    rows[7, 2] = np.nan
    table = np.column_stack([rows, np.repeat([0, 1], [2000, 300])])
    head = ",".join([*NAMES, "signal"])
    np.savetxt(folder / "test.csv", table, delimiter=",", header=head, comments="", fmt="%.9g")
    return folder


def report(folder: Path, *more: str) -> str:
    """The page's text: no tags, no pictures; cells, headings and paragraphs end with a bar."""
    target = folder / "out.html"
    args = ["report", str(folder / "m.vael"), str(folder / "test.csv"), "-o", str(target)]
    assert cli.main([*args, *more]) == 0
    page = target.read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="([^"]{0,22})', page)) == {"data:image/png;base64,"}
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    body = re.sub(r"</(td|th|p|h2|dd|dt)>", "|", body).replace("\u00a0", " ")
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", body))


def test_everything_is_on_the_page(fitted: Path) -> None:
    text = report(fitted, "--label", "signal")
    for title in (
        "Scores", "Thresholds in the file", "Latent space",
        "What the VAE keeps in its latent space", "Which features make events anomalous",
        "The most anomalous events", "Are the 0 events those of the training?", "Training",
        "Speed on this machine", "Provenance",
    ):  # fmt: skip
        assert f"{title}|" in text, title
    assert "1 further events have a NaN" in text
    scorer = vaelocity.load(fitted / "m.vael")
    assert scorer.fingerprint in text
    assert scorer.identity is not None
    assert scorer.identity in text
    table = np.loadtxt(fitted / "test.csv", delimiter=",", skiprows=1, dtype=np.float32)
    rows, label = np.ascontiguousarray(table[:, :4]), table[:, 4]
    scores = scorer.score(rows)
    normal, other = scores[(label == 0) & ~np.isnan(scores)], scores[label == 1]
    area = metrics.auc(normal, other)
    assert f"{area.value:.4f} ± {area.error:.4f}" in text
    # 1,999 normal events: 1 % leaves at least 10 above it, 0.1 % does not.
    assert "no efficiency at false-positive rates of 0.001 (10,000), 0.0001 (100,000)" in text
    kept = np.count_nonzero(other > np.sort(normal)[-20])
    low, high = clopper_pearson(kept, 300)
    interval = f"{100 * kept / 300:#.3g} [{100 * low:#.3g}, {100 * high:#.3g}]|"
    assert interval.replace("100.,", "100,").replace("100.]", "100]") in text


def test_without_labels_there_is_no_word_about_classes(fitted: Path) -> None:
    text = report(fitted, "--kind", "mu2")
    assert "without labels" in text
    assert "area under the ROC curve" not in text
    assert "The file has none for mu2 scores" in text
    assert "The mu2 score has no parts per feature." in text


def test_images_and_what_a_bare_file_lacks(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "m.vael").write_bytes(make_bundle([6, 4, 3], activation="elu").read_bytes())
    np.savetxt(tmp_path / "test.csv", np.random.default_rng(0).normal(size=(40, 6)), delimiter=",")
    text = report(tmp_path, "--image", "2x3", "--no-header", "--tsne")
    assert "Its 3 latent dimensions, as a t-SNE map" in text
    assert "Images|" in text
    assert "The file has no history of its training." in text
    assert "The file has no distributions of its training rows" in text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--image", "3x3"], "--image 3x3: 9 pixels, the model has 4"),
        (["--image", "four"], "--image four: expected height x width"),
        (["--normal", "0"], "--normal needs --label"),
        (["--label", "signal", "--normal", "5"], "no event of these labels has a score"),
        (["--style", "Nature"], "style: "),
        (["-o", "/nowhere/at/all.html"], "there is no folder"),
    ],
)
def test_what_cannot_be_reported_is_said_in_one_line(
    fitted: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert cli.main(["report", str(fitted / "m.vael"), str(fitted / "test.csv"), *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")
def test_a_browser_shows_it(fitted: Path, tmp_path: Path) -> None:
    from PIL import Image

    report(fitted, "--label", "signal")
    shot = tmp_path / "shot.png"
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--force-device-scale-factor=1", "--window-size=1280,4000", f"--screenshot={shot}",
        f"--user-data-dir={tmp_path / 'profile'}", (fitted / "out.html").as_uri(),
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert pixels.shape == (4000, 1280, 3)
    ink = (pixels < 200).any(axis=2)
    # Something is drawn in every part of the page, and the figures have colours.
    assert (np.array([part.mean() for part in np.array_split(ink, 10)]) > 1e-3).all()
    assert (np.ptp(pixels, axis=2) > 60).mean() > 1e-3
    # Nothing runs out of the page to the right.
    assert not ink[:, -8:].any()


def test_a_working_point_needs_its_events() -> None:
    normal = np.arange(1, 1001, dtype=np.float32)
    others = {"signal": np.array([990.5, 991, 2000, 2000], np.float32)}
    point = metrics.working_point(normal, others, 0.01)
    assert point.threshold is not None
    assert point.threshold.value == 990.0
    assert point.efficiency["signal"] == (1.0, *clopper_pearson(4, 4))
    none = metrics.working_point(normal, others, 0.001)
    assert (none.threshold, none.efficiency, none.needed) == (None, {}, 10_000)
    with pytest.raises(ValueError, match="anomalous: 1 of 2 scores are NaN"):
        metrics.working_point(normal, {"x": np.array([1, np.nan], np.float32)}, 0.01)


def test_image_figures_return_their_axes() -> None:
    _, ax = plt.subplots()
    rows = np.random.default_rng(0).random((5, 12))
    pairs = {"a": (rows, rows), "b": (rows[:2], rows[:2])}
    assert images.reconstruction_grid(pairs, (3, 4), ax=ax) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "model", "b", "model"]
    drawn = images.interpolation_strip([rows], (3, 4))
    means = {"a": rows[0], "b": rows[1]}
    assert images.pixel_contributions(means, (3, 4), ax=drawn) is drawn
    with pytest.raises(ValueError, match=r"expected \[n, 6\], got \(5, 12\)"):
        images.interpolation_strip([rows], (2, 3))
    plt.close("all")
