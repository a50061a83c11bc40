"""The same work on many things: here, or in processes of this machine (over a Ray cluster: `batch/spread.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Spread(Protocol):
    """(place among the items, result) as they are done. `work` and all that it takes and gives can be pickled."""

    def __call__(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]: ...


@dataclass(frozen=True)
class Processes:
    """Of one thread each; one is this process itself."""

    workers: int = 1

    def __call__(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        if self.workers == 1 or len(items) < 2:
            yield from ((place, work(item)) for place, item in enumerate(items))
            return
        with ProcessPoolExecutor(min(self.workers, len(items)), initializer=_alone) as pool:
            places = {pool.submit(work, item): place for place, item in enumerate(items)}
            try:
                for done in as_completed(places):
                    yield places[done], done.result()
            finally:
                pool.shutdown(cancel_futures=True)


HERE = Processes()


def _alone() -> None:
    """One thread: what computed with several before cannot do so in a fork."""
    import torch

    torch.set_num_threads(1)
