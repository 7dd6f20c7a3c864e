"""One family on one set with one seed: its scores, trained for only where they are not kept yet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import adbench
import jet_classes
from families import FAMILIES, texts, trained_alike
from kept_scores import Kept, KeptScores
from side_by_side import side_by_side
from task import Task


@dataclass(frozen=True)
class Job:
    """protocol: semi_supervised, unsupervised or jets; data: the set; name: of the family."""

    protocol: str
    data: str
    name: str
    seed: int

    @property
    def key(self) -> str:
        """Of its scores."""
        return f"{self.protocol}-{self.data}-{self.name}-{self.seed}"

    def task(self) -> Task:
        """Its rows."""
        if self.protocol == "jets":
            return jet_classes.task(self.seed)
        return adbench.task(self.data, self.protocol, self.seed)


def found(kept: KeptScores, job: Job) -> Kept | None:
    """Its scores, if they are kept."""
    return kept.get(job.key, texts()[job.name])


def scored(kept: KeptScores, job: Job, task: Task) -> Kept:
    """Its scores. Other families that are scores of the same model are kept with them: the model is
    trained once, and its training counted with `job`."""
    here = found(kept, job)
    if here is not None:
        return here
    start = time.perf_counter()
    model = FAMILIES[job.name].train(task, job.seed)
    for name in trained_alike(job.name):
        each = replace(job, name=name)
        if found(kept, each) is not None:
            continue
        scores = FAMILIES[name].score(model, task)
        done = kept.put(each.key, texts()[name], scores, time.perf_counter() - start)
        here = here or done
        start = time.perf_counter()
    assert here is not None  # a family is trained alike with itself, which comes first
    return here


def train_side_by_side(kept: KeptScores, jobs: Sequence[Job], processes: int) -> None:
    """Keep the scores of all jobs, in this order as far as `processes` have room, one thread each.
    A training that fails stops none of the others, and is raised at the end."""
    trainings: dict[tuple[object, ...], Job] = {}
    for job in jobs:
        if found(kept, job) is None:
            text = FAMILIES[job.name].training_text()
            trainings.setdefault((job.protocol, job.data, job.seed, text), job)
    done = side_by_side(partial(_keep, kept), list(trainings.values()), processes)
    for count, (job, seconds) in enumerate(done, 1):
        print(f"{count}/{len(trainings)} {job.key}: {seconds:.1f} s", flush=True)


def _keep(kept: KeptScores, job: Job) -> float:
    return scored(kept, job, job.task()).seconds
