"""A video and a sound in; the same video out, its mouth saying the sound.

Three passes over the video, none of which holds more than a window of frames: find the mouth; edit windows of crops,
each safe on disk as soon as it is done; put the edits back on the source's own planes and encode once.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import audio as sound
from . import media, mouth
from .engines.protocol import Engine, OnStep, Speech
from .errors import InputError
from .job.manifest import manifest
from .job.opening import Job, Role, open_job
from .job.options import Speaker, SyncOptions
from .job.report import Listener, Progress, Report
from .job.store import Store
from .job.summary import check_space, edited_V, plan_of, report_of
from .mouth.looks import fitted_track, hearing, small_frames
from .timing.playback import play
from .timing.silence import GatedWave, Voice
from .windows.composite import Compositor
from .windows.editing import BothSounds, Editor
from .windows.placement import Placement


def sync_video(
    video: str | os.PathLike | media.Part,
    audio: str | os.PathLike,
    output: str | os.PathLike,
    engine: Engine,
    options: SyncOptions = SyncOptions(),  # noqa: B008 - frozen
    progress: Listener | None = None,
    *,
    speakers: Sequence[Speaker] = (),
    state: str | os.PathLike | None = None,
) -> Report:
    """Write `output`: `video` (a file or a part of one) with its mouth edited to say `audio`, and with that sound.

    With `speakers` each of their mouths says its own sound, and `audio` is only what is heard (and how long).
    Finished windows are kept in the folder `<output>.omnisync` until the result is whole, or with `state` in a folder
    in there that is named by the job. Whatever stops the job (also an exception raised by `progress`), the same call
    with `options.resume` goes on from there and gives the same bytes. One job at a time works on an output. Raises
    InputError and OutputError.
    """
    began, tell = time.monotonic(), progress or (lambda _: None)
    with _opened(video, audio, output, engine, options, speakers, tell, state=state) as (job, store):
        roles = [_cast(job, number, store.of_speaker(number)) for number in range(len(job.speakers))]
        editors = [_editor(job, role) for role in roles]
        on_step = _announce(job, roles, editors)
        for editor in editors:
            editor.run(on_step)
        _write(job, roles)
        report = report_of(job, roles, time.monotonic() - began)
        store.remove()
    return report


def plan_pieces(
    video: str | os.PathLike,
    audio: str | os.PathLike,
    output: str | os.PathLike,
    engine: Engine,
    options: SyncOptions,
    seconds: float,
    *,
    state: str | os.PathLike,
) -> list[range]:
    """Find the mouth, and the pieces of a job of one speaker that can be edited apart, each of `seconds` or more.

    They begin at cuts and where nothing is edited. What was found is kept in `state`, for `edit_piece`. Raises as
    `sync_video`.
    """
    with _opened(video, audio, output, engine, replace(options, resume=True), state=state) as (job, store):
        role = _cast(job, 0, store)
        store.write("video", **{name: np.asarray(value) for name, value in vars(job.video).items() if name != "path"})
        frames = seconds * len(role.placement.edited_E) / max(job.timeline.end - float(job.timeline.time_V[0]), 1e-3)
        return _editor(job, role).pieces(round(frames))


def edit_piece(
    video: str | os.PathLike,
    audio: str | os.PathLike,
    output: str | os.PathLike,
    engine: Engine,
    options: SyncOptions,
    piece: range,
    *,
    state: str | os.PathLike,
) -> None:
    """Edit a piece of a job in a `state` folder of its own, into which what `plan_pieces` kept was copied.

    Its finished windows are those of the whole job: `sync_video` goes on from them with `options.resume`.
    """
    options = replace(options, resume=True)
    with _opened(video, audio, output, engine, options, state=state, is_known=True) as (job, store):
        _editor(job, _cast(job, 0, store)).run(lambda *_: None, piece)


@contextmanager
def _opened(
    video: str | os.PathLike | media.Part,
    audio: str | os.PathLike,
    output: str | os.PathLike,
    engine: Engine,
    options: SyncOptions,
    speakers: Sequence[Speaker] = (),
    tell: Listener = lambda _: None,
    *,
    state: str | os.PathLike | None,
    is_known: bool = False,
) -> Iterator[tuple[Job, Store]]:
    """A job, and what is finished of it.

    is_known: `plan_pieces` looked at the files before and kept what it found of the video; else they are looked at
    before a folder is made.
    """
    part, audio, output = media.Part.of(video), Path(audio), Path(output)

    def look(known: media.VideoInfo | None = None) -> Job:
        return open_job(part, audio, output, engine, options, speakers, tell, known)

    job = None if is_known else look()
    store = Store.open(output, manifest(part, audio, engine, options, speakers), resume=options.resume, state=state)
    try:
        yield job or look(_known_video(part, store)), store
    finally:
        store.close()


def _editor(job: Job, role: Role) -> Editor:
    return Editor(job.engine, _speech(job, role), role.placement, role.store, job.options.seed)


def _known_video(part: media.Part, store: Store) -> media.VideoInfo | None:
    """What was found of the video, so that it is not decoded again for every piece."""
    if not store.has("video"):
        return None
    fields = {name: value if value.ndim else value.item() for name, value in store.read("video").items()}
    return media.VideoInfo(path=part.path, **fields)


def _cast(job: Job, number: int, store: Store) -> Role:
    """Find a speaker's mouth and place its edits."""
    voice = job.voices[number]
    track = _find_mouth(job, job.speakers[number].mouth, store)
    return Role(voice, Placement(job.video, track, job.timeline, job.engine.spec, _strength(job, voice)), store)


