"""A tiny engine and tiny files for tests of the pipeline."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.io import wavfile

from omnisync_core.engines.protocol import Edit, Engine, Excerpt, WindowEngine
from omnisync_core.spec import VideoSpec

SPEC = VideoSpec(crop_size=24, window_frames=9, overlap_frames=5)


class Loudness:
    def __init__(self, wave):
        self.wave = wave

    def at(self, times_T):
        return np.array([[[self._rms(time)]] for time in times_T], np.float32)

    def _rms(self, time):
        return np.sqrt(np.mean(np.square(self.wave.read(time - 0.02, time + 0.02))))


class FakeEngine(Engine):
    """Paints the mouth red by the loudness, plus some noise from the seed; takes anchored frames over.

    In a group a later window is anchored in what came before as it was, not in 8 bits.
    """

    def __init__(self, spec=SPEC, steps=3, group=1):
        self.spec, self.steps, self.group, self.calls, self.groups = spec, steps, group, [], []
        self.fingerprint = {"model": "fake", "steps": steps}

    def speech(self, wave):
        return Loudness(wave)

    def edit_group(self, excerpts, *, anchor, on_step):
        self.groups.append([excerpt.lead for excerpt in excerpts])
        edits = []
        for excerpt in excerpts:
            if edits:
                anchor = edits[-1].edited_THWC[-excerpt.lead :] if excerpt.lead else None
            edits.append(self.edit_window(excerpt, anchor, on_step))
        yield from edits

    def edit_window(self, excerpt, anchor, on_step):
        frames_THWC, speech_TND, mouth_T3 = excerpt.frames_THWC, excerpt.speech_TND, excerpt.mouth_T3
        count, size = frames_THWC.shape[:2]
        assert frames_THWC.shape == (count, size, size, 3)
        assert size == self.spec.crop_size
        assert frames_THWC.dtype == np.float32
        assert (count - 1) % 4 == 0
        assert count <= self.spec.window_frames
        assert mouth_T3.shape == (count, 3)
        assert speech_TND.shape[0] == count
        assert anchor is None or (anchor.shape[1:] == frames_THWC.shape[1:] and (len(anchor) - 1) % 4 == 0)
        for step in range(self.steps):
            on_step(step + 1, self.steps)
        self.calls.append({"frames": count, "anchor": anchor, "seed": excerpt.seed, "speech": speech_TND[:, 0, 0]})
        edited = frames_THWC.copy()
        noise = np.random.default_rng(excerpt.seed).normal(0, 0.01, count)
        for frame, (x, y, width) in enumerate(mouth_T3 * size):
            half = max(2, width / 2)
            box = np.s_[round(y - half) : round(y + half), round(x - half) : round(x + half)]
            value = np.clip(0.2 + 2 * speech_TND[frame, 0, 0] + noise[frame], 0, 1)
            edited[frame][box] = [value, 0.1, 0.1]
        if anchor is not None:
            edited[: len(anchor)] = anchor
        return Edit(edited, frames_THWC)


class SourceEngine(WindowEngine):
    """Gives back what it gets."""

    def __init__(self, spec=VideoSpec()):  # noqa: B008 - frozen
        self.spec, self.fingerprint, self.calls = spec, {"engine": "source"}, 0

    def speech(self, wave):
        return self

    def at(self, times_T):
        return np.zeros((len(times_T), 1, 1), np.float32)

    def edit_window(self, excerpt, anchor, on_step):
        self.calls += 1
        on_step(1, 1)
        return Edit(excerpt.frames_THWC, excerpt.frames_THWC)


def edit_alone(
    engine, frames_THWC, speech_TND, mouth_T3, *, anchor=None, seed=0, on_step=lambda step, steps: None
) -> Edit:
    """One window through an engine."""
    window = Excerpt(frames_THWC, speech_TND, mouth_T3, seed)
    return next(engine.edit_group([window], anchor=anchor, on_step=on_step))


def cancel_and_edit(edited, engine, fresh) -> None:
    """An engine whose window (`edited`) was cancelled edits it as a fresh one does."""

    def stop(step, steps):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        edited(engine, on_step=stop)
    assert np.array_equal(edited(engine).edited_THWC, edited(fresh).edited_THWC)


def drifting(frames: int, start: int, size: int, drift: float) -> np.ndarray:
    """Soft square pictures; frame n is the same in every call."""
    y, x = np.mgrid[:size, :size] / np.float32(size)
    shown = [np.stack([x, y, (x + y) / 2], -1) * 0.6 + 0.2 + drift * number for number in range(start, start + frames)]
    return np.stack(shown).astype(np.float32)


def write_video(
    path: Path, frames=30, fps=25, size=(64, 48), cuts=(), times=None, codec="ffv1", pix_fmt="yuv420p", options=None
) -> Path:
    """A video of soft blobs that drift a little; another picture after each cut. `times` (seconds) make it variable."""
    if path.exists():
        return path
    width, height = size
    y, x = np.mgrid[:height, :width]
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as output:
        stream = output.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(frames):
            shot = sum(index >= cut for cut in cuts)
            hue = np.array([3, 5, 7]) / (1 + shot)
            picture = np.sin((x[..., None] + 0.3 * index) * hue / 40 + shot) * np.cos(y[..., None] * hue / 30)
            picture = picture * (1 - 2 * (shot % 2)) + [0.6 * (shot % 2), 0, 0]
            rgb = (np.clip(0.5 + 0.4 * picture, 0, 1) * 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pix_fmt)
            frame.pts = round(1000 * (index / fps if times is None else times[index]))
            frame.time_base = Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def write_sound(path: Path, seconds=1.2, rate=16000, bursts=((0.0, 99.0),), channels=1, loudness=0.3):
    """Noise in `bursts` (start, stop in seconds), whose loudness swings twice a second; digital silence between."""
    time = np.arange(round(seconds * rate)) / rate
    wave = np.random.default_rng(0).normal(0, 1, len(time)).clip(-3, 3)
    wave *= loudness * (0.6 + 0.4 * np.sin(2 * np.pi * 2 * time)) / 3
    wave *= np.any([(time >= start) & (time < stop) for start, stop in bursts], axis=0)
    samples = np.repeat((wave * 32767).astype(np.int16)[:, None], channels, axis=1)
    wavfile.write(path, rate, samples)
    return path


def pictures(path) -> list[np.ndarray]:
    """All frames as rgb24."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def planes(path) -> list[bytes]:
    """All frames as their own samples."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]


def times(path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
