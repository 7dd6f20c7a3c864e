"""What one of several processes does in test_distributed.py: RANK, WORLD_SIZE and the rest are set.

python distributed_fit.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaelocity import distributed, models
from vaelocity.models.base import Model

_RANDOM = np.random.default_rng(5)
ROWS = (_RANDOM.normal(size=(613, 3)) @ _RANDOM.normal(size=(3, 11))).astype(np.float32)
IMAGES = _RANDOM.random(size=(90, 64)).astype(np.float32)
WEIGHT = _RANDOM.uniform(size=613)

ARGUMENTS: dict[str, Any] = {"epochs": 4, "lr": 1e-2, "seed": 3, "batch_size": 70}

# A batch of 613 / 9 rows ends in the middle of a quad; 213 rows are held out.
FITS: dict[str, Callable[[], Model]] = {
    "ae": lambda: models.Autoencoder(11, latent=3, hidden=(9,)).fit(ROWS, **ARGUMENTS),
    "vae": lambda: models.VAE(11, latent=3, hidden=(9, 7), beta=0.01).fit(
        ROWS[:400], ROWS[400:], weight=WEIGHT[:400], weight_val=WEIGHT[400:], **ARGUMENTS
    ),
    "warm vae": lambda: models.VAE(11, latent=3, hidden=(9,), beta=0.01, warmup=5).fit(
        ROWS, schedule="cosine", weight_decay=0.01, **ARGUMENTS
    ),
    "sparse": lambda: models.SparseAutoencoder(11, latent=20, hidden=()).fit(ROWS, **ARGUMENTS),
    "images": lambda: models.ConvVAE((1, 8, 8), latent=2, channels=(3,), beta=0.01).fit(
        IMAGES, **{**ARGUMENTS, "epochs": 2, "batch_size": 40}
    ),
}


def state(model: Model) -> dict[str, list[float]]:
    return {name: tensor.flatten().tolist() for name, tensor in model.state_dict().items()}


def result(model: Model) -> dict[str, Any]:
    return {"history": model.history, "state": state(model)}


class Stumbling(models.VAE):
    """Fails on one process, in the middle of an epoch."""

    steps_taken = 0

    def training_terms(self, *arguments: Any, **more: Any) -> Any:
        self.steps_taken += 1
        if distributed.dist.get_rank() == 1 and self.steps_taken == 12:
            raise MemoryError("no memory for this batch")
        return super().training_terms(*arguments, **more)


class Lost(models.VAE):
    """Ends without a word."""

    steps_taken = 0

    def training_terms(self, *arguments: Any, **more: Any) -> Any:
        self.steps_taken += 1
        if distributed.dist.get_rank() == 1 and self.steps_taken == 12:
            os._exit(3)
        return super().training_terms(*arguments, **more)


def said(function: Callable[[], object]) -> str:
    """The error, which there must be."""
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("no error")


def fits(folder: Path, rank: int) -> dict[str, Any]:
    found = {name: result(fit()) for name, fit in FITS.items()}
    FITS["ae"]().save(folder / f"of-{rank}.vael")
    return found


def checkpoint(folder: Path, rank: int) -> dict[str, Any]:
    """Two epochs, then two more from the file of the first process; the others' is not there."""
    where = folder / f"checkpoint-{rank}"
    more = {**ARGUMENTS, "checkpoint": where}
    make = lambda: models.VAE(11, latent=3, hidden=(9,), beta=0.01)  # noqa: E731
    make().fit(ROWS, **{**more, "epochs": 2})
    resumed = make().fit(ROWS, **more)
    return {"resumed": result(resumed), "whole": result(make().fit(ROWS, **ARGUMENTS))}


def failures(folder: Path, rank: int) -> dict[str, Any]:
    def ae(**more: Any) -> Callable[[], object]:
        rows = more.pop("rows", ROWS)
        return lambda: models.Autoencoder(11, latent=3).fit(rows, **{**ARGUMENTS, **more})

    bad = ROWS.copy()
    bad[rank * 5, 0] = np.nan if rank else 0
    other = ROWS * np.float32(1 + rank)
    stumbling = Stumbling(11, latent=3)
    before = state(stumbling)
    found = {
        "rows": said(ae(rows=bad)),
        "few": said(ae(rows=ROWS[: 3 if rank else 613])),
        "lr": said(ae(lr=1e-3 * (1 + rank))),
        "epochs": said(ae(epochs=2 + rank)),
        "data": said(ae(rows=other)),
        "batch_size": said(ae(batch_size=4)),
        "X_val": said(ae(X_val=ROWS[:4])),
        "checkpoint": said(ae(checkpoint=folder / "nowhere" / "x")),
        "diverged": said(ae(lr=1e30)),
        "stumbled": said(lambda: stumbling.fit(ROWS, **ARGUMENTS)),
        "denoising": said(lambda: models.DenoisingAutoencoder(11, latent=3).fit(ROWS, **ARGUMENTS)),
    }
    found["as before"] = state(stumbling) == before
    # All are in step still.
    found["after"] = result(FITS["ae"]())
    return found


def lost(folder: Path, rank: int) -> dict[str, Any]:
    return {"lost": said(lambda: Lost(11, latent=3).fit(ROWS, **ARGUMENTS))}


def main() -> None:
    torch.set_num_threads(1)
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    with distributed.group() as device:
        assert device == torch.device("cpu")
        for case in (fits, checkpoint, failures, lost):
            found = case(folder, rank)
            (folder / f"{case.__name__}-{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
