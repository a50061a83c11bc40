"""What decides a result bit for bit: an unfinished job is continued only where all of it is the same."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import av
import cv2
import numpy as np
import scipy

from ..engines.protocol import Engine
from ..media import Part
from .options import Speaker, SyncOptions


def manifest(
    video: Part, audio: os.PathLike, engine: Engine, options: SyncOptions, speakers: Sequence[Speaker] = ()
) -> dict:
    """Plain JSON values: contents of the files, options, engine, libraries, number of threads."""
    return {
        "format": 3,
        "video": file_digest(video.path),
        "part": [video.start, video.stop],
        "sound": file_digest(audio),
        **plain(options.deciding()),
        "speakers": [{"sound": file_digest(who.audio), "mouth": plain(who.mouth)} for who in speakers],
        "engine": plain({"spec": engine.spec, **engine.fingerprint}),
        "versions": _versions(),
        "threads": _threads(),
    }


def file_digest(path: str | os.PathLike) -> str:
    """sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain(value: Any) -> Any:
    """A value as JSON; arrays by their digest, dataclasses by their fields."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray) and value.ndim:
        return f"{value.dtype}{list(value.shape)} {hashlib.sha256(np.ascontiguousarray(value).data).hexdigest()}"
    if isinstance(value, (np.generic, np.ndarray)):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _versions() -> dict[str, str]:
    """Of the libraries that decode, compute and encode. Python's own decides no sample."""
    modules = {"av": av, "cv2": cv2, "numpy": np, "scipy": scipy}
    versions = {name: module.__version__ for name, module in modules.items()}
    for name in ("torch", "transformers"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _threads() -> dict[str, int]:
    """Sums depend on how many threads share them. An engine that is here without torch does not use it."""
    torch = sys.modules.get("torch")
    return {"cv2": cv2.getNumThreads()} | ({"torch": torch.get_num_threads()} if torch else {})
