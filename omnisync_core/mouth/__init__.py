"""Where the mouth is in every frame; `tracking` is the page to read first."""

from .observations import Seen
from .tracking import track
from .types import Choice, MouthTrack, Point

__all__ = ["Choice", "MouthTrack", "Point", "Seen", "track"]
