"""The media room: frames of a video in, frames of a video out, and sound, streamed through PyAV."""

import av

if tuple(int(part) for part in av.__version__.split(".")[:2]) < (17, 1):
    raise ImportError(f"OmniSync needs PyAV 17.1 or newer, found {av.__version__}: pip install --upgrade av")

from .ahead import ahead
from .frame import Frame
from .pictures import write_pictures, write_samples
from .reader import TRIM_TOLERANCE, Part, VideoInfo, frames_from, frames_of, probe_video, read_frames
from .sound import AudioInfo, open_audio, read_audio
from .source import open_media
from .writer import VideoWriter, check_output

__all__ = [
    "TRIM_TOLERANCE",
    "AudioInfo",
    "Frame",
    "Part",
    "VideoInfo",
    "VideoWriter",
    "ahead",
    "check_output",
    "frames_from",
    "frames_of",
    "open_audio",
    "open_media",
    "probe_video",
    "read_audio",
    "read_frames",
    "write_pictures",
    "write_samples",
]
