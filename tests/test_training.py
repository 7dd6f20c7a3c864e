"""Training: the same twice, interrupted or not; what it learns; what it refuses."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import torch

from vaelocity.models import VAE, Autoencoder, snapshot
from vaelocity.models.base import Model
from vaelocity.models.posterior import PosteriorCollapse

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    # Most models here are trained too little to have learned anything; test_posterior.py looks.
    pytest.mark.filterwarnings("ignore::vaelocity.models.posterior.PosteriorCollapse"),
]

MAKERS: dict[str, Callable[[], Model]] = {
    "ae": lambda: Autoencoder(6, latent=2, hidden=(16,)),
    "vae": lambda: VAE(6, latent=2, hidden=(16,)),
    "ae, batch norm": lambda: Autoencoder(6, latent=2, hidden=(16,), batch_norm=True),
}
every_model = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def events(n: int, seed: int = 0) -> np.ndarray:
    """n rows on a curved two-dimensional sheet in six dimensions, with a little noise."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    sheet = np.column_stack([a, b, a * b, 5 * a**2, a + b, b**2 - 3])
    return (sheet + 0.1 * rng.normal(size=(n, 6))).astype(np.float32)


def state(model: Model) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def same(a: Model, b: Model) -> bool:
    first, second = state(a), state(b)
    return all(np.array_equal(first[name], second[name]) for name in first)


# the same twice


@every_model
def test_a_seed_gives_the_same_weights_twice_and_leaves_torch_s_own_numbers_alone(
    make: Callable[[], Model],
) -> None:
    X = events(600)
    before = torch.get_rng_state()
    first = make().fit(X, epochs=3, batch_size=128, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    assert same(make().fit(X, epochs=3, batch_size=128, seed=5), first)
    assert not same(make().fit(X, epochs=3, batch_size=128, seed=6), first)


@every_model
def test_float64_rows_and_tensors_train_as_float32_rows(make: Callable[[], Model]) -> None:
    X = events(300)
    expected = make().fit(X, epochs=2, batch_size=64)
    turned = np.asfortranarray(X)
    turned.flags.writeable = False
    for other in (X.astype(np.float64), torch.from_numpy(X), turned):
        assert same(make().fit(other, epochs=2, batch_size=64), expected)


@every_model
def test_three_epochs_and_four_are_seven(make: Callable[[], Model]) -> None:
    X = events(600)
    seven = make().fit(X, epochs=7, batch_size=100)
    model = make().fit(X, epochs=3, batch_size=100)
    assert len(model.history["loss"]) == 3
    model.fit(X, epochs=4, batch_size=100)
    assert same(model, seven)
    assert model.history == seven.history
    assert model.history["epoch"] == [1, 2, 3, 4, 5, 6, 7]


def epochs_of(checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    return len(snapshot.read_checkpoint(checkpoint)[0].history["loss"])


PROGRAM = """
import sys, numpy as np
from vaelocity.models import VAE
X = np.load(sys.argv[1])
VAE(6, latent=2, hidden=(16,)).fit(
    X[:400], X[400:], epochs=400, patience=None, batch_size=50, checkpoint=sys.argv[2]
)
"""


def test_a_training_that_is_killed_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    X, checkpoint = events(600), tmp_path / "training.checkpoint"
    np.save(tmp_path / "X.npy", X)
    args = [sys.executable, "-c", PROGRAM, str(tmp_path / "X.npy"), str(checkpoint)]
    process = subprocess.Popen(args)
    while process.poll() is None and epochs_of(checkpoint) < 5:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    done = epochs_of(checkpoint)
    assert 5 <= done < 400

    def fit(path: Path | None, **changed: float) -> VAE:
        settings = {"epochs": done + 3, "batch_size": 50, **changed}
        model = VAE(6, latent=2, hidden=(16,))
        return model.fit(X[:400], X[400:], patience=None, checkpoint=path, **settings)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=r"is of another training \(other: batch_size, lr\)"):
        fit(checkpoint, batch_size=60, lr=0.1)
    with pytest.raises(ValueError, match=rf"epochs: 1, but .* is {done} epochs on"):
        fit(checkpoint, epochs=1)
    assert same(fit(checkpoint), fit(None))


def test_a_checkpoint_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"checkpoint: .* is no checkpoint of this version"):
        MAKERS["ae"]().fit(events(50), checkpoint=path)
    assert path.read_bytes() == b"no checkpoint"


def test_a_checkpoint_that_cannot_be_written_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = MAKERS["ae"]()
    before = state(model)
    with pytest.raises(FileNotFoundError):
        model.fit(events(50), checkpoint=tmp_path / "nowhere" / "x")
    assert all(np.array_equal(before[name], value) for name, value in state(model).items())


# what is learned


