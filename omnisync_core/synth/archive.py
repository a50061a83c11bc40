"""Arrays of an npz, read from where they lie on the disk as they are asked for."""

import struct
import zipfile
from pathlib import Path

import numpy as np


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
