"""A small video of faces with its sound, as trainings read it."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from .stretches import FPS

QUALITY = {"crf": "12", "preset": "veryfast", "g": str(FPS)}
"""Hardly any loss; a key frame each second, so that a window is soon found."""
BLOCK = 1024


def write_faces(path: Path, faces: Iterable[np.ndarray], wave_S: np.ndarray, rate: int) -> None:
    """An MP4 of H.264 and AAC, 25 frames a second; faces (R, R, 3) uint8, one at a time."""
    with av.open(str(path), "w", format="mp4") as output:
        video, sound = None, output.add_stream("aac", rate=rate, layout="mono")
        sound.bit_rate = 96_000
        for index, face in enumerate(faces):
            if video is None:
                video = output.add_stream("libx264", rate=FPS, options=QUALITY)
                video.width, video.height, video.pix_fmt = face.shape[1], face.shape[0], "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(face), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            output.mux(video.encode(frame))
        if video is not None:
            output.mux(video.encode(None))
        for start in range(0, len(wave_S), BLOCK):
            block_1S = np.ascontiguousarray(wave_S[None, start : start + BLOCK], np.float32)
            heard = av.AudioFrame.from_ndarray(block_1S, "fltp", "mono")
            heard.sample_rate, heard.pts, heard.time_base = rate, start, Fraction(1, rate)
            output.mux(sound.encode(heard))
        output.mux(sound.encode(None))
