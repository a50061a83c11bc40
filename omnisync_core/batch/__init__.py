"""Many clips: rows in, and for each a row of outcome and at most one file, however often it is stopped.

`run_batch` is the way in; `clip.edit_clip` is what any worker does with one row.
"""

from .clip import Task, edit_clip
from .outcome import Outcome, write_results
from .plan import ModelChoice, plan_tasks
from .run import run_batch

__all__ = ["ModelChoice", "Outcome", "Task", "edit_clip", "plan_tasks", "run_batch", "write_results"]
