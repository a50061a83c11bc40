"""The errors a user can cause or meet. Their text is one line: what was got, what was expected, what to do."""

HINTS = {
    "alpha": "write .mov (ProRes 4444) or lossless .mkv",
    "no_lossless": "leave lossless out",
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


class CheckpointError(InputError):
    """A model file is missing, damaged or of another kind."""


class JobError(OutputError):
    """A server did not do a job: it is out of reach, refused it, failed or was told to stop."""
