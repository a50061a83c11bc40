"""A video and a sound in; the same video out, its mouth saying the sound.

Three passes over the video, none of which holds more than a window of frames: find the mouth; edit windows of crops,
each safe on disk as soon as it is done; put the edits back on the source's own planes and encode once.
"""

from __future__ import annotations

import os
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import audio as sound
from . import media, mouth, timeline
from .composite import Compositor
from .editing import BothSounds, Editor
from .engines.protocol import Engine, Speech
from .errors import InputError
from .job import Listener, Passed, Plan, Progress, Report, Speaker, SyncOptions, size
from .layout import Layout
from .manifest import manifest
from .playback import play
from .silence import GatedWave, Voice
from .store import Store

TRACKED_SIDE = 480
"""Pixels of the shorter side of the frames in which the mouth is looked for."""
TOLD_FRAMES = 100
"""After how many frames a listener hears of a video that is being opened."""


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
    with `options.resume` goes on from there and gives the same bytes. Raises InputError and OutputError.
    """
    began, tell = time.monotonic(), progress or (lambda _: None)
    job = _open(media.Part.of(video), Path(audio), Path(output), speakers, options, tell)
    identity = manifest(job.part, job.audio, engine, options, speakers)
    store = Store.open(job.output, identity, resume=options.resume, state=state)
    try:
        roles = _cast(job, store, engine, options, tell)
        _edit(job, roles, store, engine, options, tell)
        _write(job, roles, options, tell)
    except BaseException:
        store.remove_if_empty()
        raise
    store.remove()
    return _report(job, roles, time.monotonic() - began)


@dataclass(frozen=True)
class _Job:
    """The files, looked at."""

    part: media.Part
    video: media.VideoInfo
    audio: Path
    output: Path
    speakers: tuple[Speaker, ...]
    voices: tuple[Voice, ...]
    """One per speaker."""
    timeline: timeline.Timeline
    warnings: tuple[str, ...]
    seconds_per_frame: float
    """Time to decode one."""


@dataclass(frozen=True)
class _Role:
    """One speaker: the sound, where its edits lie, and what is finished of them."""

    voice: Voice
    layout: Layout
    store: Store


def _open(
    part: media.Part, audio: Path, output: Path, speakers: Sequence[Speaker], options: SyncOptions, tell: Listener
) -> _Job:
    """Meet everything that can be wrong before the work starts."""
    began = time.monotonic()

    def on_frame(count: int) -> None:
        if count % TOLD_FRAMES == 0:
            tell(Progress("opening", count, 0))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        info = media.probe_video(part, on_frame)
    media.check_output(output, part.path, audio, lossless=options.lossless)
    decoding = (time.monotonic() - began) / (info.frame_count + len(info.before_N))
    heard = sound.SpeechWave(audio)
    duration = heard.duration
    shown = timeline.plan(info.times_N, duration, options.length, options.preview_seconds)
    notes = [str(warning.message) for warning in caught]
    if options.preview_seconds is None and abs(duration - shown.end) > 0.5:
        comes = "is cut" if duration > shown.end else "is followed by silence"
        notes.append(f"the sound lasts {duration:.2f} s, the result {shown.end:.2f} s: it {comes}")
    cast = tuple(speakers) or (Speaker(audio, options.mouth),)
    waves = [sound.SpeechWave(speaker.audio) for speaker in speakers] or [heard]
    voices = tuple(Voice(wave, shown.end) for wave in waves)
    return _Job(part, info, audio, output, cast, voices, shown, tuple(notes), decoding)


def _cast(job: _Job, store: Store, engine: Engine, options: SyncOptions, tell: Listener) -> list[_Role]:
    """Find every speaker's mouth and plan its edits."""
    roles = []
    for number, (speaker, voice) in enumerate(zip(job.speakers, job.voices, strict=True)):
        share = store.of_speaker(number)
        track = _find_mouth(job, speaker.mouth, share, tell)
        layout = Layout(job.video, track, job.timeline, engine.spec, _strength(job, voice, options))
        roles.append(_Role(voice, layout, share))
    return roles


