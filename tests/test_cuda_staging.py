"""Rows copied into pinned memory by several threads: any layout and type, on any machine."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from vaelocity.cuda import staging  # noqa: E402


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("rows", [0, 1, 3, 1000])
def test_copies(rows: int, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces, each by a thread, that leave nothing out."""
    monkeypatch.setattr(staging, "_WORTH_A_THREAD", 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    values = torch.randn(rows, 14).to(getattr(torch, dtype))
    copier = staging.Staging()
    for source in (values, values.T.contiguous().T, torch.cat([values, values], 1)[:, ::2]):
        target = torch.full_like(values, float("nan"), memory_format=torch.contiguous_format)
        copier.copy(target, source)
        assert torch.equal(target, source)
    copier.close()


def test_no_more_threads_than_torch_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    copier = staging.Staging()
    copier.copy(torch.empty(100, 4), torch.zeros(100, 4))
    assert len(copier._pool._threads) <= 2
    copier.close()
