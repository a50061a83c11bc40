"""Benches for tests: a metric that costs nothing, and a run that tells nothing."""

import numpy as np

from omnisync_core.bench.measure import Measure, Taken, Taking
from omnisync_core.bench.run import run


class Brightness(Measure):
    """The mean level of the result, and of the source as the floor."""

    seen: list

    def __init__(self, seen):
        self.seen = seen

    def begin(self, clip):
        self.seen.append(clip.row.id)
        return Levels()


class Levels(Taking):
    def __init__(self):
        self.levels, self.real = [], []

    def see(self, moment):
        self.levels.append(moment.result.mean())
        self.real.append(moment.source.mean())

    def finish(self):
        rows = [[level, level % 7] for level in self.levels], [[level, level % 7] for level in self.real]
        features = {f"fvd_{kind}": np.array(values) for kind, values in zip(("result", "real"), rows, strict=True)}
        return Taken({"lmd": float(np.mean(self.levels))}, features=features)


def quiet(line):
    """Benches tell their progress."""


def bench_of(clips, engine="source", metrics=("lmd", "csim"), **settings):
    return run(clips / "list.csv", engine, clips / "out", metrics=metrics, say=settings.pop("say", quiet), **settings)


def states(records):
    return [(record["id"], record["state"], record["reason"]) for record in records]
