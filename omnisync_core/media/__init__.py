"""The media room: frames of a video in, frames of a video out, and sound, streamed through PyAV."""

from .frame import Frame
from .reader import VideoInfo, probe_video, read_frames
from .sound import AudioInfo, open_audio, read_audio
from .writer import VideoWriter, check_output

__all__ = [
    "AudioInfo",
    "Frame",
    "VideoInfo",
    "VideoWriter",
    "check_output",
    "open_audio",
    "probe_video",
    "read_audio",
    "read_frames",
]
