"""What a job will take, and what was done: the `Plan` before the first edit, the `Report` at the end."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError, OutputError
from ..windows.placement import Placement
from .opening import Job, Role
from .report import Passed, Plan, Report, size
from .store import note_name


def plan_of(job: Job, roles: Sequence[Role], done: int, editing_seconds: float) -> Plan:
    """The plan of a job of whose windows `done` are finished; `editing_seconds` are left to edit the others."""
    frames, pixels = len(job.timeline), job.video.width * job.video.height
    windows = [window for role in roles for window in role.placement.windows]
    # A rough guess: windows shrink to about half, x264 takes .3 bit per pixel, FFV1 a byte.
    state = sum(len(window) for window in windows) * 3 * pow(roles[0].placement.spec.crop_size, 2)
    share = 1 - done / max(1, len(windows))
    return Plan(
        frames=frames,
        video_seconds=job.timeline.end - float(job.timeline.time_V[0]),
        edited_frames=int(np.count_nonzero(edited_V(roles))),
        windows=len(windows),
        windows_done=done,
        seconds=editing_seconds + 3 * job.seconds_per_frame * frames,
        disk_bytes=int(state * share + frames * pixels * (1.0 if job.options.lossless else 0.3 / 8)),
    )


def check_space(folder: Path, plan: Plan) -> None:
    """InputError where a folder's disk has less room than a plan needs; OutputError where the folder is gone."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise OutputError(f"the folder {folder} is gone: it was removed while the job ran ({error.strerror})") from None
    if free < plan.disk_bytes:
        raise InputError(
            f"{folder} has {size(free)} free, this needs about {size(plan.disk_bytes)}: free some and resume, "
            "or write elsewhere"
        )


def report_of(job: Job, roles: Sequence[Role], seconds: float) -> Report:
    """The report of a job that is done."""
    sources_N = [role.placement.track.source_N[job.timeline.source_V] for role in roles]
    edited = int(np.count_nonzero(edited_V(roles)))
    return Report(
        output=str(job.output),
        frames=len(job.timeline),
        edited=edited,
        windows=sum(len(role.placement.windows) for role in roles),
        passed=tuple(_passed(job, roles)),
        mouth_sources=dict(Counter(np.concatenate(sources_N).tolist())),
        shots=len(np.unique(roles[0].placement.track.shot_N)),
        warnings=(*job.warnings, *_warnings(roles)),
        seconds=seconds,
        marks=job.marking.statement() if edited else (),
        whole=None if job.options.preview_seconds is None else _plan_of_the_whole(job, roles, seconds),
    )


def _plan_of_the_whole(job: Job, roles: Sequence[Role], seconds: float) -> Plan:
    """What a preview says of all of it, which takes as many times longer as it has more windows."""
    preview, frames = plan_of(job, roles, 0, 0.0), len(job.whole)
    longer = frames / preview.frames
    windows = sum(_windows_of(role.placement, longer) for role in roles)
    times = windows / preview.windows if preview.windows else longer
    return replace(
        preview,
        frames=frames,
        video_seconds=job.whole.end - float(job.whole.time_V[0]),
        edited_frames=round(preview.edited_frames * longer),
        windows=windows,
        seconds=seconds * times,
        disk_bytes=round(preview.disk_bytes * times),
    )


def _windows_of(placement: Placement, longer: float) -> int:
    """Windows of a placement that is so many times longer, in one shot."""
    spec, edited = placement.spec, sum(len(window) for window in placement.windows)
    shared = spec.overlap_frames * max(0, len(placement.windows) - 1)
    frames = (edited - shared) * longer
    new = spec.window_frames - spec.overlap_frames
    return 0 if not edited else max(1, math.ceil((frames - spec.overlap_frames) / new - 1e-9))


def edited_V(roles: Sequence[Role]) -> np.ndarray:
    """Which frames of the result any speaker's edit changes."""
    return np.any([role.placement.gain_V > 0 for role in roles], axis=0)


def _warnings(roles: Sequence[Role]) -> Iterator[str]:
    """What is to be said of each speaker."""
    for number, role in enumerate(roles, 1):
        placement, name = role.placement, f"speaker {number}: " if len(roles) > 1 else ""
        yield from (name + warning for warning in placement.track.warnings)
        if not placement.found_V.any():
            yield f"{name}no mouth was found: the pictures are the source's"
        elif role.voice.is_silent:
            rests = "rests" if placement.gain_V.any() else "is the source's"
            yield f"{name}nobody speaks in the sound: the mouth {rests}"
        yield from (name + note for note in _notes(role))


def _notes(role: Role) -> Iterator[str]:
    """What the engine said of windows, and where they lie in the result."""
    placement = role.placement
    for window in placement.windows:
        if role.store.has(note_name(window.index)):
            time_V = placement.timeline.time_V
            first, last = time_V[placement.positions(window)[[0, -1]]] - time_V[0]
            yield f"{first:.1f} to {last:.1f} s {role.store.read(note_name(window.index))['note']}"


def _passed(job: Job, roles: Sequence[Role]) -> Iterator[Passed]:
    """Stretches without any edit, and why."""
    times = np.append(job.timeline.time_V, job.timeline.end) - job.timeline.time_V[0]
    found = np.any([role.placement.found_V > 0 for role in roles], axis=0)
    reasons = np.where(~found, "no mouth", np.where(~edited_V(roles), "silence", ""))
    edges = np.flatnonzero(np.append(True, reasons[1:] != reasons[:-1])).tolist()
    for start, stop in zip(edges, [*edges[1:], len(reasons)], strict=True):
        if reasons[start]:
            yield Passed(float(times[start]), float(times[stop]), stop - start, str(reasons[start]))
