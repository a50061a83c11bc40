"""The same work on many things, over a Ray cluster: `training/footage/spread.py`'s protocol."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .cluster import Cluster, need_ray
from .waiting import rows_while_hosts

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Hosts:
    """Of the cluster at an address ("local": one of this machine alone), which see the files under the same paths."""

    address: str

    def __call__(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """(place among the items, result) as they are done. InputError: no Ray, no cluster. OutputError: no host."""
        if not items:
            return
        ray = need_ray()
        Cluster(self.address).connect(ray)

        def row(given: dict) -> dict:
            return {"place": given["place"], "result": pickle.dumps(work(pickle.loads(given["item"])))}

        try:
            rows = [{"place": place, "item": pickle.dumps(item)} for place, item in enumerate(items)]
            done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(row)
            given = rows_while_hosts(ray, done.iter_rows(), {"CPU": 1})
            yield from ((int(one["place"]), pickle.loads(one["result"])) for one in given)
        finally:
            ray.shutdown()
