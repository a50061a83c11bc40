"""The next frame is made while this one is used: decoding and filters run outside the interpreter's lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """`items` in order, each made in a thread of its own while the one before is used; errors come at their place."""
    waiting, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        asked = pool.submit(next, waiting, end)
        while (item := asked.result()) is not end:
            asked = pool.submit(next, waiting, end)
            yield item  # type: ignore[misc]  # `end` is no Item, and has ended the loop
