"""Small clips for Lip Sync Video, and an engine that paints: most of a job is plumbing."""

import av
import numpy as np
import torch

SECONDS, FPS, SIDES = 0.8, 25, (96, 80)
OPTIONS = {
    "seed": 3, "length_policy": "source", "silence_policy": "close", "preview_seconds": 0.0, "resume": True,
    "lossless": True,
}  # fmt: skip


def painter(host, stop=None):
    """An ENGINE whose mouths are as red as the sound is loud. `stop` is called at every step."""
    protocol = host.module("omnisync_core.engines.protocol")

    class Painter(protocol.WindowEngine):
        spec = host.module("omnisync_core.spec").VideoSpec(crop_size=24, window_frames=9, overlap_frames=5)
        fingerprint = {"engine": "painter"}  # noqa: RUF012
        windows = 0

        def get_models(self):
            return []

        def open(self):
            return self

        def speech(self, wave):
            return Loudness(wave)

        def edit_window(self, excerpt, anchor, on_step):
            for step in range(2):
                if stop:
                    stop(self.windows)
                on_step(step + 1, 2)
            self.windows += 1
            edited = excerpt.frames_THWC.copy()
            for frame, (x, y, width) in enumerate(excerpt.mouth_T3 * edited.shape[1]):
                box = np.s_[round(y - width / 3) : round(y + width / 3), round(x - width / 2) : round(x + width / 2)]
                edited[frame][box] = [min(1, 0.2 + 3 * excerpt.speech_TND[frame, 0, 0]), 0.1, 0.1]
            if anchor is not None:
                edited[: len(anchor)] = anchor
            return protocol.Edit(edited, excerpt.frames_THWC)

    return Painter()


class Loudness:
    def __init__(self, wave):
        self._wave = wave

    def at(self, times_T):
        rms = [np.sqrt(np.mean(np.square(self._wave.read(time - 0.02, time + 0.02)))) for time in times_T]
        return np.array(rms, np.float32)[:, None, None]


def pictures(frames=20, sides=SIDES):
    """Smooth drifting blobs (N, H, W, 3), whole 8-bit levels."""
    y, x = torch.meshgrid(torch.arange(float(sides[0])), torch.arange(float(sides[1])), indexing="ij")
    hue = torch.tensor([3.0, 5.0, 7.0])
    batch = [torch.sin((x[..., None] + 0.5 * n) * hue / 60) * torch.cos(y[..., None] * hue / 50) for n in range(frames)]
    return ((0.5 + 0.4 * torch.stack(batch)) * 255).round() / 255


def sound(seconds=SECONDS, start=0.0, stop=9.0, rate=44100, channels=2):
    time = torch.arange(round(seconds * rate)) / rate
    wave = torch.randn(channels, len(time), generator=torch.Generator().manual_seed(0)).clamp(-3, 3) * 0.1
    return {"waveform": (wave * ((time >= start) & (time < stop)))[None], "sample_rate": rate}


def shown(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


def track(host, count, x=0.5, frame_size=SIDES[::-1]):
    return host.module("omnisync_core.mouth").MouthTrack(
        np.arange(count) / FPS, np.tile([[x, 0.6]], (count, 1)), np.full(count, 0.2), np.ones(count, np.float32),
        np.full(count, "user"), np.zeros(count, int), frame_size,
    )  # fmt: skip
