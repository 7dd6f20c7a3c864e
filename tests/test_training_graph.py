"""Training steps in a CUDA graph: what is captured and replayed, and on a GPU that it trains as the
steps it was captured from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import torch

from vaelocity import models, training_graph
from vaelocity.models.base import Model
from vaelocity.training_graph import GraphSteps

pytestmark = pytest.mark.usefixtures("one_torch_thread")

_RANDOM = np.random.default_rng(5)
ROWS = (_RANDOM.normal(size=(620, 3)) @ _RANDOM.normal(size=(3, 11))).astype(np.float32)
WEIGHT = _RANDOM.uniform(size=620)

MODELS: dict[str, Callable[[], Model]] = {
    "ae": lambda: models.Autoencoder(11, latent=3, hidden=(9,)),
    "vae": lambda: models.VAE(11, latent=3, hidden=(9,), beta=0.01),
    "warm vae": lambda: models.VAE(11, latent=3, hidden=(9,), beta=0.01, warmup=5),
    "denoising": lambda: models.DenoisingAutoencoder(11, latent=3, hidden=(9,)),
    "game": lambda: models.AdversarialAutoencoder(11, latent=3, hidden=(9,)),
}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())

# With a tenth held out eight batches an epoch, six of 70 rows and two of 69.
ARGUMENTS: dict[str, Any] = {"epochs": 5, "batch_size": 70, "lr": 1e-2, "seed": 3}


class Recorder:
    """Stands in for CUDA: a capture runs nothing, a replay runs the step and leaves its terms where
    they were left before."""

    def __init__(self) -> None:
        self.captured = self.replayed = self.beside = 0

    def capture(self, step: Callable[[], Any], device: torch.device) -> Any:
        self.captured += 1
        terms: dict[str, torch.Tensor] = {}

        def replay() -> None:
            self.replayed += 1
            for name, value in step().items():
                terms.setdefault(name, torch.empty_like(value)).copy_(value)

        return replay, terms

    def warm(self, step: Callable[[], Any], device: torch.device) -> Any:
        self.beside += 1
        return step()


@every_model
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_replays_train_as_steps(
    make: Callable[[], Model], schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: every batch is its own, the noise goes on, nothing is overwritten too early."""
    more = {**ARGUMENTS, "schedule": schedule, "weight": WEIGHT, "validation_fraction": 0.1}
    expected = make().fit(ROWS, **more)
    recorder = Recorder()
    monkeypatch.setattr("vaelocity.train.Steps", GraphSteps)
    monkeypatch.setattr(training_graph, "capture", recorder.capture)
    monkeypatch.setattr(training_graph, "beside", recorder.warm)
    found = make().fit(ROWS, **more)
    assert found.history == expected.history
    for name, values in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], values), name
    steps = ARGUMENTS["epochs"] * 8
    assert recorder.captured == 2
    assert recorder.beside == 6
    assert recorder.replayed == steps - 6


def test_what_cannot_be_captured_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def capture(step: Callable[[], Any], device: torch.device) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr("vaelocity.train.Steps", GraphSteps)
    monkeypatch.setattr(training_graph, "capture", capture)
    monkeypatch.setattr(training_graph, "beside", lambda step, device: step())
    said = "cuda_graph: a step of Autoencoder cannot be captured: operation not permitted when"
    with pytest.raises(RuntimeError, match=said):
        MODELS["ae"]().fit(ROWS, **ARGUMENTS)


def test_a_cpu_has_no_graphs() -> None:
    with pytest.raises(ValueError, match="cuda_graph: needs device='cuda', got 'cpu'"):
        MODELS["ae"]().fit(ROWS, cuda_graph=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_model
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_graph_trains_as_its_steps(make: Callable[[], Model], schedule: str) -> None:
    """To the rounding of the learning rate, which a graph holds as float32."""
    more = {**ARGUMENTS, "device": "cuda", "schedule": schedule}
    expected = make().fit(ROWS, **more)
    found = make().fit(ROWS, cuda_graph=True, **more)
    for name, values in expected.history.items():
        np.testing.assert_allclose(found.history[name], values, rtol=1e-4, err_msg=name)
    for name, values in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], values, rtol=1e-3, atol=1e-4)
