"""What cancelled and crashed jobs left: listed, and removed on demand."""

from __future__ import annotations

import time

from comfy_api.latest import io, ui

from .types import finite

OLDEST = 3650.0


class CleanUnfinishedNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="OmniSyncCleanUnfinished",
            display_name="Clean Unfinished Jobs",
            category="OmniSync",
            description="Lists the jobs of Lip Sync Video that were stopped and can go on, with their size, and "
            "removes them. A job that runs is never removed.",
            search_aliases=["omnisync", "free disk space", "delete", "resume", "omnisync_unfinished"],
            is_output_node=True,
            inputs=[
                io.Boolean.Input(
                    "remove", default=False, tooltip="Remove them; off only lists. What is removed starts over."
                ),
                io.Float.Input(
                    "older_than_days", default=0.0, min=0.0, max=OLDEST, step=1.0,
                    tooltip="Only jobs to which nothing was written for so long; 0 is all.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "report", display_name="report", tooltip="The list: folder, size, when it was last written to."
                )
            ],
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, **_) -> float:
        return time.time()

    @classmethod
    def execute(cls, remove, older_than_days) -> io.NodeOutput:
        text = clean(remove, finite("older_than_days", older_than_days, 0, OLDEST))
        return io.NodeOutput(text, ui=ui.PreviewText(text))


def clean(remove: bool, days: float) -> str:
    """What lies in the folder of unfinished jobs, line by line, and what was removed of it."""
    from ..omnisync_core.job import unfinished
    from ..omnisync_core.job.report import size
    from .host.video import unfinished_folder

    lines, freed = [], 0
    for job in unfinished.unfinished(unfinished_folder()):
        state = "running" if job.is_running else "kept"
        if remove and job.days >= days and unfinished.remove(job):
            state, freed = "removed", freed + job.size
        lines.append(f"{job.folder.name}: {job.windows} windows, {size(job.size)}, {job.days:.1f} days old, {state}")
    if not lines:
        return "no unfinished jobs"
    return "\n".join([*lines, f"{size(freed)} freed" if remove else "nothing was removed: switch remove on"])
