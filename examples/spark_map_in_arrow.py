"""Scores of a Spark DataFrame: score_batch inside mapInArrow.

    spark-submit examples/spark_map_in_arrow.py MODEL.vael EVENTS.parquet SCORES.parquet

Every Python worker loads the model once and scores the Arrow batches that Spark hands it. Ship the
model with `--files MODEL.vael` where the workers do not share a disk. Needs pyspark and Java 17;
larger batches than Spark's 10,000 rows pay:
--conf spark.sql.execution.arrow.maxRecordsPerBatch=65536
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pyarrow as pa

import vaelocity

SCHEMA = "event long, score float, flags short"


def scoring(path: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What mapInArrow takes: an iterator of batches in, one of scores out."""

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scorer = vaelocity.load(path)
        for batch in batches:
            scored = vaelocity.score_batch(scorer, batch, columns=["event"])
            # Spark knows no unsigned byte.
            flags = scored.column("flags").cast(pa.int16())
            names = ["event", "score", "flags"]
            yield pa.record_batch([scored.column("event"), scored.column("score"), flags], names)

    return score


if __name__ == "__main__":
    from pyspark.sql import SparkSession

    model, events, scores = sys.argv[1:4]
    spark = SparkSession.builder.appName("vaelocity").getOrCreate()
    spark.read.parquet(events).mapInArrow(scoring(model), SCHEMA).write.parquet(scores)
