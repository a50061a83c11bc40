"""The media room: frames of a video in, frames of a video out, and sound, streamed through PyAV."""

import av

if tuple(int(part) for part in av.__version__.split(".")[:2]) < (17, 1):
    raise ImportError(f"OmniSync needs PyAV 17.1 or newer, found {av.__version__}: pip install --upgrade av")

from .frame import Frame
from .pictures import write_pictures, write_samples
from .reader import Part, VideoInfo, frames_of, probe_video, read_frames
from .sound import AudioInfo, open_audio, read_audio
from .writer import VideoWriter, check_output

__all__ = [
    "AudioInfo",
    "Frame",
    "Part",
    "VideoInfo",
    "VideoWriter",
    "check_output",
    "frames_of",
    "open_audio",
    "probe_video",
    "read_audio",
    "read_frames",
    "write_pictures",
    "write_samples",
]
