"""Edit the windows of a job one after the other; each continues the one before and is on disk when it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from . import chunks
from .chunks import Window
from .composite import window_name
from .engines.protocol import Edit, Engine, Speech
from .errors import InputError
from .layout import Layout
from .playback import play
from .store import Store
from .timeline import Timeline

OnStep = Callable[[int, int], None]


class Editor:
    """Runs an engine over windows of one job."""

    def __init__(self, engine: Engine, speech: Speech, layout: Layout, store: Store, seed: int):
        self._engine, self._speech, self._layout, self._store, self._seed = engine, speech, layout, store, seed

    def pending(self) -> list[Window]:
        """Windows that are not on disk yet."""
        return [window for window in self._layout.windows if not self._store.has(window_name(window.index))]

    def run(self, windows: Sequence[Window], on_step: OnStep) -> Iterator[Window]:
        """Edit windows in their order; each is yielded when it is safe on disk."""
        for window, crops_THWC in zip(windows, self._crops(windows), strict=True):
            lead = self._finished_lead(window)
            edit = self._edit(window, crops_THWC, lead.get("edited"), on_step)
            arrays = {"edited": chunks.quantise(edit.edited_THWC), "reference": chunks.quantise(edit.reference_THWC)}
            joined = {name: chunks.blend(lead[name], array) if lead else array for name, array in arrays.items()}
            self._store.write(window_name(window.index), **joined)
            yield window

    def seconds_per_window(self, window: Window) -> float:
        """Estimated time of one edit, from the first two steps of one on grey frames (then it is cancelled)."""
        size, marks, steps = self._layout.spec.crop_size, [time.monotonic()], 1

        def on_step(step: int, total: int) -> None:
            nonlocal steps
            marks.append(time.monotonic())
            steps = total
            if step >= 2:
                raise _Enough

        try:
            self._edit(window, np.full((len(window), size, size, 3), 0.5, np.float32), None, on_step)
        except _Enough:
            return marks[1] - marks[0] + (steps - 1) * (marks[2] - marks[1])
        return time.monotonic() - marks[0]

    def _edit(self, window: Window, crops_THWC: np.ndarray, lead: np.ndarray | None, on_step: OnStep) -> Edit:
        """One call of the engine: padded to 1 + 4k frames by repeating the last, and cut again."""
        layout, count = self._layout, len(window)
        positions = layout.positions(window)
        spots = [layout.spot(position) for position in positions]
        mouth_T3 = np.stack([spot.mouth_3 for spot in spots])
        if getattr(self._engine, "sees_roll", False):
            rolls_T1 = np.array([[spot.roll] for spot in spots], np.float32)
            mouth_T3 = np.concatenate([mouth_T3, rolls_T1], axis=1)
        fed = np.minimum(np.arange(chunks.fed_length(count, layout.spec)), count - 1)
        anchored = 0 if lead is None else chunks.anchor_length(len(lead), layout.spec)
        edit = self._engine.edit(
            crops_THWC[fed],
            self._speech.at(layout.timeline.time_V[positions][fed]),
            mouth_T3[fed],
            anchor=lead[:anchored] / np.float32(255) if anchored else None,
            seed=chunks.window_seed(self._seed, 0 if layout.spec.shared_noise else window.index),
            on_step=on_step,
        )
        edited_THWC, reference_THWC = np.asarray(edit.edited_THWC)[:count], np.asarray(edit.reference_THWC)[:count]
        if not (np.isfinite(edited_THWC).all() and np.isfinite(reference_THWC).all()):
            raise InputError(f"the model gave numbers that are not finite in window {window.index}: try a wider dtype")
        return Edit(edited_THWC, reference_THWC)

    def _finished_lead(self, window: Window) -> dict[str, np.ndarray]:
        """The frames shared with the window before, as it left them; empty where it edited none."""
        if not window.lead or window.index - 1 not in self._layout.by_index:
            return {}
        before = self._store.read(window_name(window.index - 1))
        return {name: array[-window.lead :] for name, array in before.items()}

    def _crops(self, windows: Sequence[Window]) -> Iterator[np.ndarray]:
        """The crops (T, S, S, 3) of each window; every frame is decoded once, in order."""
        layout = self._layout
        spans = [np.arange(window.start, window.stop) for window in windows]
        needed = np.unique(np.concatenate([np.arange(0), *spans]))
        positions = layout.edited_E[needed]
        frames = zip(needed, positions, play(layout.video, layout.timeline.source_V[positions]), strict=True)
        held: dict[int, np.ndarray] = {}
        for window in windows:
            held = {edited: crop for edited, crop in held.items() if edited >= window.start}
            while window.stop - 1 not in held:
                edited, position, frame = next(frames)
                held[int(edited)] = layout.crop(frame, position)
            yield np.stack([held[edited] for edited in range(window.start, window.stop)])


class BothSounds:
    """The `Speech` of engines that hear the source: (the new sound, the video's own at the frames shown, or None)."""

    def __init__(self, new: Speech, own: Speech | None, timeline: Timeline, times_N: np.ndarray):
        self._new, self._own, self._timeline, self._times_N = new, own, timeline, times_N

    def at(self, times_T: np.ndarray) -> tuple:
        if self._own is None:
            return self._new.at(times_T), None
        positions = np.searchsorted(self._timeline.time_V, np.asarray(times_T) - 1e-9)
        return self._new.at(times_T), self._own.at(self._times_N[self._timeline.source_V[positions]])


class _Enough(Exception):
    """Stops an edit that is only timed."""
