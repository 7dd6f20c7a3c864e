"""What was promised of the scorer's speed, judged on results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vaelocity.benchmark.pages import ratio_text

NETWORK = "59-64-32-16-32-64-59"
START_SECONDS = 0.3


def judge(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """name, wanted, measured, met, why of every requirement whose case was run."""
    cases = {case["id"]: case for case in results["cases"]}
    wanted = [
        (4096, "", "all", 1.1, "4,096 rows: the best peer"),
        (4096, "torch eager", "plain", 3.0, "4,096 rows: torch eager, as one writes it"),
        (65536, "", "whole", 1.25, "65,536 rows: the best peer, given all rows at once"),
        (65536, "", "all", 1.25, "65,536 rows: the best peer, called by hand in its best blocks"),
        (1, "onnxruntime", "all", 5.0, "one row: onnxruntime"),
    ]
    found = []
    for n, peer, ways, factor, name in wanted:
        if case := cases.get(f"{NETWORK}/{n}"):
            rival = _rival(case["entries"], peer, ways)
            found.append({"name": name, **speed(case, rival, factor)})
    start = results["start"]
    found.append(
        {
            "name": "import, load, first score, without torch: CPU beyond `import numpy`",
            "wanted": f"< {START_SECONDS} s",
            "measured": ratio_text(start) + " s",
            "met": start["high"] < START_SECONDS,
            "why": "",
        }
    )
    return found


def _rival(entries: Sequence[Mapping[str, Any]], peer: str, ways: str) -> Mapping[str, Any] | None:
    """The fastest timed entry of a peer ("": of any) that counts in comparisons.

    ways: "plain", its first one; "whole", those given all rows at once; "all".
    """
    timed = [e for e in entries if e["speedup"] and not e["information"]]
    timed = [e for e in timed if peer in ("", e["name"])]
    if ways == "plain":
        timed = timed[:1]
    if ways == "whole":
        timed = [e for e in timed if not e["blocks"]]
    return min(timed, key=lambda e: float(e["speedup"]["value"]), default=None)


def speed(
    case: Mapping[str, Any], rival: Mapping[str, Any] | None, factor: float
) -> dict[str, Any]:
    """wanted, measured, met, why: met where the whole confidence interval is at least `factor`."""
    wanted = {"wanted": f">= {factor:g} x"}
    if rival is None:
        return {**wanted, "measured": "nothing to compare with", "met": False, "why": "no peer"}
    met = rival["speedup"]["low"] >= factor
    way = f"{rival['name']}, {rival['way']}"
    bound = "" if met else _bound(case, rival, factor)
    why = f"{way}; {bound}" if bound else way
    return {**wanted, "measured": f"{ratio_text(rival['speedup'])} x", "met": met, "why": why}


def _bound(case: Mapping[str, Any], rival: Mapping[str, Any], factor: float) -> str:
    """What a scorer at the peak of the machine would reach, where that was measured."""
    ours = case["entries"][0]["percent_of_peak"]
    if ours is None:
        return ""
    bound = 100 / rival["percent_of_peak"]
    text = f"at 100 % of this core's peak it would be {bound:.2f} x (measured at {ours:.0f} %)"
    return f"out of reach here: {text}" if bound < factor else text
