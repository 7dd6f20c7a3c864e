"""README's tour: every block of it runs, in its order, or there is a reason why not."""

from __future__ import annotations

from pathlib import Path

import documents
import pytest

pytest.importorskip("typer", reason="needs the extra vaelocity[cli]")
pytest.importorskip("torch", reason="needs the extra vaelocity[train]")
pytest.importorskip("confluent_kafka", reason="needs the extra vaelocity[stream]")

README = Path(__file__).parents[1] / "README.md"
LEFT_OUT = {
    "make demo": "runs for two minutes; tests/cli/test_program.py runs the demo with --quick",
    "find_package(vaelocity": "tests/consumer is built with it in tests/test_cpp.py",
    "vael_load_file(": "a part of a program; tests/consumer/main.c is a whole one",
}


def test_readme(tmp_path: Path) -> None:
    documents.make_data(tmp_path, 400_000)
    seen = set()
    for block in documents.blocks(README):
        reason = next((text for text in LEFT_OUT if text in block.text), None)
        if reason is not None:
            seen.add(reason)
        elif "kafka://HOST:9092" in block.text:
            _with_kafka(block, tmp_path)
        else:
            documents.run(block, tmp_path)
    assert seen == set(LEFT_OUT), "a reason that no block needs any more"


def _with_kafka(block: documents.Block, folder: Path) -> None:
    """The block with the address of librdkafka's mock cluster."""
    from confluent_kafka import Producer

    cluster = Producer({"test.mock.num.brokers": 1})
    broker = next(iter(cluster.list_topics(timeout=10).brokers.values()))
    text = block.text.replace("HOST:9092", f"{broker.host}:{broker.port}")
    documents.run(documents.Block(block.language, text, block.line), folder)
