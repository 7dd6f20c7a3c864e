"""Results of a benchmark that never ran, for the tests of pages and tables."""

from __future__ import annotations

from typing import Any

__all__ = ["results"]


def results(*cases: dict[str, Any]) -> dict[str, Any]:
    return {
        "cases": list(cases),
        "start": {"value": 0.05, "low": 0.04, "high": 0.06},
        "date": "2026-01-01 00:00 UTC",
        "machine": {
            "cpu": "a processor",
            "cpus": 2,
            "flags": ["avx2"],
            "load_average": [0.0, 0.0, 0.0],
            "system": "Linux",
            "python": "3.11",
            "packages": {"torch": "2.13.0", "openvino": None},
            "commit": None,
        },
        "peak": {"gflops": None, "why": "no C compiler found"},
        "isa": "avx2",
        "notes": "",
        "schema": 1,
    }
