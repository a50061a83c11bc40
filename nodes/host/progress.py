"""A job's progress on the host's bar, and the host's cancel inside it."""

from __future__ import annotations

import logging

import comfy.model_management as memory
import comfy.utils

from ...omnisync_core.engines.protocol import Engine
from ...omnisync_core.job.report import Progress

PARTS = {"opening": (0, 0), "reading": (0, 40), "planned": (40, 40), "editing": (40, 960), "writing": (960, 1000)}
"""Which thousandths of the bar a stage fills."""


class JobBar:
    """The core's `Listener`: one bar over the whole job, in which steps of windows fill most.

    Raises the host's InterruptProcessingException, which is a BaseException: the core leaves the job to be resumed.
    """

    def __init__(self, engine: Engine):
        self._preview = engine.preview
        self._bar = comfy.utils.ProgressBar(1000)

    def __call__(self, progress: Progress) -> None:
        memory.throw_exception_if_processing_interrupted()
        if progress.plan is not None:
            logging.info("OmniSync: %s", progress.plan)
        start, stop = PARTS[progress.stage]
        value = start + round((stop - start) * progress.done / max(1, progress.total))
        self._bar.update_absolute(value, 1000, self._preview() if progress.stage == "editing" else None)
