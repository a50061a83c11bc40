"""Several people on the command line: each a sound and a point; what is heard is mixed where nothing else is given."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..audio import mix_files
from ..errors import InputError
from .options import Speaker

Given = Sequence[tuple[Path, tuple[float, ...]]]
"""A sound and a point (x, y[, width]) for every speaker."""


def read_cast(given: Given, audio: Path | None, mouth: Any, shown: Path | None) -> list[Speaker]:
    """The speakers. InputError: no sound at all, or one mouth (`mouth`, `shown`) beside theirs."""
    if not given and audio is None:
        raise InputError("there is no sound: give --audio, or one --speaker SOUND@X,Y for every mouth")
    for name, is_given in (("mouth", mouth != "auto"), ("show-mouth", shown is not None)):
        if given and is_given:
            raise InputError(f"--{name} is for one mouth; every --speaker has a point of its own")
    return [Speaker(sound, point) for sound, point in given]


@contextmanager
def heard(audio: Path | None, speakers: Sequence[Speaker]) -> Iterator[Path]:
    """The sound of the result: `audio`, else what the speakers say, mixed."""
    if audio is not None:
        yield audio
        return
    with tempfile.TemporaryDirectory() as folder:
        yield mix_files([Path(who.audio) for who in speakers], Path(folder) / "mixed.wav")
