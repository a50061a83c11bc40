"""OmniSync: mask-free lip sync with diffusion transformers. Runs without ComfyUI.

    from omnisync_core import load_engine, sync_video

    sync_video("film.mp4", "speech.wav", "dubbed.mp4", load_engine())

What is named in `__all__` is the public interface. Importing the package is light: each name is loaded when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .diffusion.guidance import Guidance
    from .engines.omnisync import load_engine
    from .engines.protocol import Engine
    from .errors import CheckpointError, InputError, OutputError
    from .job.options import Speaker, SyncOptions
    from .job.report import Progress, Report
    from .media import Part
    from .mouth import MouthTrack
    from .pipeline import sync_video

__all__ = [
    "CheckpointError",
    "Engine",
    "Guidance",
    "InputError",
    "MouthTrack",
    "OutputError",
    "Part",
    "Progress",
    "Report",
    "Speaker",
    "SyncOptions",
    "load_engine",
    "sync_video",
]
_ROOMS = {
    "CheckpointError": "errors", "Engine": "engines.protocol", "Guidance": "diffusion.guidance", "InputError": "errors",
    "MouthTrack": "mouth", "OutputError": "errors", "Part": "media", "Progress": "job.report", "Report": "job.report",
    "Speaker": "job.options", "SyncOptions": "job.options", "load_engine": "engines.omnisync", "sync_video": "pipeline",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_ROOMS[name]}", __name__), name)
