"""Edit the windows of a job, group after group; each continues the one before and is on disk when its group is done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from ..engines.protocol import Edit, Engine, Excerpt, OnStep, Speech
from ..errors import InputError
from ..job.store import Store, note_name, window_name
from ..timing.playback import play
from ..timing.timeline import Timeline
from . import chunks
from .chunks import Window
from .placement import Placement


class Editor:
    """Runs an engine over windows of one job."""

    def __init__(self, engine: Engine, speech: Speech, placement: Placement, store: Store, seed: int) -> None:
        self._engine, self._speech, self._placement, self._store, self._seed = engine, speech, placement, store, seed

    def pending(self) -> list[Window]:
        """Windows to edit: those of every group that is not whole on disk."""
        return [window for group in self._pending_groups() for window in group]

    def pieces(self, frames: int) -> list[range]:
        """Runs of windows, by index, that can be edited apart: each begins with one that continues none.

        Each has `frames` edited frames or more, but the last.
        """
        windows, pieces, start, count = self._placement.windows, [], 0, 0
        for window in windows:
            if count >= frames and not self._follows(window):
                pieces.append(range(start, window.index))
                start, count = window.index, 0
            count += len(window) - window.lead
        return [*pieces, range(start, windows[-1].index + 1)] if windows else []

    def run(self, on_step: OnStep, piece: range | None = None) -> None:
        """Edit what is pending (of a piece); a window is safe on disk before the next one is asked for."""
        groups = self._pending_groups(piece)
        crops = self._crops([window for group in groups for window in group], seek=piece is not None)
        for group in groups:
            excerpts = [self._excerpt(window, next(crops)) for window in group]
            edits = self._engine.edit_group(excerpts, anchor=self._anchor(group[0]), on_step=on_step)
            for window, edit in zip(group, edits, strict=True):
                self._keep(window, edit)

    def seconds_per_window(self, window: Window) -> float:
        """Estimated time of one edit, from the first two steps of one on grey frames (then it is cancelled)."""
        size, marks, steps = self._placement.spec.crop_size, [time.monotonic()], 1

        def on_step(step: int, total: int) -> None:
            nonlocal steps
            marks.append(time.monotonic())
            steps = total
            if step >= 2:
                raise _Enough

        try:
            grey_THWC = np.full((len(window), size, size, 3), 0.5, np.float32)
            next(self._engine.edit_group([self._excerpt(window, grey_THWC)], anchor=None, on_step=on_step))
        except _Enough:
            return marks[1] - marks[0] + (steps - 1) * (marks[2] - marks[1])
        return time.monotonic() - marks[0]

    def _groups(self) -> list[list[Window]]:
        """All windows of the job in the groups that they are edited in; they depend on the plan alone."""
        size, stride = self._engine.group, self._placement.spec.temporal_stride
        groups: list[list[Window]] = []
        for window in self._placement.windows:
            # Only whole latent frames can be handed over; the last window of a run may lie anywhere.
            fits = not self._follows(window) or window.lead % stride == 1
            if groups and fits and len(groups[-1]) < size:
                groups[-1].append(window)
            else:
                groups.append([window])
        return groups

    def _pending_groups(self, piece: range | None = None) -> list[list[Window]]:
        groups = self._groups()
        if piece is not None:  # what starts anew inside a group is not changed by what was there before
            groups = [[window for window in group if window.index in piece] for group in groups]
        return [group for group in groups if not all(self._store.has(window_name(one.index)) for one in group)]

    def _follows(self, window: Window) -> bool:
        """Whether it shares frames with an edited window."""
        return window.lead > 0 and window.index - 1 in self._placement.by_index

    def _excerpt(self, window: Window, crops_THWC: np.ndarray) -> Excerpt:
        """What the engine is given: padded to 1 + 4k frames by repeating the last."""
        placement, count = self._placement, len(window)
        positions = placement.positions(window)
        spots = [placement.spot(position) for position in positions]
        mouth_T3 = np.stack([spot.mouth_3 for spot in spots])
        if self._engine.sees_head:
            heads_T7 = np.array([[spot.roll, *spot.head_32.ravel()] for spot in spots], np.float32)
            mouth_T3 = np.concatenate([mouth_T3, heads_T7], axis=1)
        fed = np.minimum(np.arange(chunks.fed_length(count, placement.spec)), count - 1)
        return Excerpt(
            crops_THWC[fed],
            self._speech.at(placement.timeline.time_V[positions][fed]),
            mouth_T3[fed],
            seed=chunks.window_seed(self._seed, 0 if placement.spec.shared_noise else window.index),
            lead=window.lead if self._follows(window) else 0,
        )

    def _anchor(self, window: Window) -> np.ndarray | None:
        """The finished frames, 0..1, that a group's first window shares with the one before, as many as can be held."""
        lead_KHWC = self._finished_lead(window).get("edited", np.empty(0))
        count = chunks.anchor_length(len(lead_KHWC), self._placement.spec)
        return lead_KHWC[:count] / np.float32(255) if count else None

    def _keep(self, window: Window, edit: Edit) -> None:
        """Let a window grow out of the one before and put it on disk. InputError: numbers that are not finite."""
        if not (np.isfinite(edit.edited_THWC).all() and np.isfinite(edit.reference_THWC).all()):
            raise InputError(f"the model gave numbers that are not finite in window {window.index}: try a wider dtype")
        lead, arrays = self._finished_lead(window), {"edited": edit.edited_THWC, "reference": edit.reference_THWC}
        arrays = {name: chunks.quantise(array[: len(window)]) for name, array in arrays.items()}
        joined = {name: chunks.blend(lead[name], array) if lead else array for name, array in arrays.items()}
        if edit.note:
            self._store.write(note_name(window.index), note=np.array(edit.note))
        self._store.write(window_name(window.index), **joined)

    def _finished_lead(self, window: Window) -> dict[str, np.ndarray]:
        """The frames shared with the window before, as it left them; empty where it edited none."""
        if not self._follows(window):
            return {}
        before = self._store.read(window_name(window.index - 1))
        return {name: array[-window.lead :] for name, array in before.items()}

    def _crops(self, windows: Sequence[Window], seek: bool) -> Iterator[np.ndarray]:
        """The crops (T, S, S, 3) of each window; every frame is decoded once, in order."""
        placement = self._placement
        spans = [np.arange(window.start, window.stop) for window in windows]
        needed = np.unique(np.concatenate([np.arange(0), *spans]))
        positions = placement.edited_E[needed]
        shown = play(placement.video, placement.timeline.source_V[positions], seek=seek)
        frames = zip(needed, positions, shown, strict=True)
        held: dict[int, np.ndarray] = {}
        for window in windows:
            held = {edited: crop for edited, crop in held.items() if edited >= window.start}
            while window.stop - 1 not in held:
                edited, position, frame = next(frames)
                held[int(edited)] = placement.crop(frame, position)
            yield np.stack([held[edited] for edited in range(window.start, window.stop)])


class BothSounds:
    """The `Speech` of engines that hear the source: (the new sound, the video's own at the frames shown, or None)."""

    def __init__(self, new: Speech, own: Speech | None, timeline: Timeline, times_N: np.ndarray) -> None:
        self._new, self._own, self._timeline, self._times_N = new, own, timeline, times_N

    def at(self, times_T: np.ndarray) -> tuple:
        if self._own is None:
            return self._new.at(times_T), None
        positions = np.searchsorted(self._timeline.time_V, np.asarray(times_T) - 1e-9)
        return self._new.at(times_T), self._own.at(self._times_N[self._timeline.source_V[positions]])


class _Enough(Exception):
    """Stops an edit that is only timed."""