def _find_mouth(job: _Job, how: Any, store: Store, tell: Listener) -> mouth.MouthTrack:
    """Where the mouth is in every source frame that is shown; kept for resuming."""
    count = int(job.timeline.source_V.max()) + 1
    if isinstance(how, mouth.MouthTrack):
        return _fitted_track(how, job.video, count)
    if not store.has("track"):
        frame_size = job.video.width, job.video.height
        longest = round(TRACKED_SIDE * max(frame_size) / min(frame_size))

        def frames() -> Iterator[tuple[float, np.ndarray]]:
            for frame in media.frames_of(job.video, 0, count):
                yield frame.time, frame.thumbnail(longest)
                tell(Progress("reading", frame.index + 1, count))

        track = mouth.track(frames(), how, frame_size=frame_size)
        if isinstance(how, str) and not track.confidence_N.any():
            raise InputError(" ".join(track.warnings))
        store.write("track", **{name: np.asarray(value) for name, value in vars(track).items()})
    fields = store.read("track")
    lists = {name: tuple(fields.pop(name).tolist()) for name in ("frame_size", "warnings")}
    return mouth.MouthTrack(**fields, **lists)


def _fitted_track(track: mouth.MouthTrack, video: media.VideoInfo, count: int) -> mouth.MouthTrack:
    """A given track over the frames that are shown, at the video's own times and size."""
    if len(track.pts_N) != video.frame_count:
        raise InputError(
            f"the mouth track has {len(track.pts_N)} frames, the video {video.frame_count}: make it from the same video"
        )
    series = {name: value[:count] for name, value in vars(track).items() if name.endswith(("_N", "_N2"))}
    series["pts_N"] = video.times_N[:count]
    return replace(track, **series, frame_size=(video.width, video.height))


def _strength(job: _Job, voice: Voice, options: SyncOptions) -> np.ndarray:
    """How far each frame of the result is edited, by the sound: 0 leaves the source's own pixels."""
    if options.silence == "close":
        return np.ones(len(job.timeline), np.float32)
    return voice.kept(job.timeline.time_V, rest_after=options.length == "silence")


def _edit(job: _Job, roles: list[_Role], store: Store, engine: Engine, options: SyncOptions, tell: Listener) -> None:
    """Edit the windows that are not on disk yet, speaker after speaker."""
    work = []
    for role in roles:
        wave = GatedWave(role.voice) if options.silence == "close" else role.voice.wave
        editor = Editor(engine, _speech(job, wave, engine), role.layout, role.store, options.seed)
        work.append((editor, editor.pending()))
    count, left = sum(len(role.layout.windows) for role in roles), sum(len(pending) for _, pending in work)
    each = next((editor.seconds_per_window(pending[0]) for editor, pending in work if pending), 0.0)
    plan = _plan(job, roles, count - left, left * each, options)
    for folder in (job.output.parent, store.folder.parent):
        _check_space(folder, plan)
    tell(Progress("planned", count - left, count, plan))

    done = 0

    def on_step(_: int, steps: int) -> None:
        nonlocal done
        done += 1
        tell(Progress("editing", (count - left) * steps + done, count * steps))

    for editor, pending in work:
        for _ in editor.run(pending, on_step):
            pass


def _speech(job: _Job, wave: sound.Wave, engine: Engine) -> Speech:
    """What the engine hears: the new sound, and where it asks for it the video's own."""
    speech = engine.speech(wave)
    if not getattr(engine, "hears_source", False):
        return speech
    own = engine.speech(sound.SpeechWave(job.video.path)) if job.video.has_audio else None
    return BothSounds(speech, own, job.timeline, job.video.times_N + job.video.start)


