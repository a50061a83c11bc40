"""The note in a file's metadata: what IPTC's vocabulary calls such a video."""

from __future__ import annotations

from pathlib import Path

from ..media.source import open_media

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
NOTE = f"Edited with trained algorithmic media: the mouth was synced to another sound ({SOURCE_TYPE})"


def has_tag(path: str | Path) -> bool:
    """Whether a media file's metadata says so. InputError: no media file."""
    with open_media(path) as container:
        return any(SOURCE_TYPE in value for value in container.metadata.values())
