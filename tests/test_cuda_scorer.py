"""vaelocity.load(path, backend="cuda"): what it says where it cannot, and on a GPU what it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import score_reference as reference
from physics_networks import COLUMNS, edges, network, promised, with_convolution

import vaelocity
from vaelocity.histogram import ScoreHistogram

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

Make = Callable[..., Path]

gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
KINDS = ["reconstruction", "kl", "mu2", "rz", "elbo"]
PRECISIONS = ["float32", "tf32", "bf16"]

# Largest error over (|score| + mean |score|), by precision.
ERRORS = {"float32": 1e-5, "tf32": 1e-2, "bf16": 5e-2}


def on_gpu(test: Any) -> Any:
    for mark in gpu:
        test = mark(test)
    return test


def rows_of(n: int, d: int, seed: int = 0) -> np.ndarray:
    return (2 * np.random.default_rng(seed).normal(size=(n, d))).astype(np.float32)


# ---- Without a GPU


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_no_device(make_bundle: Make) -> None:
    with pytest.raises(RuntimeError, match="backend: 'cuda' needs a CUDA device, and torch finds"):
        vaelocity.load(make_bundle([5, 4, 2]), backend="cuda")


def test_no_triton(make_bundle: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_bundle([5, 4, 2])
    monkeypatch.setattr("vaelocity.scorer.find_spec", lambda name: name != "triton" or None)
    with pytest.raises(ModuleNotFoundError, match=r"needs triton: pip install 'vaelocity\[gpu\]'"):
        vaelocity.load(path, backend="cuda")


def test_arguments_of_the_other_backend(make_bundle: Make) -> None:
    path = make_bundle([5, 4, 2])
    with pytest.raises(ValueError, match="isa: backend 'cuda' takes none, got 'avx2'"):
        vaelocity.load(path, backend="cuda", isa="avx2")
    with pytest.raises(ValueError, match="precision: backend 'cpu' takes none, got 'bf16'"):
        vaelocity.load(path, backend="cpu", precision="bf16")
    with pytest.raises(ValueError, match="backend: expected 'auto', 'cpu' or 'cuda', got 'tpu'"):
        vaelocity.load(path, backend="tpu")


def test_the_packages_of_the_gpu_import_neither_torch_nor_triton() -> None:
    import subprocess
    import sys

    code = (
        "import sys, vaelocity.cuda.plan, vaelocity.cuda.config, vaelocity.cuda.program\n"
        "import vaelocity.cuda.compile\n"
        "assert not {'torch', 'triton'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- On a GPU


def error(scores: Any, exact: np.ndarray) -> float:
    found = scores.double().cpu().numpy()
    return float((np.abs(found - exact) / (np.abs(exact) + np.abs(exact).mean())).max())


@on_gpu
@pytest.mark.parametrize(
    ("kind", "precision"),
    [*((kind, "tf32") for kind in KINDS), ("elbo", "float32"), ("elbo", "bf16")],
)
def test_error_against_float64(make_bundle: Make, kind: str, precision: str) -> None:
    """Few rows and many, and around the tiles."""
    path = make_bundle([59, 64, 32, 16], gaussian=True)
    scorer = vaelocity.load(path, backend="cuda", kind=kind, precision=precision)
    for n in (1, 15, 16, 17, 1000, 20_001):
        rows = rows_of(n, 59)
        scores = scorer.score(torch.from_numpy(rows).cuda())
        assert error(scores, reference.score(path, rows, kind)) < ERRORS[precision], n


@on_gpu
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("widths", "activation"),
    [([1, 1], "tanh"), ([57, 32, 3], "gelu"), ([128, 128, 32], "sigmoid"), ([243, 128], "silu")],
)
def test_widths_and_activations(
    make_bundle: Make, widths: list[int], activation: str, precision: str
) -> None:
    path = make_bundle(widths, activation=activation)
    scorer = vaelocity.load(path, backend="cuda", precision=precision, verify=False)
    for n in (65, 9000):
        rows = rows_of(n, widths[0])
        scores = scorer.score(torch.from_numpy(rows).cuda())
        exact = reference.score(path, rows, "reconstruction")
        assert error(scores, exact) < ERRORS[precision], n


@on_gpu
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_network_wider_than_the_chip(make_bundle: Make, precision: str) -> None:
    path = make_bundle([784, 512, 256, 32])
    rows = rows_of(3000, 784)
    scorer = vaelocity.load(path, backend="cuda", precision=precision)
    assert scorer.config.kernel == "score_wide"
    scores = scorer.score(torch.from_numpy(rows).cuda())
    assert error(scores, reference.score(path, rows, "reconstruction")) < ERRORS[precision]


@on_gpu
@pytest.mark.parametrize("widths", [[59, 64, 32, 16], [243, 128, 128]])
def test_layouts_and_types_agree_and_a_call_repeats_its_bits(
    make_bundle: Make, widths: list[int]
) -> None:
    d = widths[0]
    scorer = vaelocity.load(make_bundle(widths), backend="cuda", precision="tf32")
    rows = torch.from_numpy(rows_of(10_001, d)).cuda().bfloat16()
    expected = scorer.score(rows.float())
    padded = torch.full((10_001, 256), float("nan"), device="cuda", dtype=torch.bfloat16)
    padded[:, :d] = rows
    wide = torch.zeros(10_001, 2 * d, device="cuda")
    wide[:, ::2] = rows
    for layout in (rows, rows.T.contiguous().T, padded[:, :d], rows.float(), wide[:, ::2]):
        scores = scorer.score(layout)
        # Each layout is a kernel of its own, which may sum in another order.
        assert torch.allclose(scores, expected, rtol=1e-5), layout.stride()
        assert torch.equal(scorer.score(layout), scores), layout.stride()


@on_gpu
def test_columns_that_reach_further_than_int32(make_bundle: Make) -> None:
    n = 40_000_000
    scorer = vaelocity.load(make_bundle([59, 64, 32, 16]), backend="cuda", precision="bf16")
    columns = torch.zeros(59, n, device="cuda", dtype=torch.bfloat16)
    columns[:, -1000:] = torch.randn(59, 1000, device="cuda")
    scores = scorer.score(columns.T)
    last = scorer.score(columns[:, -5000:].T.contiguous())
    assert torch.allclose(scores[-5000:], last, rtol=1e-3)
    assert (scores[:-1000] == scores[0]).all()


@on_gpu
@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("widths", [[59, 64, 32, 16], [243, 128, 128]])
def test_flags_are_those_of_the_cpu(make_bundle: Make, widths: list[int], gaussian: bool) -> None:
    path = make_bundle(widths, gaussian=gaussian)
    rows = rows_of(5000, widths[0])
    rows[3, 0], rows[500, -1], rows[4999, 7] = np.nan, np.inf, -np.inf
    rows[20], rows[24] = 1e30, 0
    for kind in ("elbo", "mu2") if gaussian else ("reconstruction",):
        scorer = vaelocity.load(path, backend="cuda", kind=kind, precision="bf16", verify=False)
        scores = torch.empty(5000, device="cuda")
        flags = torch.empty(5000, device="cuda", dtype=torch.uint8)
        scorer.score_into(torch.from_numpy(rows).cuda(), scores=scores, flags=flags)
        found = flags.cpu().numpy()
        assert np.array_equal(found, vaelocity.load(path, kind=kind).flags(rows))
        assert np.array_equal(np.isnan(scores.cpu().numpy()), found == 1)
        assert (scores.cpu().numpy()[found == 2] == np.finfo(np.float32).max).all()


@on_gpu
@pytest.mark.parametrize("widths", [[59, 64, 32, 16], [243, 128, 128]])
def test_a_call_allocates_nothing_and_can_be_captured(make_bundle: Make, widths: list[int]) -> None:
    scorer = vaelocity.load(make_bundle(widths), backend="cuda")
    rows = torch.from_numpy(rows_of(1024, widths[0])).cuda()
    out = torch.empty(1024, device="cuda")
    expected = scorer.score(rows).clone()
    torch.cuda.synchronize()
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    scorer.score(rows, out)
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        scorer.score(rows, out)
    other = torch.from_numpy(rows_of(1024, widths[0], 1)).cuda()
    wanted = scorer.score(other)
    rows.copy_(other)
    graph.replay()
    assert torch.equal(out, wanted)
    assert not torch.equal(out, expected)


@on_gpu
def test_the_callers_stream(make_bundle: Make) -> None:
    """Queued behind what the stream already does."""
    scorer = vaelocity.load(make_bundle([59, 64, 32, 16]), backend="cuda")
    given = torch.from_numpy(rows_of(50_000, 59)).cuda()
    expected = scorer.score(given)
    rows = torch.zeros_like(given)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        rows.copy_(given)
        scores = scorer.score(rows)
    stream.synchronize()
    assert torch.equal(scores, expected)


@on_gpu
def test_score_stream(make_bundle: Make) -> None:
    scorer = vaelocity.load(make_bundle([59, 64, 32, 16]), backend="cuda")
    batches = [rows_of(n, 59, n) for n in (5, 70_000, 1, 33_000, 20_000)]
    found = list(scorer.score_stream(batches, batch_rows=20_000, flags=True))
    for (scores, flags), batch in zip(found, batches, strict=True):
        expected = scorer.score(torch.from_numpy(batch).cuda()).cpu()
        assert torch.allclose(scores, expected, rtol=1e-5)
        assert not flags.any()


@on_gpu
@pytest.mark.parametrize("widths", [[59, 64, 32, 16], [243, 128, 128]])
def test_counted_and_accepted_in_the_same_pass(make_bundle: Make, widths: list[int]) -> None:
    """The histogram bit for bit, the accepted events in their order, the scores unchanged."""
    scorer = vaelocity.load(make_bundle(widths), backend="cuda", precision="tf32")
    for n in (1, 1000, 200_001):
        given = rows_of(n, widths[0])
        given[n // 2, 0] = np.nan
        rows = torch.from_numpy(given).cuda()
        scores = scorer.score(rows)
        counted = ScoreHistogram(scorer.kind, scorer.identity)
        assert scorer.histogram(rows) == counted.update(scores.cpu().numpy())
        threshold = float(np.nanquantile(np.append(scores.cpu().numpy(), 1), 0.99))
        index, kept = scorer.accept(rows, threshold)
        assert torch.equal(index, scorer.predict(rows, threshold).nonzero()[:, 0])
        torch.testing.assert_close(kept, scores[index], rtol=0, atol=0, equal_nan=True)


@on_gpu
def test_a_stream_of_accepted_events(make_bundle: Make) -> None:
    scorer = vaelocity.load(make_bundle([59, 64, 32, 16]), backend="cuda")
    batches = [rows_of(n, 59, n) for n in (5, 70_000, 1, 33_000, 20_000)]
    scores = [scorer.score(torch.from_numpy(batch).cuda()).cpu().numpy() for batch in batches]
    threshold = float(np.quantile(np.concatenate(scores), 0.999))
    counted = ScoreHistogram()
    found = scorer.score_stream(
        batches, batch_rows=20_000, threshold=threshold, accepted_only=True, histogram=counted
    )
    for (index, kept), expected in zip(found, scores, strict=True):
        # Parts of a batch are launched otherwise, and may round otherwise.
        assert abs(len(index) - int((expected > threshold).sum())) <= 1
        np.testing.assert_allclose(kept.numpy(), expected[index], rtol=1e-5)
    assert counted.n == sum(map(len, batches))


@on_gpu
@pytest.mark.parametrize("precision", PRECISIONS)
def test_networks_with_convolutions(image_bundles: list[Path], precision: str) -> None:
    for path in image_bundles:
        scorer = vaelocity.load(path, backend="cuda", precision=precision, verify=False)
        for n in (1, 17, 3000):
            rows = rows_of(n, scorer.n_features)
            scores = scorer.score(torch.from_numpy(rows).cuda())
            if precision == "bf16":  # a norm makes a lot of bfloat16's error in a row or two
                exact = score_in_bfloat16(path, rows)
            else:
                exact = reference.score(path, rows, "reconstruction")
            assert error(scores, exact) < ERRORS[precision], (path.stem, n)


def score_in_bfloat16(path: Path, rows: np.ndarray) -> np.ndarray:
    """The same layers by torch on the CPU, operands in bfloat16; the rest in float64."""
    from vaelocity.bundle import read_bundle
    from vaelocity.cuda.layers import Layers

    metadata, tensors = read_bundle(path)
    x = (rows - tensors["preprocess.0.mean"]) / tensors["preprocess.0.scale"]
    encoder, decoder = (
        Layers(metadata[part], tensors, torch.bfloat16) for part in ("encoder", "decoder")
    )
    with torch.inference_mode():
        mu = encoder(torch.from_numpy(x))[:, : metadata["latent"]["size"]]
        difference = decoder(mu).double().numpy() - x
    found: np.ndarray = 0.5 * (difference**2).sum(1)
    return found


@on_gpu
@pytest.mark.parametrize("precision", PRECISIONS)
def test_columns_losses_bounds_and_kinds(physics_bundles: list[Path], precision: str) -> None:
    """Every step, loss and latent space: flags as the CPU has them, scores near its, and in one
    pass what several passes give."""
    rows = np.concatenate([edges(19)] * 200)
    for path in physics_bundles:
        cpu = vaelocity.load(path)
        scorer = vaelocity.load(path, backend="cuda", precision=precision, verify=False)
        assert scorer.config.kernel == "score"
        for n in (41, len(rows)):
            given = torch.from_numpy(rows[:n]).cuda()
            scores = torch.empty(n, device="cuda")
            flags = torch.empty(n, device="cuda", dtype=torch.uint8)
            counts = scorer.new_counts()
            scorer.score_into(given, scores=scores, flags=flags, counts=counts)
            found, expected = scores.cpu().numpy(), cpu.score(rows[:n])
            assert np.array_equal(flags.cpu().numpy(), cpu.flags(rows[:n])), path.stem
            assert np.array_equal(np.isnan(found), np.isnan(expected))
            usual = np.where(np.isfinite(rows[:n]), np.abs(rows[:n]), 0).max(1) < 100
            usual &= ~np.isnan(expected)
            assert (
                error(scores[torch.from_numpy(usual)], expected[usual].astype(np.float64))
                < ERRORS[precision]
            )
            counted = ScoreHistogram(scorer.kind, scorer.identity)
            added = ScoreHistogram(scorer.kind, scorer.identity).add_counts(counts.cpu().numpy())
            assert added == counted.update(found)


@on_gpu
@pytest.mark.parametrize("precision", PRECISIONS)
def test_columns_of_wide_networks_and_of_convolutions(tmp_path: Path, precision: str) -> None:
    rows = edges(200)
    for name, content in (
        ("score_wide", network(tuple(COLUMNS), "huber", d=200, bounded=True)),
        ("score_layered", with_convolution(*network(tuple(COLUMNS), "huber", d=200))),
    ):
        path = tmp_path / f"{name}.vael"
        path.write_bytes(promised(*content, ["reconstruction"]))
        cpu = vaelocity.load(path)
        scorer = vaelocity.load(path, backend="cuda", precision=precision, verify=False)
        assert scorer.config.kernel == name
        given = torch.from_numpy(rows).cuda()
        assert np.array_equal(scorer.flags(given).cpu().numpy(), cpu.flags(rows))
        usual = np.where(np.isfinite(rows), np.abs(rows), 1e9).max(1) < 100
        scores, expected = scorer.score(given).cpu()[usual], cpu.score(rows[usual])
        assert error(scores, expected.astype(np.float64)) < ERRORS[precision]


@on_gpu
def test_memory_limit(make_bundle: Make) -> None:
    path = make_bundle([59, 64, 32, 16])
    with pytest.raises(ValueError, match="memory_limit: the model needs"):
        vaelocity.load(path, backend="cuda", memory_limit=1000)


@on_gpu
@pytest.mark.parametrize("data", ["jets", "mnist"])
def test_flipped_decisions_at_a_false_positive_rate_of_one_in_a_thousand(
    request: pytest.FixtureRequest, tmp_path: Path, data: str
) -> None:
    """Of all events, how many are decided otherwise than by float64, by precision."""
    from vaelocity import models

    if data == "jets":
        from vaelocity.data import jets

        rows, hidden, latent = jets.load().rows, (64, 32), 16
    else:
        rows = _mnist(request.getfixturevalue("data_dir"))
        hidden, latent = (512, 256), 32
    model = models.Autoencoder(rows.shape[1], latent=latent, hidden=hidden)
    model.fit(rows[:8000], epochs=2, seed=0, progress=False)
    path = tmp_path / "model.vael"
    model.save(path)
    held_out = np.array(rows[8000:])
    exact = reference.score(path, held_out, "reconstruction")
    threshold = np.float32(np.quantile(exact, 0.999))
    allowed = {"float32": 0, "tf32": 2e-5, "bf16": 2e-4}
    for precision in PRECISIONS:
        scorer = vaelocity.load(path, backend="cuda", precision=precision)
        found = scorer.predict(torch.from_numpy(held_out).cuda(), float(threshold)).cpu().numpy()
        flipped = int((found != (exact > threshold)).sum())
        assert flipped <= max(1, allowed[precision] * len(exact)), (precision, flipped)


def _mnist(data_dir: Path) -> np.ndarray:
    import gzip

    with gzip.open(data_dir / "mnist" / "train-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 784)
    return (images / np.float32(255)).astype(np.float32)
