"""Beyond one machine: batch farms that share out files (shards.py, merge.py), and Ray (ray.py).

What every engine calls is vaelocity.score_batch.
"""
