"""Both kernels against float64: every kind, activation, layout, mask edge and odd width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import score_reference as reference
import torch

from vaelocity.cuda.config import Config, Launch
from vaelocity.cuda.plan import Blocks

Make = Callable[..., Any]

ACTIVATIONS = ["relu", "leaky_relu", "tanh", "sigmoid", "elu", "silu", "gelu", "identity"]
KINDS = ["reconstruction", "kl", "mu2", "rz", "elbo"]

# Small tiles and blocks: the interpreter is slow, and edges are what is to be tested.
LAUNCH = Launch(16, 4, 1, 1)
ON_CHIP = Config("score", Blocks(16, 16), LAUNCH, LAUNCH, 0, "test")
WIDE = Config("score_wide", Blocks(16, 32), LAUNCH, LAUNCH, 0, "test")
KERNELS = pytest.mark.parametrize("config", [ON_CHIP, WIDE], ids=["score", "score_wide"])


def rows_of(n: int, d: int, seed: int = 0) -> np.ndarray:
    return (2 * np.random.default_rng(seed).normal(size=(n, d))).astype(np.float32)


def check(scores: torch.Tensor, exact: np.ndarray, tolerance: float = 1e-5) -> None:
    """Relative to the typical score: a single small one may be a difference of large terms."""
    assert scores.shape == exact.shape
    error = np.abs(scores.numpy() - exact) / (np.abs(exact) + np.abs(exact).mean())
    assert error.max() < tolerance, error.max()


@KERNELS
@pytest.mark.parametrize("activation", ACTIVATIONS)
def check_activation(make_bundle: Make, make_scorer: Make, activation: str, config: Config) -> None:
    path = make_bundle([19, 33, 5], gaussian=True, activation=activation)
    rows = rows_of(20, 19)
    scorer = make_scorer(path, "elbo", "tf32", config=config)
    check(scorer.score(torch.from_numpy(rows)), reference.score(path, rows, "elbo"))


@KERNELS
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def check_kind(
    make_bundle: Make, make_scorer: Make, kind: str, precision: str, config: Config
) -> None:
    path = make_bundle([21, 17, 18], gaussian=True)
    rows = rows_of(17, 21)
    scorer = make_scorer(path, kind, precision, config=config)
    check(scorer.score(torch.from_numpy(rows)), reference.score(path, rows, kind))
    scorer.verify()


@KERNELS
@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("widths", [[1, 1], [3, 1], [57, 32, 16, 3], [59, 64, 32, 16], [16, 16]])
def check_width(
    make_bundle: Make, make_scorer: Make, widths: list[int], gaussian: bool, config: Config
) -> None:
    path = make_bundle(widths, gaussian=gaussian)
    kind = "elbo" if gaussian else "reconstruction"
    rows = rows_of(9, widths[0])
    scorer = make_scorer(path, kind, "tf32", config=config)
    check(scorer.score(torch.from_numpy(rows)), reference.score(path, rows, kind))


@KERNELS
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 32, 33, 65])
def check_number_of_rows(make_bundle: Make, make_scorer: Make, n: int, config: Config) -> None:
    """Around the tile of 16, and with two programs around two tiles and more: what lies behind
    `out` stays as it was."""
    path = make_bundle([7, 5, 2])
    rows = rows_of(n, 7)
    scorer = make_scorer(path, None, "tf32", config=config)
    memory = torch.full((n + 20,), -7.0)
    out = memory[:n]
    assert scorer.score(torch.from_numpy(rows), out) is out
    if n:
        check(out, reference.score(path, rows, "reconstruction"))
    assert (memory[n:] == -7.0).all()


@KERNELS
@pytest.mark.usefixtures("any_column")
@pytest.mark.parametrize(("n", "width"), [(4, 5), (67, 5), (66, 16), (70, 19)])
def check_rows_in_groups(
    make_bundle: Make, make_scorer: Make, n: int, width: int, config: Config
) -> None:
    """Groups of 1 and 4 rows, what is left of them, blocks of features that reach into the next
    row, and a NaN there: every result where rows by themselves have it."""
    path = make_bundle([width, 5, 2])
    given = rows_of(n, width)
    given[n // 3, 0], given[n // 2, -1] = np.nan, 1e30
    rows = torch.from_numpy(given)
    found = []
    for grouped in (False, True):
        one_size = replace(config, blocks=Blocks(16, 16), grouped=grouped)
        scorer = make_scorer(path, None, "tf32", config=one_size)
        assert scorer._network._program.groups == grouped
        scores, features, flags = torch.empty(n), torch.empty(n, width), torch.empty(n).byte()
        scorer.score_into(rows, scores=scores, features=features, flags=flags)
        found.append((scores, features, flags, scorer.predict(rows, 1.0)))
    for alone, together in zip(*found, strict=True):
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6, equal_nan=True)


def check_sigmoid_output_and_latent_padding(make_bundle: Make, make_scorer: Make) -> None:
    """Sigmoid makes 0.5 of the padding's 0: in the hidden layers, the latent and the output."""
    from vaelocity.bundle import read_bundle, write_bundle

    path = make_bundle([19, 18, 3], gaussian=True, activation="sigmoid")
    metadata, tensors = read_bundle(path)
    for part in ("encoder", "decoder"):
        metadata[part][-1]["activation"] = "sigmoid"
    write_bundle(path, metadata, tensors)
    rows = rows_of(18, 19)
    for kind, config in product(KINDS, (ON_CHIP, WIDE)):
        scorer = make_scorer(path, kind, "tf32", config=config)
        check(scorer.score(torch.from_numpy(rows)), reference.score(path, rows, kind))


