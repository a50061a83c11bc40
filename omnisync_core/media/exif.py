"""How a picture's EXIF data says that it is turned. PyAV tells of turns alone, not of upside-down mirrors."""

from __future__ import annotations

import re
import struct
from pathlib import Path

UPRIGHT = 1
_ORIENTATION = 0x0112
_HEADER = re.compile(rb"(?:\A|Exif\0\0|eXIf|EXIF.{4})(?=(II\*\0|MM\0\*))", re.DOTALL)
"""What stands before EXIF's header: nothing in TIFF, then as in JPEG, PNG and WebP."""


def orientation_of_picture(path: Path) -> int:
    """EXIF's number, 1 to 8; 1 where there is none that can be read."""
    data = path.read_bytes()
    found = _HEADER.search(data)
    if found is None:
        return UPRIGHT
    try:
        return _first_directory(data[found.end() :]).get(_ORIENTATION, UPRIGHT)
    except struct.error:  # cut off
        return UPRIGHT


def _first_directory(tiff: bytes) -> dict[int, int]:
    """Tags of the picture itself and their first 16 bits."""
    order = "<" if tiff[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    entries = (struct.unpack_from(f"{order}HHIH", tiff, start + 2 + 12 * number) for number in range(count))
    return {tag: value for tag, _, _, value in entries}
