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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import audio as sound
from . import media, mouth, timeline
from .composite import Compositor
from .editing import Editor
from .engines.protocol import Engine
from .errors import InputError
from .job import Listener, Passed, Plan, Progress, Report, SyncOptions, size
from .layout import Layout
from .manifest import manifest
from .playback import play
from .silence import GatedWave, Voice
from .store import Store

TRACKED_SIDE = 480
"""Pixels of the shorter side of the frames in which the mouth is looked for."""


def sync_video(
    video: str | os.PathLike,
    audio: str | os.PathLike,
    output: str | os.PathLike,
    engine: Engine,
    options: SyncOptions = SyncOptions(),  # noqa: B008 - frozen
    progress: Listener | None = None,
) -> Report:
    """Write `output`: `video` with its mouth edited to say `audio`, and with that sound.

    Finished windows are kept in the folder `<output>.omnisync` until the result is whole. Whatever stops the job
    (also an exception raised by `progress`), the same call with `options.resume` goes on from there and gives the
    same bytes. Raises InputError and OutputError.
    """
    began, tell = time.monotonic(), progress or (lambda _: None)
    job = _open(Path(video), Path(audio), Path(output), options)
    store = Store.open(job.output, manifest(job.video.path, job.audio, engine, options), resume=options.resume)
    try:
        track = _find_mouth(job, store, options, tell)
        layout = Layout(job.video, track, job.timeline, engine.spec, _strength(job, options))
        _edit(job, layout, store, engine, options, tell)
        _write(job, layout, store, options, tell)
    except BaseException:
        store.remove_if_empty()
        raise
    store.remove()
    return _report(job, layout, time.monotonic() - began)


@dataclass(frozen=True)
class _Job:
    """The files, looked at."""

    video: media.VideoInfo
    audio: Path
    output: Path
    voice: Voice
    timeline: timeline.Timeline
    warnings: tuple[str, ...]
    seconds_per_frame: float
    """Time to decode one."""


def _open(video: Path, audio: Path, output: Path, options: SyncOptions) -> _Job:
    """Meet everything that can be wrong before the work starts."""
    began = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        info = media.probe_video(video)
    media.check_output(output, video, audio, lossless=options.lossless)
    decoding = (time.monotonic() - began) / info.frame_count
    wave = sound.SpeechWave(audio)
    shown = timeline.plan(info.times_N, wave.duration, options.length, options.preview_seconds)
    notes = [str(warning.message) for warning in caught]
    if options.preview_seconds is None and abs(wave.duration - shown.end) > 0.5:
        comes = "is cut" if wave.duration > shown.end else "is followed by silence"
        notes.append(f"the sound lasts {wave.duration:.2f} s, the result {shown.end:.2f} s: it {comes}")
    return _Job(info, audio, output, Voice(wave, shown.end), shown, tuple(notes), decoding)


def _find_mouth(job: _Job, store: Store, options: SyncOptions, tell: Listener) -> mouth.MouthTrack:
    """Where the mouth is in every source frame that is shown; kept for resuming."""
    if not store.has("track"):
        count = int(job.timeline.source_V.max()) + 1
        frame_size = job.video.width, job.video.height
        longest = round(TRACKED_SIDE * max(frame_size) / min(frame_size))

        def frames() -> Iterator[tuple[float, np.ndarray]]:
            for frame in media.read_frames(job.video.path, 0, count):
                yield frame.time, frame.thumbnail(longest)
                tell(Progress("reading", frame.index + 1, count))

        track = mouth.track(frames(), options.mouth, frame_size=frame_size)
        store.write("track", **{name: np.asarray(value) for name, value in vars(track).items()})
    fields = store.read("track")
    lists = {name: tuple(fields.pop(name).tolist()) for name in ("frame_size", "warnings")}
    return mouth.MouthTrack(**fields, **lists)


def _strength(job: _Job, options: SyncOptions) -> np.ndarray:
    """How far each frame of the result is edited, by the sound: 0 leaves the source's own pixels."""
    if options.silence == "close":
        return np.ones(len(job.timeline), np.float32)
    return job.voice.kept(job.timeline.time_V, rest_after=options.length == "silence")


