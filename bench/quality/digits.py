"""MNIST, and a small network that reads digits: the judge of those that models make."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from vaelocity import data

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

EPOCHS, BATCH, HIGHEST_RATE = 4, 128, 3e-3


@dataclass(frozen=True)
class Digits:
    """Rows of 28 x 28 pixels from 0 to 1, float32 [n, 784], and what they show, int64 [n]."""

    x: Floats
    label: Labels


def mnist() -> tuple[Digits, Digits]:
    """The 60,000 digits to train on and the 10,000 to test with."""
    default = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("VAELOCITY_DATA", default)) / "mnist"
    found = []
    for part in ("train", "t10k"):
        table = data.read(folder / f"{part}-images-idx3-ubyte.gz")
        assert table.labels is not None
        found.append(Digits(table.rows / np.float32(255), table.labels))
    return found[0], found[1]


class Classifier(nn.Module):
    """Pixels [n, 784] to logits [n, 10]; `features` [n, 128] are what comes before them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Unflatten(1, (1, 28, 28)),
            nn.Conv2d(1, 32, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, 1, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(64 * 49, 128),
            nn.ReLU(),
        )
        self.last = nn.Sequential(nn.Dropout(0.3), nn.Linear(128, 10))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.features(x))
        return logits


@dataclass(frozen=True)
class Judge:
    """A classifier in eval mode, and its accuracy on the test digits."""

    network: Classifier
    accuracy: float

    @torch.inference_mode()
    def probabilities(self, x: Floats) -> Floats:
        """Of the ten digits, float32 [n, 10]."""
        parts = [self.network(part).softmax(1) for part in torch.from_numpy(x).split(1000)]
        return torch.cat(parts).numpy()

    @torch.inference_mode()
    def features(self, x: Floats) -> Floats:
        """float32 [n, 128]."""
        parts = [self.network.features(part) for part in torch.from_numpy(x).split(1000)]
        return torch.cat(parts).numpy()


def judge(train: Digits, test: Digits, path: Path) -> Judge:
    """The classifier of `path`; trained first, and kept there, if there is none."""
    torch.manual_seed(0)
    network = Classifier().to(memory_format=torch.channels_last)
    if path.exists():
        network.load_state_dict(load_file(path))
    else:
        _train(network, train)
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    found = Judge(network.eval(), 0.0)
    right = found.probabilities(test.x).argmax(1) == test.label
    return Judge(network, float(right.mean()))


def _train(network: Classifier, train: Digits) -> None:
    """Adam with weight decay and one cycle of the learning rate, over digits moved by up to two
    pixels."""
    x, label = torch.from_numpy(train.x), torch.from_numpy(train.label)
    optimizer = torch.optim.AdamW(network.parameters(), HIGHEST_RATE, weight_decay=0.01)
    batches = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, HIGHEST_RATE, total_steps=EPOCHS * batches
    )
    network.train()
    for epoch in range(EPOCHS):
        start = time.perf_counter()
        for index in torch.randperm(len(x)).split(BATCH)[:batches]:
            down, right = (int(moved) for moved in torch.randint(-2, 3, (2,)))
            pixels = x[index].view(-1, 28, 28).roll((down, right), (1, 2)).flatten(1)
            loss = F.cross_entropy(network(pixels), label[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        seconds = time.perf_counter() - start
        print(f"classifier, epoch {epoch + 1}: loss {loss.item():.4f}, {seconds:.0f} s", flush=True)
