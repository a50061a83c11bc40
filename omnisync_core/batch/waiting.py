"""Rows of a Ray dataset as they come, unless no host is left that could make one: Ray itself waits for ever."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from ..errors import OutputError

PATIENCE_SECONDS = 300.0
"""Without a host that could hold one worker: a machine that is started again is back by then."""
LOOK_SECONDS = 5.0
"""Between two looks at the cluster while nothing comes."""


def rows_while_hosts(
    ray: ModuleType, rows: Iterable[dict[str, Any]], needs: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    """The rows, in their order; what goes wrong with them is raised. `needs`: what one worker takes, by Ray's names.

    OutputError: for `PATIENCE_SECONDS` no living host had that much, be it in use or free.
    """
    found: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_fetch, args=(rows, found), daemon=True).start()
    seen = time.monotonic()
    while True:
        try:
            kind, value = found.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            if has_room(ray.nodes(), needs):
                seen = time.monotonic()
            elif time.monotonic() - seen > PATIENCE_SECONDS:
                wanted = ", ".join(f"{amount:g} {name}" for name, amount in needs.items())
                raise OutputError(
                    f"no living host of the cluster had {wanted} for {PATIENCE_SECONDS:g} s: start one again; "
                    "the same command goes on"
                ) from None
            continue
        if kind == "end":
            return
        if kind == "error":
            raise value
        seen = time.monotonic()
        yield value


def has_room(nodes: Iterable[Mapping[str, Any]], needs: Mapping[str, float]) -> bool:
    """Whether a living host is large enough for one worker, by what `ray.nodes()` says."""
    return any(
        node["Alive"] and all(node["Resources"].get(name, 0) >= amount for name, amount in needs.items())
        for node in nodes
    )


def _fetch(rows: Iterable[dict[str, Any]], found: queue.SimpleQueue) -> None:
    try:
        for row in rows:
            found.put(("row", row))
    except BaseException as error:  # raised where the rows are asked for
        found.put(("error", error))
    else:
        found.put(("end", None))
