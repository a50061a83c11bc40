"""The same work on many things: here, in processes of this machine, or over a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")


@dataclass(frozen=True)
class Spread:
    """`address`: of a Ray cluster, whose hosts see the files under the same paths; then `workers` is not asked."""

    workers: int = 1
    address: str | None = None

    def __call__(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """(place among the items, result) as they are done. `work` and all it takes can be pickled."""
        if self.address is not None:
            yield from _over_ray(work, items, self.address)
        elif self.workers == 1 or len(items) < 2:
            yield from ((place, work(item)) for place, item in enumerate(items))
        else:
            yield from self._in_processes(work, items)

    def _in_processes(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        threads = max(1, (os.cpu_count() or 1) // self.workers)
        # Not forked: what computed with threads before cannot do so in a fork.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.workers, context, _use_threads, (threads,)) as pool:
            places: dict[Future[Result], int] = {pool.submit(work, item): place for place, item in enumerate(items)}
            try:
                for done in as_completed(places):
                    yield places[done], done.result()
            finally:
                pool.shutdown(cancel_futures=True)


HERE = Spread()


def _use_threads(count: int) -> None:
    """Of a process that has not imported torch yet."""
    os.environ["OMP_NUM_THREADS"] = str(count)


def _over_ray(work: Callable[[Item], Result], items: Sequence[Item], address: str) -> Iterator[tuple[int, Result]]:
    from ...batch.cluster import connect, need_ray

    ray = need_ray()
    connect(ray, address)

    def row(given: dict) -> dict:
        return {"place": given["place"], "result": pickle.dumps(work(pickle.loads(given["item"])))}

    try:
        rows = [{"place": place, "item": pickle.dumps(item)} for place, item in enumerate(items)]
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(row)
        yield from ((int(one["place"]), pickle.loads(one["result"])) for one in done.iter_rows())
    finally:
        ray.shutdown()
