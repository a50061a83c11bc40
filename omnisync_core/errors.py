"""The errors a user can cause or meet. Their text is one line: what was got, what was expected, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

HINTS = {
    "alpha": "write .mov (ProRes 4444) or lossless .mkv",
    "no_lossless": "leave lossless out",
    "point": "point there, or give the width of yours too (--mouth X,Y,WIDTH)",
    "resume": "go on with --resume, or delete that folder to start over",
}
"""What to do, in the words of files and the command line; another surface words a hint by its code."""


class InputError(ValueError):
    """Something the user gave cannot be used. The command line prints it and exits with 2.

    `hint` is the code of what to do (see `HINTS`) where each surface says that in its own words; `problem` is the rest.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(f"{problem}: {HINTS[hint]}" if hint else problem)
        self.problem, self.hint = problem, hint


class NoSoundError(InputError):
    """A file has no sound track, or one without a single sample."""


class OutputError(OSError):
    """The result cannot be written (no space, no folder, no permission)."""


class NoMouthHereError(InputError):
    """Nothing like a mouth is seen where the user points, and surely one is elsewhere; holds what a picture needs."""

    def __init__(
        self, problem: str, rgb_HWC: np.ndarray, point: tuple[float, float],
        seen: Sequence[tuple[float, float, float, float]],
    ) -> None:  # fmt: skip
        """rgb: the frame, uint8. point: x, y in its pixels. seen: x, y, width (pixels) and confidence, surest first."""
        super().__init__(problem, "point")
        self.rgb_HWC, self.point, self.seen = rgb_HWC, point, tuple(seen)


class CheckpointError(InputError):
    """A model file is missing, damaged or of another kind."""


class JobError(OutputError):
    """A server did not do a job: it is out of reach, refused it, failed or was told to stop."""