def _write(job: _Job, roles: list[_Role], options: SyncOptions, tell: Listener) -> None:
    """Encode the result once, every frame on its own planes."""
    compositors, times_V = [Compositor(role.layout, role.store) for role in roles], job.timeline.time_V
    with media.VideoWriter(
        job.output, job.part, job.audio, lossless=options.lossless, audio_duration=job.timeline.end
    ) as writer:
        for position, frame in enumerate(play(job.video, job.timeline.source_V)):
            for compositor in compositors:
                frame = compositor.apply(frame, position)
            writer.write(frame, float(times_V[position]))
            tell(Progress("writing", position + 1, len(times_V)))


def _plan(job: _Job, roles: list[_Role], done: int, editing_seconds: float, options: SyncOptions) -> Plan:
    frames, pixels = len(job.timeline), job.video.width * job.video.height
    windows = [window for role in roles for window in role.layout.windows]
    # A rough guess: windows shrink to about half, x264 takes .3 bit per pixel, FFV1 a byte.
    state = sum(len(window) for window in windows) * 3 * pow(roles[0].layout.spec.crop_size, 2)
    share = 1 - done / max(1, len(windows))
    return Plan(
        frames=frames,
        video_seconds=job.timeline.end - float(job.timeline.time_V[0]),
        edited_frames=int(np.count_nonzero(_edited(roles))),
        windows=len(windows),
        windows_done=done,
        seconds=editing_seconds + 3 * job.seconds_per_frame * frames,
        disk_bytes=int(state * share + frames * pixels * (1.0 if options.lossless else 0.3 / 8)),
    )


def _edited(roles: list[_Role]) -> np.ndarray:
    """Which frames of the result any speaker's edit changes."""
    return np.any([role.layout.gain_V > 0 for role in roles], axis=0)


def _check_space(folder: Path, plan: Plan) -> None:
    free = shutil.disk_usage(folder).free
    if free < plan.disk_bytes:
        raise InputError(
            f"{folder} has {size(free)} free, this needs about {size(plan.disk_bytes)}: free some and resume, "
            "or write elsewhere"
        )


def _report(job: _Job, roles: list[_Role], seconds: float) -> Report:
    sources_N = [role.layout.track.source_N[job.timeline.source_V] for role in roles]
    return Report(
        output=str(job.output),
        frames=len(job.timeline),
        edited=int(np.count_nonzero(_edited(roles))),
        windows=sum(len(role.layout.windows) for role in roles),
        passed=tuple(_passed(job, roles)),
        mouth_sources=dict(Counter(np.concatenate(sources_N).tolist())),
        shots=len(np.unique(roles[0].layout.track.shot_N)),
        warnings=(*job.warnings, *_warnings(roles)),
        seconds=seconds,
    )


def _warnings(roles: list[_Role]) -> Iterator[str]:
    """What is to be said of each speaker."""
    for number, role in enumerate(roles, 1):
        layout, name = role.layout, f"speaker {number}: " if len(roles) > 1 else ""
        yield from (name + warning for warning in layout.track.warnings)
        if not layout.found_V.any():
            yield f"{name}no mouth was found: the pictures are the source's"
        elif role.voice.is_silent:
            rests = "rests" if layout.gain_V.any() else "is the source's"
            yield f"{name}nobody speaks in the sound: the mouth {rests}"


def _passed(job: _Job, roles: list[_Role]) -> Iterator[Passed]:
    """Stretches without any edit, and why."""
    times = np.append(job.timeline.time_V, job.timeline.end) - job.timeline.time_V[0]
    found = np.any([role.layout.found_V > 0 for role in roles], axis=0)
    reasons = np.where(~found, "no mouth", np.where(~_edited(roles), "silence", ""))
    edges = np.flatnonzero(np.append(True, reasons[1:] != reasons[:-1])).tolist()
    for start, stop in zip(edges, [*edges[1:], len(reasons)], strict=True):
        if reasons[start]:
            yield Passed(float(times[start]), float(times[stop]), stop - start, str(reasons[start]))
