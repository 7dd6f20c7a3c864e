"""Counts of instructions: facts of the compiled library, whatever the machine's speed."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import vaelocity
from vaelocity import frozen

_LOAD = {"loads": 1, "vectors": 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "vfmadd231ps ymm3,ymm0,YMMWORD PTR [r8+0x20]",
            {"fma": 1, "loads": 1, "vectors": 1, "bytes": 32},
        ),
        ("vfmadd231ps ymm6,ymm1,ymm2", {"fma": 1}),
        ("vbroadcastss ymm2,DWORD PTR [r8]", _LOAD | {"bytes": 4}),
        ("vmovups YMMWORD PTR [rdi],ymm13", {"stores": 1}),
        ("vmovups ymm1,YMMWORD PTR [rax]", _LOAD | {"bytes": 32}),
        ("add DWORD PTR [rax],0x1", {"loads": 1, "stores": 1, "bytes": 4}),
        ("cmp DWORD PTR [rdx],eax", {"loads": 1, "bytes": 4}),
        ("nop DWORD PTR [rax+0x0]", {}),
        ("lea rax,[rdi+rsi*1]", {}),
        ("prefetcht1 BYTE PTR [rax]", {}),
    ],
)
def test_kinds(module: Callable[[str], ModuleType], text: str, expected: dict[str, int]) -> None:
    mnemonic, _, operands = text.partition(" ")
    assert module("opcodes").kinds(mnemonic, operands) == Counter(instructions=1, **expected)


def test_the_scorer_multiplies_what_it_must_and_no_more(
    module: Callable[[str], ModuleType], make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    missing = [tool for tool in ("g++", "objdump", "valgrind") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not here: {', '.join(missing)}")
    path = make_bundle([20, 12, 3])
    if vaelocity.load(path).isa not in ("avx2", "avx512"):
        pytest.skip("no AVX2")
    script = module("score")
    found = script.count(script.build(tmp_path), frozen.read("20-12-3", path))
    assert found["products"] == 2 * (20 * 12 + 12 * 3)
    # A vector of rows: a fma for every product and feature of the loss; one for the test of every
    # feature, where the last square of 8 overlaps the one before.
    assert found["rows"]["fma"] == (found["products"] + 20 + 24) / 8
    assert found["columns"]["fma"] == (found["products"] + 20 + 20) / 8
    # An event: outputs in vectors of 8, padded to 16; 3 vectors of features are tested and summed.
    assert found["event"]["fma"] == 20 * 2 + 12 * 2 + 3 * 2 + 12 * 4 + 3 + 3
    assert found["chain"] == 4 * (10 + 6 + 2 + 6)
    for case in script.ROWS:
        assert found[case]["instructions"] > found[case]["fma"] + found[case]["loads"] / 2


def test_counts_are_judged_by_what_binds_first(module: Callable[[str], ModuleType]) -> None:
    counts = module("score_counts")
    case = {"instructions": 90.0, "fma": 20.0, "loads": 30.0, "vectors": 24.0}
    found = {"products": 160, "row_bytes": 84, "chain": 40, "rows": case, "event": case}
    # At the peak 10 cycles; so many instructions take 15, loads 12, and an event's products 40.
    assert counts.limit(found, "rows") == (pytest.approx(100 * 10 / 15), "instructions")
    assert counts.limit(found, "event") == (25.0, "chain")
    assert counts.rate(found, "rows", 50.0) == 4.5
    assert "20 fma for 20 of products: at most 67 % of the peak" in counts.text(found, "rows", 50.0)
    assert counts.text(None, "rows", 50.0) == ""


def test_the_page_of_the_counts(module: Callable[[str], ModuleType]) -> None:
    case = {"instructions": 90.0, "fma": 20.0, "loads": 24.0, "vectors": 20.0, "bytes": 500.0}
    found = dict.fromkeys(("rows", "columns", "event"), case)
    results = {
        "date": "2026-01-01 00:00 UTC",
        "machine": {"cpu": "a processor", "commit": None},
        "networks": {"a network": {"products": 160, "row_bytes": 84, "chain": None, **found}},
    }
    page = module("score").markdown(results, {"a network/4096": 50.0})
    line = "| a network | rows | 20 | 20 | 24 | 500 | 84 | 90 | 67 % (instructions) | 50 % | 4.5 |"
    assert line in page.splitlines()
    assert "| 67 % (instructions) |  |  |" in page  # an event was not timed
