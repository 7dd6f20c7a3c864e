"""What was promised of the scorer's speed, judged on results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import score_counts
from score_plan import ENCODER, IMAGES, JETS, L1, STUDENT, TELEMETRY

from vaelocity.benchmark.one_event import READING
from vaelocity.benchmark.pages import ratio_text
from vaelocity.benchmark.race import OURS

START_SECONDS = 0.3
PEAK = {JETS: 85.0, L1: 80.0, ENCODER: 80.0, STUDENT: 80.0, TELEMETRY: 80.0}
"""Per cent of the measured peak at 4,096 rows, of the networks whose weights fit in L2."""
EVENT = {JETS: 15.0, L1: 40.0, ENCODER: 80.0}
"""How many times ONNX Runtime, for one event through the C ABI."""
TAIL = 3.0
"""p99.9 over p50."""

Found = dict[str, Any]
Case = Mapping[str, Any]


def judge(results: Mapping[str, Any], counts: Mapping[str, score_counts.Found]) -> list[Found]:
    """name, wanted, measured, met, why of every requirement whose case was run. counts: see
    `score_counts.read`."""
    cases = {case["id"]: case for case in results["cases"]}
    found = [
        *_batches(cases),
        *_peaks(cases, counts),
        *_events(cases, counts),
        *_tails(results.get("latencies", {})),
        *_images(cases, counts),
    ]
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


def _batches(cases: Mapping[str, Case]) -> Iterator[Found]:
    wanted = [
        (4096, "", "all", 1.1, "4,096 rows: the best peer"),
        (4096, "torch eager", "plain", 3.0, "4,096 rows: torch eager, as one writes it"),
        (65536, "", "whole", 1.25, "65,536 rows: the best peer, given all rows at once"),
        (65536, "", "all", 1.25, "65,536 rows: the best peer, called by hand in its best blocks"),
        (1, "onnxruntime", "all", 5.0, "one row: onnxruntime"),
    ]
    for n, peer, ways, factor, name in wanted:
        if case := cases.get(f"{JETS}/{n}"):
            rival = _rival(case["entries"], peer, ways)
            yield {"name": name, **speed(case, rival, factor)}
    if case := cases.get(f"{JETS}/4096/columns"):
        rows = next(e for e in case["entries"] if e["way"] == "score(rows, out)")
        yield {"name": "4,096 rows as columns: the same as rows", **speed(case, rows, 1.0)}
    for case in cases.values():
        if case["id"].endswith("/threads"):
            _, two = case["entries"][:2]
            times = _inverse(two["speedup"])
            yield {
                "name": f"{case['title']}: two threads",
                **_at_least(times, 1.9, "x", "memory and caches are shared"),
            }


def _peaks(cases: Mapping[str, Case], counts: Mapping[str, score_counts.Found]) -> Iterator[Found]:
    for name, wanted in PEAK.items():
        here, far = cases.get(f"{name}/4096"), cases.get(f"{name}/far")
        if here is None or (reached := here["entries"][0]["percent_of_peak"]) is None:
            continue
        yield {
            "name": f"{name}, 4,096 rows: part of this core's peak",
            "wanted": f">= {wanted:g} %",
            "measured": f"{reached:.1f} %",
            "met": reached >= wanted,
            "why": score_counts.text(counts.get(name), "rows", reached)
            or "the products of the layers alone are counted",
        }
        if far is not None:
            memory = far["entries"][0].get("percent_of_bandwidth", 0.0)
            why = f"reads {memory:.0f} % of what a core reads from memory"
            yield {
                "name": f"{name}, 65,536 rows: of the rate at 4,096",
                **_at_least(far["entries"][1]["speedup"], 0.9, "x", why),
            }


def _events(cases: Mapping[str, Case], counts: Mapping[str, score_counts.Found]) -> Iterator[Found]:
    for name, factor in EVENT.items():
        if case := cases.get(f"{name}/event"):
            for peer in ("onnxruntime", "onnxruntime, C API"):
                rival = _rival(case["entries"], peer, "all")
                what = f"{name}, one event through the C ABI: {peer}"
                why = f"{_reading(case)}; {_event_counts(case, counts.get(name))}".strip("; ")
                yield {"name": what, **speed(case, rival, factor), "why": why}


def _event_counts(case: Case, found: score_counts.Found | None) -> str:
    reached = case["entries"][0]["percent_of_peak"]
    return "" if reached is None else score_counts.text(found, "event", reached)


def _reading(case: Case) -> str:
    """How far an event is from reading the weights once."""
    read = next(e for e in case["entries"] if e["name"] == READING)
    ours = case["entries"][0]
    if read["seconds"] is None or ours["seconds"] is None:
        return ""
    times = ours["seconds"]["value"] / read["seconds"]["value"]
    return f"{times:.1f} times what reading its weights takes ({read['way']})"


def _tails(latencies: Mapping[str, Any]) -> Iterator[Found]:
    for name, found in latencies.items():
        if "why" in found:
            continue
        warm = found["warm"]
        times = warm["p99.9"] / warm["p50"]
        yield {
            "name": f"{name}, {warm['calls']:,} events: p99.9 over p50",
            "wanted": f"<= {TAIL:g} x",
            "measured": f"{times:.2f} x",
            "met": times <= TAIL,
            "why": f"p50 {warm['p50']:.0f} ns, p99.9 {warm['p99.9']:.0f} ns",
        }


def _images(cases: Mapping[str, Case], counts: Mapping[str, score_counts.Found]) -> Iterator[Found]:
    for name in IMAGES:
        if case := cases.get(f"{name}/1"):
            rival = _rival(case["entries"], "onnxruntime", "all")
            found = {"name": f"{name}, one row: onnxruntime", **speed(case, rival, 3.0)}
            if counted := _event_counts(case, counts.get(name)):
                found["why"] += f"; {counted}"
            yield found
        if case := cases.get(f"{name}/4096"):
            rival = _rival(case["entries"], "", "all")
            yield {"name": f"{name}, 4,096 rows: the best peer", **speed(case, rival, 1.0)}


def _rival(entries: Sequence[Mapping[str, Any]], peer: str, ways: str) -> Mapping[str, Any] | None:
    """The fastest timed entry of a peer ("": of any) that counts in comparisons.

    ways: "plain", its first one; "whole", those given all rows at once; "all".
    """
    timed = [e for e in entries if e["speedup"] and not e["information"]]
    # Ours in other ways (an instruction set, bfloat16 weights) are no peers.
    timed = [e for e in timed if e["name"] == peer or (not peer and not e["name"].startswith(OURS))]
    if ways == "plain":
        timed = timed[:1]
    if ways == "whole":
        timed = [e for e in timed if not e["blocks"]]
    return min(timed, key=lambda e: float(e["speedup"]["value"]), default=None)


def speed(case: Case, rival: Mapping[str, Any] | None, factor: float) -> Found:
    """wanted, measured, met, why: met where the whole confidence interval is at least `factor`."""
    if rival is None:
        wanted = {"wanted": f">= {factor:g} x"}
        return {**wanted, "measured": "nothing to compare with", "met": False, "why": "no peer"}
    found = _at_least(rival["speedup"], factor, "x", f"{rival['name']}, {rival['way']}")
    if bound := "" if found["met"] else _bound(case, rival, factor):
        found["why"] += f"; {bound}"
    return found


def _at_least(ratio: Mapping[str, float], factor: float, unit: str, why: str) -> Found:
    return {
        "wanted": f">= {factor:g} {unit}",
        "measured": f"{ratio_text(ratio)} {unit}",
        "met": ratio["low"] >= factor,
        "why": why,
    }


def _inverse(ratio: Mapping[str, float]) -> dict[str, float]:
    return {"value": 1 / ratio["value"], "low": 1 / ratio["high"], "high": 1 / ratio["low"]}


def _bound(case: Case, rival: Mapping[str, Any], factor: float) -> str:
    """What a scorer at the peak of the machine would reach, where that was measured."""
    ours = case["entries"][0]["percent_of_peak"]
    if ours is None or not rival["percent_of_peak"]:
        return ""
    bound = 100 / rival["percent_of_peak"]
    text = f"at 100 % of this core's peak it would be {bound:.2f} x (measured at {ours:.0f} %)"
    return f"out of reach here: {text}" if bound < factor else text
