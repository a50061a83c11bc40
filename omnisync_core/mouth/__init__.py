"""Where the mouth is in every frame; `tracking` is the page to read first."""

from .observations import Seen
from .tracking import count_mouths, track
from .types import Choice, MouthTrack, Point

__all__ = ["Choice", "MouthTrack", "Point", "Seen", "count_mouths", "track"]
