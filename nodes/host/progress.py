"""A job's progress on the host's bar, and the host's cancel inside it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import comfy.model_management as memory
import comfy.utils

from ...omnisync_core.job.report import Progress

PARTS = {"opening": (0, 0), "reading": (0, 40), "planned": (40, 40), "editing": (40, 960), "writing": (960, 1000)}
"""Which thousandths of the bar a stage of a lip sync fills."""
LEARNING_PARTS = {"reading": (0, 50), "changing": (0, 350), "learning": (0, 1000)}
"""The same where a speaker is learned: the last two tell of the time since the start. The bar never goes back."""


class JobBar:
    """The core's `Listener`: one bar over the whole job, in which steps of windows fill most.

    Raises the host's InterruptProcessingException, which is a BaseException: the core leaves the job to be resumed.
    """

    def __init__(
        self, preview: Callable[[], tuple | None] = lambda: None, parts: Mapping[str, tuple[int, int]] = PARTS
    ) -> None:
        self._preview, self._parts = preview, parts
        self._bar, self._reached, self._shown = comfy.utils.ProgressBar(1000), 0, None

    def __call__(self, progress: Progress) -> None:
        memory.throw_exception_if_processing_interrupted()
        if progress.plan is not None:
            logging.info("OmniSync: %s", progress.plan)
        start, stop = self._parts[progress.stage]
        value = start + round((stop - start) * progress.done / max(1, progress.total))
        self._reached = max(self._reached, value)
        self._bar.update_absolute(self._reached, 1000, self._new_picture(progress.stage in ("editing", "writing")))

    def _new_picture(self, is_of_the_job: bool) -> tuple | None:
        """A picture that was not shown yet. What lies there before the edit is the estimate's, of grey frames."""
        latest, before = self._preview(), self._shown
        self._shown = latest
        return latest if is_of_the_job and latest is not before else None
