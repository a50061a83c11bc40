"""Results of nodes: a temporary video written as pictures come, and an output that nothing may run on."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import folder_paths
import numpy as np
from av.video.reformatter import Colorspace
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ...omnisync_core.errors import InputError

AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
USUAL_RATE = 48000
SOUND_BLOCK = 1 << 16


def blocked() -> ExecutionBlocker:
    """An output whose followers are silently left out."""
    return ExecutionBlocker(None)


def write_temporary_video(pictures: Iterable[Tensor], fps: float, sound: tuple[Tensor, int] | None = None) -> Path:
    """An H.264 file in the host's temp folder of batches of pictures (N, H, W, 3), 0..1, written as they come.

    `sound` is samples (C, S) and their rate, cut where the pictures end. InputError: no pictures.
    """
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    path, rate = folder / f"omnisync_{uuid.uuid4().hex}.mp4", Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as output:
        video, count = None, 0
        audio = _audio_stream(output, sound) if sound else None
        for batch_NHWC in pictures:
            for picture_HWC in batch_NHWC:
                video = video or _video_stream(output, picture_HWC.shape, rate)
                output.mux(video.encode(_frame(picture_HWC, video.pix_fmt, count, rate)))
                count += 1
        if video is None:
            raise InputError("there are no pictures to write: the latents are empty")
        output.mux(video.encode(None))
        if audio:
            _write_sound(output, audio, sound, count / rate)
    return path


def _video_stream(output, shape, rate: Fraction) -> av.VideoStream:
    stream = output.add_stream("libx264", rate=rate, options={"crf": "15", "preset": "medium"})
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = "yuv444p" if shape[0] % 2 or shape[1] % 2 else "yuv420p"
    context = stream.codec_context
    context.time_base = stream.time_base = 1 / rate
    context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1  # BT.709, limited
    return stream


def _frame(picture_HWC: Tensor, pix_fmt: str, index: int, rate: Fraction) -> av.VideoFrame:
    codes = np.ascontiguousarray((picture_HWC.float().clamp(0, 1) * 255).round().byte().cpu().numpy())
    frame = av.VideoFrame.from_ndarray(codes, "rgb24").reformat(format=pix_fmt, dst_colorspace=Colorspace.ITU709)
    frame.pts, frame.time_base = index, 1 / rate
    return frame


def _audio_stream(output, sound: tuple[Tensor, int]) -> av.AudioStream:
    wave_CS, rate = sound
    layout = "stereo" if len(wave_CS) == 2 else "mono"
    return output.add_stream("aac", rate=rate if rate in AAC_RATES else USUAL_RATE, layout=layout)


def _write_sound(output, stream: av.AudioStream, sound: tuple[Tensor, int], seconds: Fraction) -> None:
    wave_CS, rate = sound
    wave_CS = (wave_CS if len(wave_CS) == 2 else wave_CS.mean(0, keepdim=True))[:, : int(seconds * rate)].numpy()
    change = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
    for start in range(0, wave_CS.shape[1], SOUND_BLOCK):
        block_CS = np.ascontiguousarray(wave_CS[:, start : start + SOUND_BLOCK], np.float32)
        frame = av.AudioFrame.from_ndarray(block_CS, "fltp", stream.layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        for part in change.resample(frame):
            output.mux(stream.encode(part))
    for part in change.resample(None):
        output.mux(stream.encode(part))
    output.mux(stream.encode(None))