@every_model
def test_the_loss_falls_and_the_history_tells(make: Callable[[], Model]) -> None:
    X = events(2000)
    model = make().fit(X[:1500], X[1500:], epochs=40, batch_size=100, lr=3e-3)
    history = model.history
    gaussian = {"reconstruction", "kl", "val_reconstruction", "val_kl"}
    names = {"epoch", "loss", "val_loss"} | (gaussian if isinstance(model, VAE) else set())
    assert set(history) == names
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    assert history["val_loss"][-1] < 0.9 * history["val_loss"][0]
    if isinstance(model, VAE):
        parts = np.add(history["reconstruction"], history["kl"])
        np.testing.assert_allclose(history["loss"], parts, rtol=1e-6)


def test_training_stops_early_and_the_best_weights_remain() -> None:
    # 40 rows and far more weights: the model learns them by heart.
    X, X_val = events(40), events(200, seed=1)
    model = Autoencoder(6, latent=3, hidden=(64,)).fit(
        X, X_val, epochs=2000, batch_size=20, lr=1e-2, patience=15
    )
    losses = model.history["val_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 15 < 2000
    assert model.score(X_val).mean() == pytest.approx(losses[best], rel=1e-5)
    # Going on starts from the best weights, and worse ones do not replace them.
    model.fit(X, X_val, epochs=3, lr=1e-2)
    assert model.score(X_val).mean() <= losses[best] * (1 + 1e-5)


def test_validation_rows_can_be_held_out() -> None:
    X = events(500)
    model = MAKERS["ae"]().fit(X, epochs=2, validation_fraction=0.2)
    assert model.provenance["rows"] == 400
    assert len(model.history["val_loss"]) == 2


def test_weights_weigh_the_scaling_and_the_loss() -> None:
    near, far = events(500), events(500, seed=1)
    far[:, 0] = far[:, 0] * 3 + 10
    X = np.concatenate([near, far])
    heavy = np.repeat([1.0, 0.0], 500)
    model = MAKERS["ae"]().fit(X, weight=heavy, epochs=30, batch_size=100, lr=1e-2)
    np.testing.assert_allclose(model.scaler.mean, near.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.scaler.scale, near.std(0), rtol=1e-4)
    assert 3 * model.score(near).mean() < model.score(far).mean()
    double = Autoencoder(6, latent=2).fit(near, weight=np.full(500, 2), epochs=2)
    assert same(double, Autoencoder(6, latent=2).fit(near, epochs=2, weight=np.ones(500)))
    mixed = Autoencoder(6, latent=2).fit(X, weight=np.repeat([3, 1], 500), epochs=1)
    thrice = np.concatenate([near, near, near, far])
    np.testing.assert_allclose(mixed.scaler.scale, thrice.std(0), rtol=1e-4)


def test_constant_and_tiny_and_huge_columns() -> None:
    X = events(400)
    X[:, 1], X[:, 3] = 7.0, 0.0
    X[:, 4] *= 1e-41
    X[:, 5] *= 1e30
    model = Autoencoder(6, latent=2, hidden=(8,)).fit(X, epochs=3, batch_size=64)
    assert np.isfinite(model.score(X)).all()
    assert np.isfinite(model.reconstruct(X)).all()
    assert model.scaler.scale[[1, 3, 4]].tolist() == [1, 1, 1]
    odd = X[:1].copy()
    odd[0, 1] = 107.0
    assert model.score(odd)[0] > 100 * model.score(X).max()


def test_a_linear_autoencoder_reaches_the_principal_components() -> None:
    from scipy.linalg import subspace_angles
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(3)
    axes = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    rows = rng.normal(size=(2000, 8)) * [4, 3, 2.5, 1, 0.8, 0.6, 0.5, 0.4] @ axes
    X = (rows + 5).astype(np.float32)
    model = Autoencoder(8, latent=3, hidden=(), activation=None)
    model.fit(X, epochs=60, batch_size=200, lr=1e-2)
    model.fit(X, epochs=40, batch_size=200, lr=1e-3)
    x = (X.astype(np.float64) - X.mean(0)) / X.std(0)
    pca = PCA(3, svd_solver="full").fit(x)
    (decoder,) = model.decoder.dense()
    found = decoder.linear.weight.detach().numpy()  # [8, 3]
    assert np.rad2deg(subspace_angles(found, pca.components_.T).max()) < 1
    optimum = 0.5 * ((pca.inverse_transform(pca.transform(x)) - x) ** 2).sum(1).mean()
    assert optimum * (1 - 1e-5) < model.score(X).mean() < optimum * 1.001


def test_beta_weighs_the_kl() -> None:
    X = events(1500)
    kl, reconstruction = [], []
    for beta in (0.0, 1.0, 100.0):
        model = VAE(6, latent=2, hidden=(16,), beta=beta)
        collapses = pytest.warns(PosteriorCollapse) if beta == 100 else contextlib.nullcontext()
        with collapses:
            model.fit(X, epochs=40, batch_size=100, lr=5e-3)
        kl.append(model.score(X, "kl").mean())
        reconstruction.append(model.score(X, "reconstruction").mean())
        total = np.add(model.history["reconstruction"], beta * np.array(model.history["kl"]))
        np.testing.assert_allclose(model.history["loss"], total, rtol=1e-5)
    assert kl[0] > 3 * kl[1] > 3 * 30 * kl[2]
    assert kl[2] < 0.02
    assert reconstruction[0] < reconstruction[1] < 0.8 * reconstruction[2]
    # Nothing of a row reaches its code any more, so each is answered with the mean.
    assert reconstruction[2] == pytest.approx(0.5 * 6, rel=0.05)


# what is refused


def test_a_training_that_diverges_leaves_the_model_as_it_was() -> None:
    X = events(200)
    model = MAKERS["vae"]().fit(X, epochs=2, batch_size=50)
    before, history = state(model), dict(model.history)
    with pytest.raises(RuntimeError, match="training diverged in epoch 3: loss is "):
        model.fit(X, epochs=3, batch_size=50, lr=1e30)
    assert all(np.array_equal(before[name], value) for name, value in state(model).items())
    assert model.history == history
    unfitted = MAKERS["vae"]()
    with pytest.raises(RuntimeError, match="training diverged in epoch 1"):
        unfitted.fit(X, batch_size=50, lr=1e30)
    with pytest.raises(RuntimeError, match="this VAE was not fitted"):
        unfitted.score(X)
    # It goes on as if that had not been.
    assert same(
        model.fit(X, epochs=1, batch_size=50), MAKERS["vae"]().fit(X, epochs=3, batch_size=50)
    )


ROWS = events(20)
NAN = ROWS.copy()
NAN[[3, 9], 2] = np.nan, np.inf


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"X": NAN}, ValueError, "X: 2 of 20 rows hold a NaN or an infinity .* first is row 3"),
        ({"X": ROWS[:, :5]}, ValueError, r"X: expected shape \(n, 6\), got \(20, 5\)"),
        ({"X": ROWS[0]}, ValueError, r"X: expected shape \(n, 6\), got \(6,\)"),
        ({"X": ROWS[:0]}, ValueError, "X: no rows"),
        ({"X": ROWS.astype(int)}, TypeError, "X: expected floats, got int64"),
        ({"X": ROWS.tolist()}, TypeError, "X: expected a NumPy array or a torch tensor, got list"),
        ({"X": torch.ones(3, 6, dtype=torch.int32)}, TypeError, "X: expected a tensor of floats"),
        ({"X": ROWS.astype(np.float64) * 1e300}, ValueError, "X: 20 of 20 rows .*as float32"),
        ({"X_val": ROWS[:, :2]}, ValueError, r"X_val: expected shape \(n, 6\), got \(20, 2\)"),
        ({"weight": np.ones(19)}, ValueError, "weight: expected 20 numbers, one a row"),
        ({"weight": np.zeros(20)}, ValueError, "weight: the weights add up to 0"),
        ({"weight": -np.ones(20)}, ValueError, "weight: 20 weights are negative or not finite"),
        ({"weight": np.full(20, np.nan)}, ValueError, "weight: 20 weights are negative or not"),
        ({"weight_val": np.ones(20)}, ValueError, "weight_val: given without X_val"),
        ({"epochs": 0}, ValueError, "epochs: expected an integer of at least 1, got 0"),
        ({"batch_size": 1.5}, ValueError, "batch_size: expected an integer of at least 1"),
        ({"lr": -1.0}, ValueError, "lr: expected a positive number, got -1.0"),
        ({"seed": -1}, ValueError, "seed: expected an integer of at least 0, got -1"),
        ({"patience": 0}, ValueError, "patience: expected an integer of at least 1, got 0"),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction: 1.0 of 20 rows"),
    ],
)
def test_fit_names_the_argument_that_is_wrong(
    arguments: dict[str, object], error: type[Exception], said: str
) -> None:
    model = MAKERS["ae"]()
    with pytest.raises(error, match=said):
        model.fit(**{"X": ROWS, **arguments})  # type: ignore[arg-type]
    assert not model.fitted


def test_batch_norm_needs_batches() -> None:
    with pytest.raises(ValueError, match="batch_norm: needs batches of at least 2 rows"):
        MAKERS["ae, batch norm"]().fit(ROWS, batch_size=1)


def test_the_bar_is_for_terminals(capfd: pytest.CaptureFixture[str]) -> None:
    MAKERS["ae"]().fit(ROWS, epochs=2)
    assert capfd.readouterr() == ("", "")
    program = "import numpy as np; from vaelocity.models import Autoencoder as A\n"
    program += "A(6, latent=2).fit(np.eye(6), epochs=3)"
    shown = on_a_terminal([sys.executable, "-c", program])
    assert "Autoencoder" in shown
    assert "3/3" in shown


def on_a_terminal(args: list[str]) -> str:
    """Run a program with a terminal as its standard error; what it shows there."""
    master, slave = os.openpty()
    with subprocess.Popen(args, stderr=slave) as process:
        os.close(slave)
        shown = b""
        # A read fails when nobody has the terminal's other end any more.
        with contextlib.suppress(OSError):
            while True:
                shown += os.read(master, 4096)
    os.close(master)
    assert process.returncode == 0
    return shown.decode()
