"""Small media files of every kind, written with PyAV, for tests of the media room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from omnisync_core.media.formats import layout_of
from omnisync_core.media.planes import channel_view

TICK = Fraction(1, 1000)


def pictures(count: int = 6, width: int = 48, height: int = 32) -> Iterator[np.ndarray]:
    """Smooth moving uint8 RGB pictures."""
    y, x = np.mgrid[:height, :width]
    for i in range(count):
        yield np.stack([x * 4 + i * 9, y * 6 + 30, (x + y) * 2 + i * 5], axis=-1).clip(0, 255).astype(np.uint8)


def coloured(pix_fmt: str, **size) -> Iterator[av.VideoFrame]:
    """`pictures` in a pixel format; with alpha, the left half is half transparent."""
    for picture in pictures(**size):
        layout = layout_of(pix_fmt)
        if layout is not None and layout.alpha is not None:
            alpha = np.full((*picture.shape[:2], 1), 255, np.uint8)
            alpha[:, : picture.shape[1] // 2] = 100
            yield av.VideoFrame.from_ndarray(np.concatenate([picture, alpha], -1), "rgba").reformat(format=pix_fmt)
        else:
            yield av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pix_fmt)


def noisy(pix_fmt: str, seed: int = 0, width: int = 22, height: int = 14) -> av.VideoFrame:
    """A frame whose every sample is random."""
    frame, layout, rng = av.VideoFrame(width, height, pix_fmt), layout_of(pix_fmt), np.random.default_rng(seed)
    for index in range(len(layout.channels) + (layout.alpha is not None)):
        view, shift = sample_view(frame, index)
        view[:] = rng.integers(0, layout.peak + 1, view.shape) << shift
    return frame


def samples(frame: av.VideoFrame) -> list[np.ndarray]:
    """All samples of a frame, channel by channel, alpha last."""
    layout = layout_of(frame.format.name)
    views = (sample_view(frame, index) for index in range(len(layout.channels) + (layout.alpha is not None)))
    return [view.astype(np.int64) >> shift for view, shift in views]


def sample_view(frame: av.VideoFrame, index: int) -> tuple[np.ndarray, int]:
    """One channel's samples as they lie in the frame (alpha is the one after the colours), and their padding bits."""
    layout = layout_of(frame.format.name)
    channel = (*layout.channels, layout.alpha)[index]
    small = index < len(layout.channels) and layout.is_subsampled(index)
    return channel_view(frame, layout, channel, small), channel.shift


def write_clip(
    path: Path,
    frames: Iterable[av.VideoFrame] | None = None,
    codec: str = "libx264",
    rate=25,
    ticks: Iterable[int] | None = None,
    base: Fraction = TICK,
    rotation: tuple[float, bool] | None = None,
    container: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    delay: int = 0,
    **context,
) -> Path:
    """A video of the given frames (default: `pictures` in 4:2:0), at a rate or at `ticks` of `base`."""
    frames = list(coloured("yuv420p") if frames is None else frames)
    ticks = None if ticks is None else list(ticks)
    fast = {"preset": "ultrafast", "bf": "2", "x264-params": "b-adapt=0"} if codec == "libx264" else {}
    with av.open(str(path), "w", container_options=container or {}) as output:
        output.metadata.update(metadata or {})
        stream = output.add_stream(codec, rate=rate, options={**fast, **(options or {})})
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        stream.codec_context.time_base = 1 / Fraction(rate) if ticks is None else base
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            stream.set_display_rotation(rotation[0], hflip=rotation[1])
        for index, frame in enumerate(frames):
            frame.pts = (index if ticks is None else ticks[index]) + delay
            frame.time_base = stream.codec_context.time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def write_tone(
    path: Path, codec: str, rate: int = 16000, layout: str = "mono", seconds: float = 1.0, start: float = 0.0
) -> Path:
    """Silence, then from 0.5 s on a tone in every channel (each its own); the track begins at `start`."""
    wave_CS = tone(rate, av.AudioLayout(layout).nb_channels, seconds)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        for at in range(0, wave_CS.shape[1], 1000):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave_CS[:, at : at + 1000]), "fltp", layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, at + round(start * rate), Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def tone(rate: int, channels: int, seconds: float) -> np.ndarray:
    """float32 (channels, samples)."""
    time = np.arange(round(rate * seconds)) / rate
    wave_CS = np.stack([0.4 * np.sin(2 * np.pi * (400 + 60 * c) * time) for c in range(channels)])
    return np.where(time >= 0.5, wave_CS, 0).astype(np.float32)


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [bytes(packet) for packet in container.demux(stream) if packet.size]
