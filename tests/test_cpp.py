"""The C++ library's own tests, plain and under the address and undefined-behaviour sanitizers, and
the rules its sources keep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from building import ROOT, run

from vaelocity import _core


@pytest.mark.parametrize("isa", _core.available_isas())
def test_vector_maths_is_accurate_and_the_same_on_every_instruction_set(
    plain: Path, isa: str
) -> None:
    run(plain / "tests" / "cpp" / f"test_math_{isa}")


def test_scores_do_not_depend_on_batch_stride_layout_or_isa_and_nothing_is_allocated(
    plain: Path, bundles: list[Path]
) -> None:
    out = run(plain / "tests" / "cpp" / "test_score", *bundles)
    assert "0 failures, allocations counted" in out


def test_the_latency_tool_prints_what_its_calls_support(plain: Path, bundles: list[Path]) -> None:
    found = json.loads(run(plain / "vaelocity_latency", bundles[1], "1000", "mu2"))
    assert found["kind"] == "mu2"
    for case in ("warm", "denormal", "idle", "cold"):
        assert found[case]["p99.9"] is None
        assert 0 <= found[case]["p50"] <= found[case]["max"]


def test_no_byte_beyond_a_row_is_read_and_no_behaviour_undefined(
    sanitized: Path, few_bundles: list[Path]
) -> None:
    out = run(sanitized / "tests" / "cpp" / "test_score", *few_bundles)
    assert "0 failures" in out


def test_histogram_counts_in_the_right_bins_without_allocating(
    plain: Path, sanitized: Path
) -> None:
    assert "0 failures, allocations counted" in run(plain / "tests" / "cpp" / "test_histogram")
    assert "0 failures" in run(sanitized / "tests" / "cpp" / "test_histogram")


def test_ops_give_the_same_bits_on_every_instruction_set(plain: Path) -> None:
    assert "0 failures" in run(plain / "tests" / "cpp" / "test_ops")


def test_ops_touch_nothing_beyond_their_rows(sanitized: Path) -> None:
    assert "0 failures" in run(sanitized / "tests" / "cpp" / "test_ops")


def test_units_of_an_instruction_set_export_one_table_and_nothing_a_linker_could_share(
    plain: Path,
) -> None:
    """A weak symbol outside its own namespace could replace the one older machines run."""
    isas = ("avx512_bf16", "avx512", "avx2", "neon", "generic")
    objects = [
        (isa, unit) for isa in isas for unit in plain.glob(f"CMakeFiles/vaelocity_{isa}.dir/**/*.o")
    ]
    assert {isa for isa, _ in objects} >= set(_core.available_isas())
    for isa, unit in objects:
        for line in run("nm", "-C", "--defined-only", unit).splitlines():
            _, kind, name = line.split(maxsplit=2)
            if kind in "tTrRdDbB" and kind.islower():
                continue
            assert f"vael::{isa}::" in name or name.endswith(f"_{isa}"), (unit.name, line)


def test_the_border_holds() -> None:
    """No Python and no torch outside csrc/bind; no C++ library header where an ISA is compiled."""
    for path in (ROOT / "csrc").rglob("*"):
        if path.suffix not in {".h", ".hpp", ".cpp"}:
            continue
        includes = [line for line in path.read_text().splitlines() if line.startswith("#include")]
        where = path.relative_to(ROOT / "csrc").as_posix()
        if not where.startswith("bind/"):
            assert not [i for i in includes if "pybind11" in i or "torch" in i or "Python" in i], (
                where
            )
        if where.startswith(("src/simd/", "src/score/kernels/", "src/ops/", "src/fixed/")):
            system = [i for i in includes if "<" in i]
            assert all(i.endswith(".h>") for i in system), (where, system)
