"""The errors a user can cause or meet. Their text is one line: what was got, what was expected, what to do."""


class InputError(ValueError):
    """Something the user gave cannot be used. The command line prints it and exits with 2."""


class OutputError(OSError):
    """The result cannot be written (no space, no folder, no permission)."""


class CheckpointError(InputError):
    """A model file is missing, damaged or of another kind."""


class JobError(OutputError):
    """A server did not do a job: it is out of reach, refused it, failed or was told to stop."""