@KERNELS
def check_layouts(make_bundle: Make, make_scorer: Make, config: Config) -> None:
    """The same bits from rows, columns, slices of wider rows whose padding is NaN, and strides."""
    path = make_bundle([19, 17, 4])
    scorer = make_scorer(path, None, "tf32", config=config)
    rows = torch.from_numpy(rows_of(37, 19))
    expected = scorer.score(rows)
    padded = torch.full((37, 32), float("nan"))
    padded[:, :19] = rows
    assert scorer._network.may_read_padding(padded[:, :19])
    # The last row's padding is not in the storage: it must not be read.
    assert not scorer._network.may_read_padding(
        torch.empty(36 * 32 + 19).as_strided((37, 19), (32, 1))
    )
    sparse = torch.zeros(37, 40)
    sparse[:, 1:39:2] = rows
    layouts = [
        rows.T.contiguous().T,
        padded[:, :19],
        torch.cat([torch.zeros(37, 3), rows], 1)[:, 3:],
        sparse[:, 1:39:2],
        rows.repeat_interleave(2, 0)[::2],
    ]
    for layout in layouts:
        assert torch.equal(layout, rows)
        assert torch.equal(scorer.score(layout), expected), layout.stride()


def check_float16_input(make_bundle: Make, make_scorer: Make) -> None:
    path = make_bundle([9, 8, 3])
    rows = torch.from_numpy(rows_of(21, 9)).half()
    scorer = make_scorer(path, None, "tf32", config=ON_CHIP)
    assert torch.equal(scorer.score(rows), scorer.score(rows.float()))


@KERNELS
@pytest.mark.parametrize("gaussian", [False, True])
def check_flags(make_bundle: Make, make_scorer: Make, gaussian: bool, config: Config) -> None:
    """NaN and inf anywhere, and overflow, as the CPU has them: in every kind."""
    import vaelocity

    path = make_bundle([19, 17, 4], gaussian=gaussian)
    rows = rows_of(40, 19)
    rows[3, 0], rows[5, 18], rows[17, 7] = np.nan, np.inf, -np.inf
    rows[20], rows[22, 3], rows[24] = 1e30, 3e38, 0
    for kind in KINDS if gaussian else KINDS[:1]:
        cpu = vaelocity.load(path, kind=kind)
        scorer = make_scorer(path, kind, "tf32", config=config)
        flags = scorer.flags(torch.from_numpy(rows)).numpy()
        assert np.array_equal(flags, cpu.flags(rows)), kind
        scores = scorer.score(torch.from_numpy(rows)).numpy()
        assert np.array_equal(np.isnan(scores), flags == 1)
        assert (scores[flags == 2] == np.finfo(np.float32).max).all()


@KERNELS
def check_features(make_bundle: Make, make_scorer: Make, config: Config) -> None:
    path = make_bundle([19, 17, 4])
    rows = rows_of(33, 19)
    rows[2, 5] = np.nan
    scorer = make_scorer(path, None, "tf32", config=config)
    found = scorer.score_features(torch.from_numpy(rows)).numpy()
    exact = reference.features(path, rows)
    assert np.isnan(found[2]).all()
    good = np.arange(33) != 2
    assert np.abs(found[good] - exact[good]).max() < 1e-5 * exact[good].max()


def check_decisions(make_bundle: Make, make_scorer: Make) -> None:
    path = make_bundle([19, 17, 4])
    rows = rows_of(50, 19)
    rows[4, 4] = np.nan
    scorer = make_scorer(path, None, "tf32", config=ON_CHIP)
    scores = scorer.score(torch.from_numpy(rows)).numpy()
    threshold = float(np.sort(scores[~np.isnan(scores)])[30])
    found = scorer.predict(torch.from_numpy(rows), threshold)
    assert found.dtype == torch.bool
    assert np.array_equal(found.numpy(), ~(scores <= np.float32(threshold)))
    assert found[4]
    assert int(found.sum()) == 19


def check_all_outputs_in_one_pass(make_bundle: Make, make_scorer: Make) -> None:
    path = make_bundle([19, 17, 4])
    rows = torch.from_numpy(rows_of(35, 19))
    scorer = make_scorer(path, None, "tf32", config=ON_CHIP)
    scores, flags = torch.empty(35), torch.empty(35, dtype=torch.uint8)
    decisions, features = torch.empty(35, dtype=torch.bool), torch.empty(35, 19)
    scorer.score_into(
        rows, scores=scores, flags=flags, decisions=decisions, features=features, threshold=9.0
    )
    assert torch.equal(scores, scorer.score(rows))
    assert torch.equal(flags, scorer.flags(rows))
    assert torch.equal(decisions, scorer.predict(rows, 9.0))
    assert torch.equal(features, scorer.score_features(rows))


def check_rows_in_several_launches(
    make_bundle: Make, make_scorer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vaelocity.cuda import scorer as module

    scorer = make_scorer(make_bundle([19, 17, 4]), None, "tf32", config=ON_CHIP)
    rows = torch.from_numpy(rows_of(50, 19))
    expected = scorer.score(rows)
    monkeypatch.setattr(module, "_MOST_ROWS", 16)
    assert torch.equal(scorer.score(rows), expected)


def check_the_configuration_of_the_rule(make_bundle: Make, make_scorer: Make) -> None:
    """With the rule's own tile, its two launches and a network the rule streams."""
    for widths, kernel in (([59, 64, 32, 16], "score"), ([150, 20, 4], "score_wide")):
        path = make_bundle(widths)
        scorer = make_scorer(path)
        assert scorer.config.kernel == kernel
        rows = rows_of(70, widths[0])
        check(scorer.score(torch.from_numpy(rows)), reference.score(path, rows, "reconstruction"))
        many = make_scorer(path, config=replace(scorer.config, few_rows=0))
        check(many.score(torch.from_numpy(rows)), reference.score(path, rows, "reconstruction"))
