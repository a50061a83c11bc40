"""Odd inputs, as generators: what the core is tried with, and the nodes wherever one of them takes the value."""

from __future__ import annotations

import json
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests import tiny
from tests.fake import write_video

HOUR = 3600
ODD_RATES = (1, 7, 999, 768001, 2**31 - 1)
"""Samples a second that no sound has."""
JUMPS = ((10 * HOUR, "10.0 h"), (23 * 24 * HOUR, "23.0 days"), (40_000_000, "463.0 days"))
"""Seconds by which a clock jumps, and how a message says it."""
TIFF_MODES = ("L", "1", "RGBA", "CMYK", "P", "F", "I", "I;16")
CONFIGURATION = json.loads(json.dumps({"format": 1, **tiny.CONFIG, "sampling": {"guidance": {}}}))
"""Of a bundle, whole and right."""
WRONG_VALUES = (
    (("dit", "width"), 10**12, "dit.width must be a whole number from 2 to 16384"),
    (("dit", "width"), True, "dit.width must be a whole number"),
    (("dit", "width"), {"a": 1}, "got an object of 1"),
    (("dit", "heads"), 0, "dit.heads must be"),
    (("dit", "heads"), 5, "dit.width 24 gives 5 heads"),
    (("dit", "depth"), 24.0, "dit.depth must be"),
    (("dit", "speech_dim"), 8, "whisper.d_model 16"),
    (("dit", "text_dim"), 9, "text.d_model 8"),
    (("dit", "latent_channels"), 8, "are not the same"),
    (("dit", "residual_std"), 0, "residual_std must be"),
    (("vae", "widths"), [8, 8], "a list of three"),
    (("vae", "widths"), [8, -8, 8], "vae.widths[1] must be"),
    (("vae", "skips"), 1, "vae.skips must be one of true, false"),
    (("whisper", "encoder_attention_heads"), 3, "no multiple"),
    (("text", "architecture"), "gpt", 'one of "t5", "umt5", "byt5"'),
    (("text", "architecture"), "t5", "needs its tokenizer"),
    (("text", "feed_forward_proj"), "kernels-community/x", "feed_forward_proj must be"),
    (("text", "vocab_size"), 100, "needs its tokenizer"),
    (("spec", "crop_size"), 0, "crop_size must be"),
    (("spec", "crop_size"), 97, "a multiple of 16"),
    (("spec", "crop_size"), 10**6, "crop_size must be"),
    (("spec", "temporal_stride"), 8, "temporal_stride must be"),
    (("spec", "overlap_frames"), 9, "below window_frames"),
    (("sampling", "steps"), 10**9, "sampling.steps must be"),
    (("sampling", "guidance"), 3, "sampling.guidance must be an object"),
    (("format",), 1.0, "format 1.0, expected 1"),
)
"""A path in a bundle's configuration, what stands there, and a part of the message."""
CODE_KEYS = ("attn_implementation", "_attn_implementation", "torch_dtype", "auto_map", "a\nb", "")
"""Keys that no bundle has; some name code for transformers to load."""
NO_CONFIGURATION = ("", "{", "[" * 10**5, '{"a":' * 10**5, '{"format": 1e999}', '{"format": NaN}', "7")


def changed(path: tuple, value) -> dict:
    """The whole configuration with another value at a path."""
    config = json.loads(json.dumps(CONFIGURATION))
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return config


def wav(path: Path, rate=16000, channels=1, declared: int | None = None) -> Path:
    """16-bit samples; what the head says of them need not be true."""
    samples = np.random.default_rng(0).normal(0, 3000, (6400, channels)).astype("<i2").tobytes()
    size = len(samples) if declared is None else declared
    shape = struct.pack("<HHIIHH", 1, channels, rate, min(rate * channels * 2, 2**32 - 1), channels * 2, 16)
    if size < 2**32:
        head = b"RIFF" + struct.pack("<I", min(36 + size, 2**32 - 1)) + b"WAVE"
    else:
        head = b"RF64" + b"\xff" * 4 + b"WAVEds64" + struct.pack("<IQQQI", 28, size + 100, size, size // 2, 0)
    body = b"fmt " + struct.pack("<I", 16) + shape + b"data" + struct.pack("<I", min(size, 2**32 - 1)) + samples
    path.write_bytes(head + body)
    return path


def sound_with_a_hole(path: Path, hole: int) -> Path:
    """A tenth of a second, nothing for `hole` seconds, and another tenth."""
    with av.open(str(path), "w", format="matroska") as output:
        stream = output.add_stream("pcm_s16le", rate=16000, layout="mono")
        for start in (0, hole):
            frame = av.AudioFrame.from_ndarray(np.full((1, 1600), 1000, np.int16), "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, start * 16000, Fraction(1, 16000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def jumping_video(path: Path, gap: float) -> Path:
    """Ten frames at 25 a second; after the fifth the clock jumps by `gap` seconds."""
    return write_video(path, 10, times=[i / 25 + gap * (i > 4) for i in range(10)])


def turned_picture(path: Path, picture_HWC: np.ndarray, orientation: int | None) -> Path:
    """A picture whose EXIF data say how it is held; None: it has none."""
    from PIL import Image

    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(picture_HWC).save(path, exif=exif)
    return path


def tiff(path: Path, picture_HWC: np.ndarray, mode: str) -> Path:
    """A TIFF of a kind by Pillow's name."""
    from PIL import Image

    picture = Image.fromarray(picture_HWC)
    picture = picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode)
    picture.save(path)
    return path