def _edit(job: _Job, layout: Layout, store: Store, engine: Engine, options: SyncOptions, tell: Listener) -> None:
    """Edit the windows that are not on disk yet."""
    wave = GatedWave(job.voice) if options.silence == "close" else job.voice.wave
    editor = Editor(engine, engine.speech(wave), layout, store, options.seed)
    pending, count = editor.pending(), len(layout.windows)
    done = count - len(pending)
    editing = editor.seconds_per_window(pending[0]) * len(pending) if pending else 0.0
    plan = _plan(job, layout, done, editing, options)
    _check_space(job.output, plan)
    tell(Progress("planned", done, count, plan))

    def on_step(step: int, steps: int) -> None:
        tell(Progress("editing", done * steps + step, count * steps))

    for _ in editor.run(pending, on_step):
        done += 1


def _write(job: _Job, layout: Layout, store: Store, options: SyncOptions, tell: Listener) -> None:
    """Encode the result once, every frame on its own planes."""
    compositor, times_V = Compositor(layout, store), job.timeline.time_V
    with media.VideoWriter(
        job.output, job.video.path, job.audio, lossless=options.lossless, audio_duration=job.timeline.end
    ) as writer:
        for position, frame in enumerate(play(job.video, job.timeline.source_V)):
            writer.write(compositor.apply(frame, position), float(times_V[position]))
            tell(Progress("writing", position + 1, len(times_V)))


def _plan(job: _Job, layout: Layout, done: int, editing_seconds: float, options: SyncOptions) -> Plan:
    frames, pixels = len(job.timeline), job.video.width * job.video.height
    # A rough guess: windows shrink to about half, x264 takes .3 bit per pixel, FFV1 a byte.
    windows = sum(len(window) for window in layout.windows) * layout.spec.crop_size**2 * 3
    share = 1 - done / max(1, len(layout.windows))
    return Plan(
        frames=frames,
        video_seconds=job.timeline.end - float(job.timeline.time_V[0]),
        edited_frames=int(np.count_nonzero(layout.gain_V)),
        windows=len(layout.windows),
        windows_done=done,
        seconds=editing_seconds + 3 * job.seconds_per_frame * frames,
        disk_bytes=int(windows * share + frames * pixels * (1.0 if options.lossless else 0.3 / 8)),
    )


def _check_space(output: Path, plan: Plan) -> None:
    free = shutil.disk_usage(output.parent).free
    if free < plan.disk_bytes:
        raise InputError(
            f"{output.parent} has {size(free)} free, this needs about {size(plan.disk_bytes)}: free some and resume, "
            "or write elsewhere"
        )


def _report(job: _Job, layout: Layout, seconds: float) -> Report:
    notes = [*job.warnings, *layout.track.warnings]
    if not layout.found_V.any():
        notes.append("no mouth was found: the pictures are the source's")
    elif job.voice.is_silent:
        notes.append("nobody speaks in the sound: the mouth " + ("rests" if layout.gain_V.any() else "is the source's"))
    return Report(
        output=str(job.output),
        frames=len(job.timeline),
        edited=int(np.count_nonzero(layout.gain_V)),
        windows=len(layout.windows),
        passed=tuple(_passed(layout)),
        mouth_sources=dict(Counter(layout.track.source_N[job.timeline.source_V].tolist())),
        shots=len(np.unique(layout.track.shot_N)),
        warnings=tuple(notes),
        seconds=seconds,
    )


def _passed(layout: Layout) -> Iterator[Passed]:
    """Stretches without an edit, and why."""
    times = np.append(layout.timeline.time_V, layout.timeline.end) - layout.timeline.time_V[0]
    reasons = np.where(layout.found_V == 0, "no mouth", np.where(layout.gain_V == 0, "silence", ""))
    edges = np.flatnonzero(np.append(True, reasons[1:] != reasons[:-1])).tolist()
    for start, stop in zip(edges, [*edges[1:], len(reasons)], strict=True):
        if reasons[start]:
            yield Passed(float(times[start]), float(times[stop]), stop - start, str(reasons[start]))
