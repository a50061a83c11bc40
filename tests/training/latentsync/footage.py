"""A small video with sound in which the picture and the sound say which frame is shown."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

SIZE = 48


def write_footage(path: Path, frames: int = 20, rate: int = 25, sound: bool = True) -> Path:
    """Frame i is grey of level 10 * i (rounded by the codec); loudness follows it."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=rate, options={"crf": "4", "g": "5", "preset": "ultrafast"})
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        heard = output.add_stream("aac", rate=16000, layout="mono") if sound else None
        for index in range(frames):
            picture = np.full((SIZE, SIZE, 3), 10 * index, np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        output.mux(video.encode())
        if heard is not None:
            seconds = frames / rate
            time_S = np.arange(int(seconds * 16000)) / 16000
            wave_S = (np.sin(2 * np.pi * 300 * time_S) * time_S / seconds).astype(np.float32)
            for start in range(0, len(wave_S), 1024):
                block = av.AudioFrame.from_ndarray(wave_S[None, start : start + 1024], "fltp", "mono")
                block.sample_rate, block.pts = 16000, start
                output.mux(heard.encode(block))
            output.mux(heard.encode())
    return path
