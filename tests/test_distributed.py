"""Training by two processes: the losses and the weights of one, the same noise, and one fate."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra vaelocity[train]")

import distributed_fit
import torch

from vaelocity import distributed, ops
from vaelocity.distributed import Processes, SharedRng

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.filterwarnings("ignore::vaelocity.models.posterior.PosteriorCollapse"),
    pytest.mark.skipif(not distributed.dist.is_gloo_available(), reason="torch without gloo"),
]

SIZE = 2


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def environment(rank: int, port: int) -> dict[str, str]:
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(SIZE)}
    return {**os.environ, **where, **ranks, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes of distributed_fit.py left, the second of which is lost at the end."""
    folder = tmp_path_factory.mktemp("two")
    port = free_port()
    command = [sys.executable, distributed_fit.__file__, str(folder)]
    running = [
        subprocess.Popen(command, env=environment(rank, port), stderr=subprocess.PIPE, text=True)
        for rank in range(SIZE)
    ]
    ended = [process.communicate(timeout=400)[1] for process in running]
    assert [process.returncode for process in running] == [0, 3], ended
    return folder


def found_by(folder: Path, case: str) -> list[Any]:
    """By rank; None of one that was lost."""
    files = [folder / f"{case}-{rank}.json" for rank in range(SIZE)]
    return [json.loads(file.read_text()) if file.exists() else None for file in files]


def near(found: Any, expected: Any) -> None:
    """A training of some 40 steps, but for the rounding of sums."""
    assert found["history"].keys() == expected["history"].keys()
    for name, values in expected["history"].items():
        np.testing.assert_allclose(found["history"][name], values, rtol=1e-5, err_msg=name)
    assert found["state"].keys() == expected["state"].keys()
    for name, values in expected["state"].items():
        np.testing.assert_allclose(found["state"][name], values, rtol=1e-3, atol=1e-4, err_msg=name)


def test_two_processes_train_as_one(folder: Path) -> None:
    first, second = found_by(folder, "fits")
    assert first == second  # bit for bit
    for name, fit in distributed_fit.FITS.items():
        near(first[name], distributed_fit.result(fit()))
    # The first alone writes.
    assert (folder / "of-0.vael").exists()
    assert not (folder / "of-1.vael").exists()


def test_they_go_on_from_the_checkpoint_of_the_first(folder: Path) -> None:
    found = found_by(folder, "checkpoint")
    assert found[0] == found[1]
    assert found[0]["resumed"] == found[0]["whole"]
    assert [path.name for path in folder.glob("checkpoint-?")] == ["checkpoint-0"]


def test_what_fails_in_one_fails_in_all(folder: Path) -> None:
    """The one with its own error, the others with its text; arguments that differ by name."""
    found = found_by(folder, "failures")
    lost = "ProcessFailed: process {} of 2 failed: {}"
    for name, guilty, error in (
        ("rows", 1, "ValueError: X: 1 of 613 rows hold a NaN or an infinity"),
        ("few", 1, "ValueError: batch_size: steps of 3 rows are too few for 2 processes"),
        ("stumbled", 1, "MemoryError: no memory for this batch"),
        ("checkpoint", 0, "FileNotFoundError: "),
    ):
        assert found[guilty][name].startswith(error), found[guilty][name]
        assert found[1 - guilty][name].startswith(lost.format(guilty, error)), found[1 - guilty]
    for name, error in (
        ("epochs", "ValueError: fit: the processes differ in epochs; give all of them the same"),
        ("lr", "ValueError: fit: the processes differ in lr; give all of them the same"),
        ("data", "ValueError: fit: the processes differ in data; give all of them the same"),
        ("batch_size", "ValueError: batch_size: steps of 3 rows are too few for 2 processes, whi"),
        ("X_val", "ValueError: X_val: 4 rows are too few for 2 processes, which need 5"),
        ("diverged", "TrainingDiverged: training diverged in epoch 1"),
        ("denoising", "ValueError: fit: a DenoisingAutoencoder with these arguments cannot be "),
    ):
        for each in found:
            assert each[name].startswith(error), each[name]
    assert all(each["as before"] for each in found)
    near(found[0]["after"], distributed_fit.result(distributed_fit.FITS["ae"]()))


def test_a_process_that_is_gone_is_noticed(folder: Path) -> None:
    found = found_by(folder, "lost")
    assert found[0]["lost"].startswith("ProcessFailed: a process of the training was lost: ")
    assert found[1] is None


def test_the_command_under_torchrun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file, of the loss that the command has alone."""
    from vaelocity.cli import main

    rows = tmp_path / "rows.npy"
    np.save(rows, distributed_fit.ROWS)
    arguments = ["fit", str(rows), "--model", "vae", "--epochs", "3", "--json", "-o"]
    assert main([*arguments, str(tmp_path / "one.vael")]) == 0
    alone = json.loads(capsys.readouterr().out)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *torchrun, "-m", "vaelocity.cli", *arguments, tmp_path / "two.vael"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    for name in ("loss", "best_validation_loss"):
        assert found[name] == pytest.approx(alone[name], rel=1e-5)
    assert sorted(path.name for path in tmp_path.glob("*.vael")) == ["one.vael", "two.vael"]


# ---- One process


def of(size: int, rank: int) -> Processes:
    processes = Processes()
    processes.size, processes.rank = size, rank
    return processes


@pytest.mark.parametrize("size", [2, 3, 7])
def test_processes_draw_what_one_would_draw(size: int) -> None:
    """Bit for bit, in draws of several widths, batch after batch."""
    alone = ops.Rng(seed=2**63 + 5, offset=2**32 - 20)
    shared = [SharedRng(seed=2**63 + 5, offset=2**32 - 20) for _ in range(size)]
    for n in (64, 61, 4 * size - 3, 33):
        places = [of(size, rank).place(shared[rank], n) for rank in range(size)]
        assert np.concatenate([np.arange(n)[place] for place in places]).tolist() == [*range(n)]
        for width in (1, 3, 16):
            whole = ops.philox_normal((n, width), alone)
            parts = [
                ops.philox_normal((place.stop - place.start, width), rng)
                for place, rng in zip(places, shared, strict=True)
            ]
            assert torch.equal(torch.cat(parts), whole)
    shared[0].part, shared[0].of = slice(0, 8), 16
    with pytest.raises(ValueError, match="rng: a draw of 3 numbers for 8 rows, which do not div"):
        shared[0].draw(3)


@pytest.mark.parametrize("size", [2, 3, 8])
def test_the_smallest_batch_leaves_a_row_for_all(size: int) -> None:
    least = of(size, 0).least_rows
    for n, enough in ((least, True), (least - 1, False)):
        rows = [of(size, rank).share(n) for rank in range(size)]
        assert all(place.stop > place.start for place in rows) is enough


def test_a_group_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with distributed.group() as device:
        assert device == torch.device("cpu")
        assert distributed.is_first()
        assert Processes().size == 1
    with (
        pytest.raises(ValueError, match="device: expected 'cpu' or 'cuda', got 'tpu'"),
        distributed.group("tpu"),
    ):
        pass
