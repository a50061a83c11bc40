"""A node's loop over frames: the progress bar and the stop button."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import comfy.model_management as memory
import comfy.utils


def counted(items: Iterable, total: int | None) -> Iterator:
    """The items one by one; raises the host's interruption between two. `total` None shows no bar."""
    bar = comfy.utils.ProgressBar(total) if total else None
    for item in items:
        memory.throw_exception_if_processing_interrupted()
        yield item
        if bar:
            bar.update(1)