def _find_mouth(job: Job, how: Any, store: Store) -> mouth.MouthTrack:
    """Where the mouth is in every source frame that is shown; kept for resuming."""
    count = int(job.timeline.source_V.max()) + 1
    if isinstance(how, mouth.MouthTrack):
        return fitted_track(how, job.video, count)
    if not store.has("track"):

        def frames() -> Iterator[tuple[float, np.ndarray]]:
            for number, timed in enumerate(small_frames(job.video, count), 1):
                yield timed
                job.tell(Progress("reading", number, count))

        size = job.video.width, job.video.height
        track = mouth.track(frames(), how, frame_size=size, hear=hearing(job.video))
        if how == "auto" and not track.confidence_N.any():
            raise InputError(" ".join(track.warnings))
        store.write("track", **{name: np.asarray(value) for name, value in vars(track).items()})
    fields = store.read("track")
    lists = {name: tuple(fields.pop(name).tolist()) for name in ("frame_size", "warnings")}
    return mouth.MouthTrack(**fields, **lists)


def _strength(job: Job, voice: Voice) -> np.ndarray:
    """How far each frame of the result is edited, by the sound: 0 leaves the source's own pixels."""
    if job.options.silence == "close":
        return np.ones(len(job.timeline), np.float32)
    return voice.kept(job.timeline.time_V, rest_after=job.options.length == "silence")


def _speech(job: Job, role: Role) -> Speech:
    """What the engine hears: the new sound, and where it asks for it the video's own."""
    heard = GatedWave(role.voice) if job.options.silence == "close" else role.voice.wave
    speech = job.engine.speech(heard)
    if not job.engine.hears_source:
        return speech
    wave = sound.own_sound(job.video.path)
    own = None if wave is None else job.engine.speech(wave)
    return BothSounds(speech, own, job.timeline, job.video.times_N + job.video.start)


def _announce(job: Job, roles: Sequence[Role], editors: Sequence[Editor]) -> OnStep:
    """Tell the plan and see that it fits on the disks; gives what tells of every step from then on."""
    count, pending = sum(len(role.placement.windows) for role in roles), [editor.pending() for editor in editors]
    left = sum(map(len, pending))
    first = ((editor, windows[0]) for editor, windows in zip(editors, pending, strict=True) if windows)
    each = next((editor.seconds_per_window(window) for editor, window in first), 0.0)
    plan = plan_of(job, roles, count - left, left * each)
    for folder in (job.output.parent, roles[0].store.folder.parent):
        check_space(folder, plan)
    job.tell(Progress("planned", count - left, count, plan))
    done = itertools.count(1)

    def on_step(_: int, steps: int) -> None:
        job.tell(Progress("editing", (count - left) * steps + next(done), count * steps))

    return on_step


def _write(job: Job, roles: Sequence[Role]) -> None:
    """Encode the result once, every frame on its own planes."""
    compositors, times_V = [Compositor(role.placement, role.store) for role in roles], job.timeline.time_V
    is_edited_V = edited_V(roles)
    marking = job.marking if is_edited_V.any() else None

    def edited() -> Iterator[media.Frame]:
        for position, frame in enumerate(play(job.video, job.timeline.source_V)):
            for compositor in compositors:
                frame = compositor.apply(frame, position)
            yield marking.apply(frame, bool(is_edited_V[position])) if marking else frame

    def sign(path: Path) -> None:
        if marking is not None:
            marking.sign(path, job.part.path, job.engine.fingerprint)

    with media.VideoWriter(
        job.output,
        job.part,
        job.audio,
        lossless=job.options.lossless,
        audio_duration=job.timeline.end,
        note=marking.note if marking else "",
        finish=sign,
    ) as writer:
        for position, frame in enumerate(media.ahead(edited())):
            writer.write(frame, float(times_V[position]))
            job.tell(Progress("writing", position + 1, len(times_V)))
