"""Arrays of an npz, read from where they lie on the disk as they are asked for."""

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError


def opened(archive: Path | str, **how: Any) -> Any:
    """`np.load` with its settings. InputError: not there, or cut off."""
    try:
        return np.load(archive, **how)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(
            f"{archive} is cut off or damaged ({reason}); remove it and give the command again, which makes it anew"
        ) from None


def mapped(archive: Path | str, name: str) -> np.ndarray:
    """One array of what `np.savez` wrote, which does not compress."""
    with zipfile.ZipFile(archive) as parts, parts.open(f"{name}.npy") as member:
        entry = parts.getinfo(f"{name}.npy")
        np.lib.format.read_magic(member)
        shape, _, kind = np.lib.format.read_array_header_1_0(member)
        within = member.tell()
    with open(archive, "rb") as file:
        file.seek(entry.header_offset + 26)
        name_size, extra_size = struct.unpack("<HH", file.read(4))
    offset = entry.header_offset + 30 + name_size + extra_size + within
    return np.memmap(archive, kind, "r", offset, shape)
