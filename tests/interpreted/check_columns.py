"""What a file may say beside dense layers, standardised features and the squared error: every step
of preprocessing, missing-value policy, loss, bound and kind of score, in the three ways a network
runs. Scores against float64, flags and what cannot be scored as the CPU has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from physics_networks import COLUMNS, Content, edges, network, promised, with_convolution

import vaelocity
from vaelocity.bundle import BundleError, parse_bundle
from vaelocity.cuda.config import Config, Launch
from vaelocity.cuda.plan import Blocks
from vaelocity.cuda.plan import network as fused_network
from vaelocity.frozen_score import exact_features, exact_score
from vaelocity.histogram import ScoreHistogram
from vaelocity.preprocess import prepared
from vaelocity.structure import LOSSES

Make = Callable[..., Any]

# Blocks of 16: the last one of 19 features is mostly padding, in all that reads them. Tiles of 32,
# as the interpreter takes as long for few rows as for many.
LAUNCH = Launch(32, 4, 1, 1)
CONFIGS = {
    "score": Config("score", Blocks(16, 16), LAUNCH, LAUNCH, 0, "test"),
    "score_wide": Config("score_wide", Blocks(16, 32), LAUNCH, LAUNCH, 0, "test"),
    "score_layered": None,
}
WAYS = pytest.mark.parametrize("way", CONFIGS)
ALL = tuple(COLUMNS)
LARGEST = np.finfo(np.float32).max


@pytest.fixture
def make(make_scorer: Make, tmp_path: Path) -> Make:
    """make(content, way, kind=None) -> (scorer, the CPU's, metadata, tensors)."""

    def made(content: Content, way: str, kind: str | None = None) -> Any:
        content = with_convolution(*content) if way == "score_layered" else content
        kind = kind or content[0]["score"]["kind"]
        path = tmp_path / "model.vael"
        path.write_bytes(promised(*content, [kind]))
        scorer = make_scorer(path, kind, "tf32", config=CONFIGS.get(way))
        assert way not in CONFIGS or scorer.config.kernel == way
        return scorer, vaelocity.load(path, kind=kind), *parse_bundle(path.read_bytes())

    return made


def all_of(scorer: Any, rows: np.ndarray, features: bool) -> Any:
    """(scores, flags, what the features add or None), in one pass."""
    scores, flags = torch.empty(len(rows)), torch.empty(len(rows), dtype=torch.uint8)
    parts = torch.empty(rows.shape) if features else None
    scorer.score_into(torch.from_numpy(rows), scores=scores, flags=flags, features=parts)
    return scores.numpy(), flags.numpy(), None if parts is None else parts.numpy()


def right_scores(found: Any, rows: np.ndarray, features: bool = False) -> None:
    """Flags as the CPU has them, and so NaN and saturation; the ordinary rows' scores (and parts of
    them) as float64 has them, to what rounding the input makes of it."""
    scorer, cpu, metadata, tensors = found
    shape = rows.shape if features else (0, 0)
    made = torch.empty(len(rows)), torch.empty(len(rows), dtype=torch.uint8), torch.empty(shape)
    scores, flags, parts = (each.numpy() for each in made)
    scorer.score_into(
        torch.from_numpy(rows),
        scores=made[0],
        flags=made[1],
        features=made[2] if features else None,
    )
    assert np.array_equal(flags, cpu.flags(rows))
    assert np.array_equal(np.isnan(scores), flags == 1)
    assert (np.abs(scores[(flags & 2) == 2]) == LARGEST).all()
    huge = np.where(np.isfinite(rows), np.abs(rows), 0).max(axis=1) >= 100
    usual = (flags != 1) & ~huge
    assert usual.sum() > len(rows) / 2
    exact = exact_score(metadata, tensors, rows[usual], scorer.kind)
    x, _ = prepared(metadata, tensors, rows[usual])
    allowed = 1e-5 * (np.abs(exact) + 1) + 1e-5 * np.square(x).sum(axis=1)
    assert (np.abs(scores[usual] - exact) <= allowed).all(), np.abs(scores[usual] - exact).max()
    # Beside them the rows of which float64 is no measure, such as angles of 1e6: the CPU is.
    rest = (flags == 0) & huge
    np.testing.assert_allclose(scores[rest], cpu.score(rows)[rest], rtol=1e-4)
    if features:
        exact = exact_features(metadata, tensors, rows[usual])
        np.testing.assert_allclose(parts[usual], exact, rtol=2e-4, atol=1e-5)
        assert np.array_equal(parts[usual] == 0, exact == 0)
        assert np.isnan(parts[flags == 1]).all()


@WAYS
@pytest.mark.parametrize(
    "steps", [*((name,) for name in ALL), ("missing", "mask_zeros"), ALL], ids="-".join
)
def check_steps(make: Make, way: str, steps: tuple[str, ...]) -> None:
    right_scores(make(network(steps), way), edges(19), features=True)


@WAYS
@pytest.mark.parametrize(
    ("loss", "steps"),
    [
        *((loss, ()) for loss in LOSSES[1:]),
        *((loss, ("missing", "mask_zeros")) for loss in LOSSES),
    ],
)
def check_loss(make: Make, way: str, loss: str, steps: tuple[str, ...]) -> None:
    right_scores(make(network(steps, loss, delta=0.5), way), edges(19), features=True)


@WAYS
@pytest.mark.parametrize(
    ("latent", "kind", "loss"),
    [
        ("gaussian", "reconstruction", "bce_with_logits"),
        ("gaussian", "elbo", "huber"),
        *(("gaussian", kind, "squared_error") for kind in ("kl", "mu2", "rz")),
        ("embedding", "latent_reconstruction", "squared_error"),
        ("embedding", "latent_reconstruction", "bce_with_logits"),
        ("output", "output", "squared_error"),
    ],
)
def check_kind(make: Make, way: str, latent: str, kind: str, loss: str) -> None:
    """With all that can be done to a column: what leaves the loss is the network's 0 in all kinds,
    and no term of an embedding."""
    found = make(network(ALL, loss, latent), way, kind)
    right_scores(found, edges(19))
    found[0].verify()


@WAYS
@pytest.mark.parametrize("d", [32, 40])
def check_widths(make: Make, way: str, d: int) -> None:
    """Whole blocks and a half one: a cross entropy of 0 and 0 is not 0."""
    content = network(ALL, "bce_with_logits", d=d)
    right_scores(make(content, way), edges(d), features=True)


def bounded(latent: str, activation: str) -> Content:
    """A bound behind the hidden layer, behind the latent variables and behind the output, each with
    an activation of its own."""
    metadata, tensors = network(("mask_zeros",), latent=latent, bounded=True)
    metadata["decoder"][-1]["activation"] = activation
    ends = len(tensors[metadata["encoder"][-1]["bias"]])
    tensors["some.w"] = np.linspace(-1, 2, 11, dtype=np.float32).clip(0)
    tensors["some.b"] = np.linspace(-0.5, 0.5, 11, dtype=np.float32)
    tensors["ends.w"] = np.linspace(2, 0, ends, dtype=np.float32)
    tensors["ends.b"] = np.linspace(0.2, -0.3, ends, dtype=np.float32)
    bounds = [
        {"op": "bound", "weight": f"{name}.w", "bias": f"{name}.b"} for name in ("some", "ends")
    ]
    hidden, last = metadata["encoder"]
    metadata["encoder"] = [hidden, {**bounds[0], "activation": activation}, last, bounds[1]]
    return metadata, tensors


@WAYS
@pytest.mark.parametrize(
    ("latent", "activation"),
    [("point", "identity"), ("point", "sigmoid"), ("gaussian", "leaky_relu")],
)
def check_bound(make: Make, way: str, latent: str, activation: str) -> None:
    kind = "elbo" if latent == "gaussian" else "reconstruction"
    found = make(bounded(latent, activation), way, kind)
    right_scores(found, edges(19), features=kind == "reconstruction")


def check_a_bound_without_a_layer_of_its_own_is_left_to_torch(make: Make) -> None:
    """At the beginning, or behind another one: no kernel holds it."""
    for at in (0, 1):
        metadata, tensors = bounded("point", "identity")
        steps = metadata["encoder"][:2] if at else [metadata["encoder"][0]]
        tensors["all.w"], tensors["all.b"] = np.ones((2, 11 if at else 19), np.float32)
        extra = {"op": "bound", "weight": "all.w", "bias": "all.b"}
        rest = metadata["encoder"][len(steps) :]
        metadata["encoder"] = [*steps, extra, *rest] if at else [extra, *steps, *rest]
        with pytest.raises(
            BundleError, match=rf"one bound behind it at most, and encoder.{2 * at}"
        ):
            fused_network(metadata, tensors)
        found = make((metadata, tensors), "layers of torch")
        assert found[0].config.kernel == "score_layered"
        right_scores(found, edges(19))


@WAYS
def check_missing_values_follow_the_policy_of_their_column(make: Make, way: str) -> None:
    """COLUMNS: 1, 4, 17 are left out, 0 becomes 2.5, 2 has no policy."""
    scorer = make(network(("missing",)), way)[0]
    rows = np.tile(np.linspace(-1, 1, 19, dtype=np.float32), (3, 6, 1))
    for some, value in zip(rows, (np.nan, np.inf, -np.inf), strict=True):
        some[1, 2], some[2, 4], some[3, 0], some[4, 0] = value, value, value, 2.5
        some[5, 2], some[5, 4] = value, value
    scores, flags, parts = all_of(scorer, rows.reshape(18, 19), features=True)
    assert flags.tolist() == [0, 1, 4, 4, 0, 1] * 3
    assert np.isnan(scores).tolist() == [False, True, False, False, False, True] * 3
    assert (scores[3::6] == scores[4]).all()
    assert scores[4] != scores[0]
    for row in (2, 8, 14):
        assert np.flatnonzero(parts[row] == 0).tolist() == [4]


@WAYS
def check_a_missing_value_and_an_overflow_are_both_flagged(make: Make, way: str) -> None:
    scorer = make(network(("missing",)), way)[0]
    rows = np.full((2, 19), 3e38, np.float32)
    rows[0, 4] = np.nan
    assert scorer.flags(torch.from_numpy(rows)).tolist() == [6, 2]
    assert (scorer.score(torch.from_numpy(rows)) == LARGEST).all()


@WAYS
def check_an_output_saturates_at_both_ends(make: Make, way: str) -> None:
    metadata, tensors = network(latent="output")
    tensors[metadata["encoder"][1]["weight"]][:] = 1e38
    tensors[metadata["encoder"][1]["bias"]][:] = 0
    rows = torch.full((9, 19), 1e20)
    for sign in (1, -1):
        tensors[metadata["encoder"][1]["weight"]] *= np.float32(sign)
        scorer = make((metadata, tensors), way)[0]
        assert (scorer.score(rows) == sign * LARGEST).all()
        assert (scorer.flags(rows) == 2).all()


@WAYS
def check_layouts_and_types(make: Make, way: str) -> None:
    """The same bits from rows, columns and slices of wider rows whose padding is NaN."""
    scorer = make(network(ALL, "huber", bounded=True), way)[0]
    rows = torch.from_numpy(edges(19))
    expected = scorer.score(rows)
    wide = torch.full((len(rows), 32), float("nan"))
    wide[:, :19] = rows
    for layout in (rows.T.contiguous().T, wide[:, :19]):
        torch.testing.assert_close(scorer.score(layout), expected, rtol=0, atol=0, equal_nan=True)
    half = rows[21:].half()
    assert torch.equal(scorer.score(half), scorer.score(half.float()))


@WAYS
def check_all_that_a_scorer_gives_in_one_pass(make: Make, way: str) -> None:
    """Decisions, accepted events and histogram follow the scores, those of rows with missing values
    included."""
    scorer, cpu, *_ = make(network(ALL, "bce_with_logits", bounded=True), way)
    given = edges(19)
    rows = torch.from_numpy(given)
    scores, flags = torch.empty(len(rows)), torch.empty(len(rows), dtype=torch.uint8)
    counts = scorer.new_counts()
    scorer.score_into(rows, scores=scores, flags=flags, counts=counts)
    assert set(flags.tolist()) >= {0, 1, 4}
    assert np.array_equal(flags.numpy(), cpu.flags(given))
    # Which of the scores are near the threshold is decided alike: none is.
    threshold = float(np.nanmedian(scores.numpy())) * 1.01
    anomalous = ~(scores.numpy() <= np.float32(threshold))
    assert np.array_equal(scorer.predict(rows, threshold).numpy(), anomalous)
    assert np.array_equal(cpu.predict(given, threshold), anomalous)
    index, kept = scorer.accept(rows, threshold)
    assert index.tolist() == np.flatnonzero(anomalous).tolist()
    torch.testing.assert_close(kept, scores[index], rtol=0, atol=0, equal_nan=True)
    counted = ScoreHistogram(scorer.kind, scorer.identity).update(scores.numpy())
    assert ScoreHistogram(scorer.kind, scorer.identity).add_counts(counts.numpy()) == counted
    assert scorer.histogram(rows) == counted


def check_a_trained_model(make_scorer: Make, tmp_path: Path) -> None:
    """As the library writes it, through the launch of the rule."""
    from vaelocity import models

    rng = np.random.default_rng(0)
    rows = rng.exponential(10, size=(100, 6)).astype(np.float32)
    rows[rng.random(100) < 0.2, 5] = np.nan
    rows[rng.random(100) < 0.3, 3:5] = 0
    model = models.VAE(6, 2, (16,), feature_names=list("abcdef"))
    model.preprocess(
        log1p=["a", "d"], wrap=["b"], clip={"c": (0, 30)}, mask_zeros=["d", "e"], flag=["f"]
    )
    model.fit(rows, epochs=2, progress=False, seed=0)
    model.save(tmp_path / "vae.vael")
    for kind in ("mu2", "elbo"):
        cpu = vaelocity.load(tmp_path / "vae.vael", kind=kind)
        scorer = make_scorer(tmp_path / "vae.vael", kind)
        scores, flags, _ = all_of(scorer, rows, False)
        assert np.array_equal(flags, cpu.flags(rows))
        np.testing.assert_allclose(scores, cpu.score(rows), rtol=1e-4, atol=1e-5)
