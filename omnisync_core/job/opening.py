"""A job, looked at: everything that can be wrong is met here, before the work starts."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import audio as sound
from .. import media
from ..engines.protocol import Engine
from ..marks.marking import Marking
from ..timing.silence import Voice
from ..timing.timeline import Timeline, plan_timeline
from ..windows.placement import Placement
from .options import Speaker, SyncOptions
from .report import Listener, Progress
from .store import Store

TO_THE_SOUND_S_END = ("bounce", "loop", "freeze", "remap")
"""Policies by which the result is as long as the sound."""
SPARE = 60.0
"""Seconds of sound beyond the video's end that are still looked at: what is heard there shapes what is heard before."""
FRAMES_A_REPORT = 100
"""After how many frames a listener hears of a video that is being opened."""


@dataclass(frozen=True)
class Job:
    """What is asked, the files that it is asked of, and who listens."""

    part: media.Part
    video: media.VideoInfo
    audio: Path
    output: Path
    engine: Engine
    options: SyncOptions
    speakers: tuple[Speaker, ...]
    voices: tuple[Voice, ...]
    """One per speaker."""
    timeline: Timeline
    whole: Timeline
    """As `timeline`, had no preview been asked for."""
    warnings: tuple[str, ...]
    marking: Marking
    seconds_per_frame: float
    """Time to decode one."""
    tell: Listener


@dataclass(frozen=True)
class Role:
    """One speaker: the sound, where its edits lie, and what is finished of them."""

    voice: Voice
    placement: Placement
    store: Store


def open_job(
    part: media.Part,
    audio: Path,
    output: Path,
    engine: Engine,
    options: SyncOptions,
    speakers: Sequence[Speaker],
    tell: Listener,
    known: media.VideoInfo | None = None,
) -> Job:
    """Look at the files, but for what is `known` of the video. InputError, OutputError."""
    began = time.monotonic()

    def on_frame(count: int) -> None:
        if count % FRAMES_A_REPORT == 0:
            tell(Progress("opening", count, 0))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        info = known or media.probe_video(part, on_frame)
    media.check_output(output, part.path, audio, lossless=options.lossless)
    marking = Marking(options.marks, output, lossless=options.lossless)
    decoding = (time.monotonic() - began) / (info.frame_count + len(info.before_N))
    until = _sound_needed(info, options)
    heard = sound.SpeechWave(audio, until)
    whole = plan_timeline(info.times_N, heard.duration, options.length, None)
    shown = plan_timeline(info.times_N, heard.duration, options.length, options.preview_seconds)
    notes = [str(warning.message) for warning in caught]
    if options.preview_seconds is None:
        notes += _other_length(heard, shown.end)
    cast = tuple(speakers) or (Speaker(audio, options.mouth),)
    waves = [sound.SpeechWave(speaker.audio, until) for speaker in speakers] or [heard]
    voices = tuple(Voice(wave, shown.end) for wave in waves)
    return Job(
        part, info, audio, output, engine, options, cast, voices, shown, whole, tuple(notes), marking, decoding, tell
    )


def _sound_needed(video: media.VideoInfo, options: SyncOptions) -> float | None:
    """Seconds of sound that can decide anything; None where the result is as long as the sound."""
    if options.length in TO_THE_SOUND_S_END:
        return None
    return plan_timeline(video.times_N, 0.0).end + SPARE


def _other_length(heard: sound.SpeechWave, result_seconds: float) -> Iterator[str]:
    if abs(heard.duration - result_seconds) > 0.5:
        lasts = f"lasts {'more than ' if heard.goes_on else ''}{heard.duration:.2f} s"
        comes = "is cut" if heard.duration > result_seconds else "is followed by silence"
        yield f"the sound {lasts}, the result {result_seconds:.2f} s: it {comes}"
