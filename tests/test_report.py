"""The numbers, figures and page of a report."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("matplotlib", reason="needs the extra vaelocity[report]")
pytest.importorskip("sklearn", reason="needs the extra vaelocity[report]")

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from vaelocity.report import figures, html, metrics

RNG = np.random.default_rng(3)
NORMAL = RNG.gamma(3.0, 2.0, 4000).astype(np.float32)
SIGNAL = {
    "W": RNG.gamma(5.0, 2.0, 3000).astype(np.float32),
    "top": RNG.gamma(9.0, 2.0, 2000).astype(np.float32),
}

scores = st.lists(st.integers(-5, 5), min_size=1, max_size=40).map(
    lambda values: np.array(values, np.float32)
)


@settings(deadline=None, max_examples=60)
@given(normal=scores, anomalous=scores)
def test_auc_is_the_share_of_pairs_in_order(normal: np.ndarray, anomalous: np.ndarray) -> None:
    above = (anomalous[:, None] > normal).mean()
    equal = (anomalous[:, None] == normal).mean()
    assert metrics.auc(normal, anomalous).value == pytest.approx(above + equal / 2)


@settings(deadline=None, max_examples=60)
@given(normal=scores, anomalous=scores)
def test_roc_agrees_with_scikit_learn_and_its_area_is_auc(
    normal: np.ndarray, anomalous: np.ndarray
) -> None:
    from sklearn.metrics import roc_curve

    truth = np.append(np.zeros(len(normal)), np.ones(len(anomalous)))
    fpr, tpr, _ = roc_curve(truth, np.append(normal, anomalous), drop_intermediate=False)
    mine = metrics.roc(normal, anomalous)
    np.testing.assert_allclose(mine[0], fpr)
    np.testing.assert_allclose(mine[1], tpr)
    area = np.trapezoid(mine[1], mine[0])
    assert metrics.auc(normal, anomalous).value == pytest.approx(area)


def test_auc_error_is_the_spread_of_repeated_samples() -> None:
    rng = np.random.default_rng(5)
    found = [metrics.auc(rng.normal(0, 1, 300), rng.normal(1, 1, 200)) for _ in range(200)]
    spread = np.std([estimate.value for estimate in found])
    assert np.mean([estimate.error for estimate in found]) == pytest.approx(spread, rel=0.25)


def test_efficiency_lets_at_most_the_asked_share_of_normal_events_pass() -> None:
    normal = np.arange(1000, dtype=np.float32)
    anomalous = np.array([0, 988, 989, 990, 2000], np.float32)
    # The cut is 989: the ten scores 990..999 are above it.
    assert metrics.efficiency(normal, anomalous, 0.01).value == pytest.approx(2 / 5)
    tied = np.concatenate([np.zeros(980), np.full(20, 7.0)]).astype(np.float32)
    assert metrics.efficiency(tied, np.array([7.0], np.float32), 0.01).value == 0.0


@pytest.mark.parametrize(
    ("normal", "anomalous", "fpr", "said"),
    [
        ([1.0, np.nan], [1.0], 0.5, "normal: 1 of 2 scores are NaN"),
        ([1.0], [], 0.5, "anomalous: expected scores"),
        ([1.0, 2.0], [1.0], 0.01, "less than one event"),
        ([1.0, 2.0], [1.0], 1.0, "between 0 and 1"),
    ],
)
def test_what_cannot_be_counted_is_an_error(
    normal: list[float], anomalous: list[float], fpr: float, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        metrics.efficiency(np.array(normal), np.array(anomalous), fpr)


def _check_axes(ax: Axes, drawn: Axes) -> None:
    assert drawn is ax
    assert ax.get_xlabel()
    ax.figure.canvas.draw()
    plt.close(ax.figure)  # type: ignore[arg-type]


def test_score_histogram_has_one_shape_per_class_with_the_same_area() -> None:
    _, ax = plt.subplots()
    drawn = figures.score_histogram(NORMAL, SIGNAL, normal_name="quark", threshold=9.0, ax=ax)
    assert ax.get_xscale() == "log"
    ax.figure.canvas.draw()
    assert {"5", "10", "20"} <= {label.get_text() for label in ax.get_xticklabels()}
    areas = [
        float(np.sum(patch.get_data().values * np.diff(np.log10(patch.get_data().edges))))
        for patch in ax.patches
    ]
    assert areas == pytest.approx([1.0, 1.0, 1.0])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "quark",
        "W",
        "top",
        "threshold",
    ]
    _check_axes(ax, drawn)


def test_roc_curves_have_a_logarithmic_false_positive_axis_and_name_the_area() -> None:
    _, ax = plt.subplots()
    drawn = figures.roc_curves(NORMAL, SIGNAL, ax=ax)
    assert ax.get_xscale() == "log"
    assert ax.get_yscale() == "linear"
    area = metrics.auc(NORMAL, SIGNAL["top"])
    assert any(f"{area.value:.3f}" in t.get_text() for t in ax.get_legend().get_texts())
    _check_axes(ax, drawn)


@pytest.mark.parametrize("latent", [1, 2, 5])
def test_latent_space_draws_every_class(latent: int) -> None:
    codes = RNG.normal(size=(300, latent)).astype(np.float32)
    labels = np.repeat([0, 1, 2], 100)
    _, ax = plt.subplots()
    drawn = figures.latent_space(codes, labels, ["quark", "W", "top"], most=50, ax=ax)
    (dots,) = ax.collections
    _, drawn_of = np.unique(dots.get_facecolor(), axis=0, return_counts=True)
    assert drawn_of.tolist() == [50, 50, 50]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["quark", "W", "top"]
    assert ("principal" in ax.get_xlabel()) == (latent > 2)
    _check_axes(ax, drawn)


def test_training_curves_and_contributions() -> None:
    _, ax = plt.subplots()
    history = {"AE": {"loss": [3.0, 2.0, 1.0], "val_loss": [3.1, 2.2, 1.3]}, "VAE": {"loss": [4.0]}}
    drawn = figures.training_curves(history, ax=ax)
    assert len(ax.lines) == 3
    _check_axes(ax, drawn)
    _, ax = plt.subplots()
    parts = {"quark": np.eye(4), "W": np.diag([0.0, 0.0, 8.0, 0.0])}
    drawn = figures.contributions(parts, ["a", "b", "c", "d"], most=2, ax=ax)
    assert [t.get_text() for t in ax.get_yticklabels()][-1] == "c"
    _check_axes(ax, drawn)


def test_latent_nats_are_sorted_and_name_their_units() -> None:
    _, ax = plt.subplots()
    drawn = figures.latent_nats(np.array([0.0, 2.0, 1.0]), np.array([False, True, True]), ax=ax)
    assert [bar.get_height() for bar in ax.patches] == [2.0, 1.0, 0.0]  # type: ignore[attr-defined]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "2", "0"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["in use", "not"]
    _check_axes(ax, drawn)


def test_figures_make_their_own_axes() -> None:
    ax = figures.roc_curves(NORMAL, SIGNAL)
    assert ax.get_title() == ""
    plt.close(ax.figure)  # type: ignore[arg-type]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [v or "" for k, v in attrs if k in {"src", "href"}]
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_report_is_one_file_with_everything_inside(tmp_path: Path) -> None:
    drawn = html.picture(
        lambda ax: figures.roc_curves(NORMAL, SIGNAL, ax=ax), "ROC <b>", "curves & areas"
    )
    grid = html.Grid(["what", "AUC"], [["W", "0.8"], ["<script>", "0.9"]], caption="table")
    report = html.Report(
        "Jets & more",
        ["first", "second"],
        [html.Section("Scores", ["text"], [grid], [drawn])],
        [("seed", "0")],
    )
    path = report.write(tmp_path / "report.html")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    text = path.read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert len(page.links) == 1
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert base64.b64decode(page.links[0].partition(",")[2]) == drawn.png
    assert drawn.png.startswith(b"\x89PNG")
    assert "<script>" not in text
    assert "Jets &amp; more" in text
    assert not re.search(r"https?://", text)
