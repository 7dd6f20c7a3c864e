"""Figures of scores, latent spaces and training. Every function draws into `ax` and returns it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaelocity.report.metrics import Scores, auc, roc

# Okabe and Ito's palette, which people with any colour vision can tell apart; grey is for the
# normal class, which every other class is compared with.
NORMAL_COLOUR = "#6b6b6b"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_TSNE_POINTS = 2000
_NAMED_UNITS = 32  # more names than that would lie over one another
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1.5, 1, 1.5)))


@contextmanager
def style(name: str | None) -> Iterator[None]:
    """Figures drawn inside have the style of an experiment, as mplhep knows it: CMS, ATLAS, ...

    Sizes of text are kept: those of mplhep are for slides. None changes nothing.
    Raises ImportError without mplhep, ValueError for a name it does not know.
    """
    if name is None:
        yield
        return
    try:
        import mplhep
    except ImportError as error:
        raise ImportError("style: it needs mplhep: pip install mplhep") from error
    known = getattr(mplhep.style, name, None)
    if not isinstance(known, dict):
        raise ValueError(f"style: mplhep has no style {name!r}")
    kept = {key: value for key, value in known.items() if not _is_size(key)}
    with plt.rc_context(kept):
        yield


def _is_size(key: str) -> bool:
    """Whether a setting of matplotlib is a size of text or of a figure."""
    return key.endswith(("size", "pad")) or key.startswith("figure.")


def colour_of(index: int) -> str:
    """The colour of class or curve number `index`."""
    return COLOURS[index % len(COLOURS)]


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots(figsize=(6.4, 4.2), layout="constrained")[1] if ax is None else ax


def score_histogram(
    normal: Scores,
    anomalous: Mapping[str, Scores],
    *,
    normal_name: str = "normal",
    threshold: float | None = None,
    xlabel: str = "score",
    bins: int = 40,
    ax: Axes | None = None,
) -> Axes:
    """Histograms of the scores of every class, each with area 1, over logarithmic bins.

    normal [n]; anomalous: name to [m]; threshold: drawn as a line.
    """
    ax = _axes(ax)
    every = np.concatenate([normal, *anomalous.values()])
    every = every[np.isfinite(every) & (every > 0)]
    if len(every) == 0:
        raise ValueError("normal, anomalous: expected at least one finite score above 0")
    low, high = np.quantile(every, [0.0005, 0.9995])
    edges = np.geomspace(low, max(high, low * 1.001), bins + 1)

    def draw(scores: Scores, **style: Any) -> None:
        # Scores beyond the edges are in the first and the last bin, none is left out.
        counts = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)[0] / len(scores)
        ax.stairs(counts / np.diff(np.log10(edges)), edges, **style)

    draw(normal, color=NORMAL_COLOUR, fill=True, alpha=0.35, label=normal_name)
    for k, (name, scores) in enumerate(anomalous.items()):
        draw(scores, color=colour_of(k), linewidth=1.6, label=name)
    if threshold is not None:
        ax.axvline(threshold, color="black", linestyle=":", linewidth=1.2, label="threshold")
    ax.set(xscale="log", xlabel=xlabel, ylabel="events per decade (each class: total 1)")
    ax.set_xlim(edges[0], edges[-1])
    _plain_log_ticks(ax, edges[-1] / edges[0])
    ax.legend(frameon=False)
    return ax


def _plain_log_ticks(ax: Axes, span: float) -> None:
    """Label a logarithmic x axis 1, 2, 5, 10, ... where it spans few decades, not 10^0."""
    subs = (1.0, 2.0, 5.0) if span < 1e3 else (1.0,)
    ax.xaxis.set_major_locator(ticker.LogLocator(subs=subs))
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(ticker.NullFormatter())


def roc_curves(
    normal: Scores,
    anomalous: Mapping[str, Scores],
    *,
    normal_name: str = "normal",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """One ROC curve per anomalous class; the false-positive rate has a logarithmic axis.

    The axis starts at 10 normal events, below which a curve is noise.
    """
    ax = _axes(ax)
    lowest = max(10 / len(normal), 1e-6)
    for k, (name, scores) in enumerate(anomalous.items()):
        fpr, tpr = roc(normal, scores)
        area = auc(normal, scores)
        label = f"{name}: AUC {area.value:.3f} ± {area.error:.3f}"
        shown = fpr > 0
        ax.plot(
            fpr[shown],
            tpr[shown],
            color=colour_of(k),
            linestyle=_DASHES[k % len(_DASHES)],
            label=label,
            drawstyle="steps-post",
        )
    chance = np.geomspace(lowest, 1, 200)
    ax.plot(chance, chance, color=NORMAL_COLOUR, linewidth=0.9, linestyle=":", label="by chance")
    ax.set(
        xscale="log",
        xlim=(lowest, 1),
        ylim=(0, 1.01),
        xlabel=f"false-positive rate ({normal_name} above the cut)",
        ylabel="efficiency (anomalous above the cut)",
        title=title,
    )
    ax.grid(alpha=0.25, which="both", linewidth=0.5)
    few = len(anomalous) <= 4
    ax.legend(frameon=not few, loc="upper left" if few else "best", fontsize=None if few else 8)
    return ax


def latent_space(
    codes: npt.NDArray[np.floating[Any]],
    labels: npt.NDArray[np.integer[Any]],
    class_names: Sequence[str],
    *,
    normal: int = 0,
    most: int = 1500,
    projection: str = "pca",
    ax: Axes | None = None,
) -> Axes:
    """Latent codes [n, latent] in two dimensions, coloured by class.

    More than two latent dimensions are projected on the first two principal axes of the normal
    class (labels == normal); the labels of the axes say how much of its variance they hold. At most
    `most` events of a class are drawn, the first ones, in an order that hides no class below
    another. projection="tsne" draws the t-SNE map [1] of these events instead: neighbours stay
    together, distances and sizes mean nothing.

    At most 2,000 events are drawn then, since it takes long.

    [1] L. van der Maaten, G. Hinton, J. Mach. Learn. Res. 9 (2008) 2579.
    """
    ax = _axes(ax)
    if projection not in ("pca", "tsne"):
        raise ValueError(f"projection: expected 'pca' or 'tsne', got {projection!r}")
    if projection == "tsne" and codes.ndim == 2 and codes.shape[1] > 2:
        most = min(most, _TSNE_POINTS // len(class_names))
        few = np.concatenate([np.flatnonzero(labels == k)[:most] for k in np.unique(labels)])
        codes, labels = _tsne(codes[few]), labels[few]
    points, xlabel, ylabel = _two_dimensions(codes, labels == normal)
    if projection == "tsne":
        xlabel, ylabel = "t-SNE 1 (no scale)", "t-SNE 2 (no scale)"
    order = [normal, *(k for k in range(len(class_names)) if k != normal)]
    colours = [NORMAL_COLOUR, *map(colour_of, range(len(order) - 1))]
    drawn = np.concatenate([np.flatnonzero(labels == k)[:most] for k in order])
    drawn = np.random.default_rng(0).permutation(drawn)
    colour = np.empty(len(class_names), object)
    colour[order] = colours
    x, y = points[drawn].T
    ax.scatter(x, y, s=5, alpha=0.45, linewidths=0, c=list(colour[labels[drawn]]))
    low, high = np.quantile(points, [0.002, 0.998], axis=0)
    margin = 0.08 * (high - low) + 1e-9
    ax.set_xlim(low[0] - margin[0], high[0] + margin[0])
    ax.set_ylim(low[1] - margin[1], high[1] + margin[1])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    dots = [Line2D([], [], marker="o", linestyle="", markersize=5, color=c) for c in colours]
    ax.legend(dots, [class_names[k] for k in order], frameon=False)
    return ax


def _tsne(codes: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    tsne = TSNE(init="pca", perplexity=min(30.0, (len(codes) - 1) / 3), random_state=0)
    # One thread: for so few points more only wait for each other.
    with threadpool_limits(1):
        found: npt.NDArray[np.floating[Any]] = tsne.fit_transform(codes)
    return found


def _two_dimensions(
    codes: npt.NDArray[np.floating[Any]], normal: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.floating[Any]], str, str]:
    if codes.ndim != 2 or len(codes) == 0:
        raise ValueError(f"codes: expected shape [n, latent], n > 0, got {codes.shape}")
    if codes.shape[1] == 1:
        return np.column_stack([codes[:, 0], np.arange(len(codes))]), "latent 0", "event"
    if codes.shape[1] == 2:
        return codes, "latent 0", "latent 1"
    from sklearn.decomposition import PCA

    axes = PCA(2, svd_solver="full").fit(codes[normal])
    first, second = 100 * axes.explained_variance_ratio_
    named = "principal axis of the latent space"
    return (
        axes.transform(codes),
        f"first {named} ({first:.0f} % of variance)",
        f"second ({second:.0f} %)",
    )


def training_curves(
    histories: Mapping[str, Mapping[str, Sequence[float]]], *, ax: Axes | None = None
) -> Axes:
    """Loss against epoch, of models by name.

    A history maps "loss" and, where there was validation, "val_loss" to one number per epoch.
    """
    ax = _axes(ax)
    for k, (name, history) in enumerate(histories.items()):
        for which, style, what in (("loss", "-", "training"), ("val_loss", ":", "validation")):
            values = history.get(which)
            if values is not None and len(values):
                ax.plot(
                    np.arange(1, len(values) + 1),
                    values,
                    color=colour_of(k),
                    linestyle=style,
                    label=f"{name}, {what}",
                )
    ax.set(xscale="log", yscale="log", xlabel="epoch", ylabel="mean loss per event")
    ax.grid(alpha=0.25, which="both", linewidth=0.5)
    ax.legend(frameon=False)
    return ax


def contributions(
    parts: Mapping[str, npt.NDArray[np.floating[Any]]],
    feature_names: Sequence[str],
    *,
    most: int = 12,
    ax: Axes | None = None,
) -> Axes:
    """Mean contribution of a feature to the score, one bar per class: name to [n, d].

    The `most` features with the largest contribution in any class are drawn.
    """
    ax = _axes(ax)
    means = {name: np.asarray(values, np.float64).mean(axis=0) for name, values in parts.items()}
    largest = np.max(list(means.values()), axis=0)
    chosen = np.argsort(-largest, kind="stable")[:most][::-1]
    height = 0.8 / len(means)
    for k, (name, mean) in enumerate(means.items()):
        colour = NORMAL_COLOUR if k == 0 else colour_of(k - 1)
        offset = (len(means) / 2 - k - 0.5) * height
        ax.barh(np.arange(len(chosen)) + offset, mean[chosen], height, color=colour, label=name)
    ax.set_yticks(np.arange(len(chosen)), [feature_names[j] for j in chosen.tolist()])
    ax.set(xlabel="mean contribution to the score")
    ax.legend(frameon=False, loc="lower right")
    return ax


def latent_nats(
    nats: npt.NDArray[np.floating[Any]], active: npt.NDArray[np.bool_], *, ax: Axes | None = None
) -> Axes:
    """One bar a latent unit: its KL in nats, the largest first; units not in use are grey.

    nats: [latent]; active: [latent], see `vaelocity.models.posterior`.
    """
    ax = _axes(ax)
    order = np.argsort(-nats, kind="stable")
    places = np.arange(len(order))
    for used, colour, label in ((True, colour_of(0), "in use"), (False, NORMAL_COLOUR, "not")):
        chosen = active[order] == used
        if chosen.any():
            ax.bar(places[chosen], nats[order][chosen], color=colour, label=label)
    named = order.tolist() if len(order) <= _NAMED_UNITS else []
    ax.set_xticks(places[: len(named)], [str(k) for k in named])
    ax.set(xlabel="latent unit", ylabel="mean KL (nats)")
    ax.legend(frameon=False)
    return ax
