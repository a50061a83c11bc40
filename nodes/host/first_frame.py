"""The first frame that Mouth Track will see, for the picture that is clicked before the workflow ever ran.

GET /omnisync/first_frame answers with a JPEG. It reads only videos inside the host's input, output and temp folders,
and the pack's own examples; browsers show neither HEVC nor ProRes, and know nothing of a trim upstream.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

import av
import cv2
import folder_paths
from aiohttp import web
from comfy_api.latest import InputImpl
from server import PromptServer

from ...omnisync_core import media
from ...omnisync_core.errors import InputError
from .folders import EXAMPLES

ROUTE = "/omnisync/first_frame"
LONGEST = 1280
"""Pixels of the longer side: enough for a loupe."""
QUALITY = 88
MOST_TRIMS = 16
LARGEST = 1 << 27
"""Pixels; a larger frame is not decoded for a picture."""
SECONDS = 20.0
"""Longest that is looked for a frame."""
LISTS = {"hls", "dash", "concat", "concatf", "imf", "sdp", "avisynth", "vapoursynth", "webm_dash_manifest"}
"""Formats that name other files, which may lie anywhere."""


def register() -> None:
    """Add the route to the host's server, once."""
    at_once = asyncio.Semaphore(2)

    @PromptServer.instance.routes.get(ROUTE)
    async def first_frame(request: web.Request) -> web.Response:
        try:
            async with at_once:
                jpeg = await asyncio.to_thread(read, request.rel_url.query)
        except InputError as error:
            return web.json_response({"error": str(error)}, status=404)
        except Exception:
            logging.exception("OmniSync: the first frame cannot be read")
            return web.json_response({"error": "the file cannot be read"}, status=404)
        return web.Response(body=jpeg, content_type="image/jpeg", headers={"Cache-Control": "no-store"})


def read(query: Mapping[str, str]) -> bytes:
    """A JPEG of the first frame. InputError: no such video, or none that may be read.

    `file`: a name as Load Video has it ("film.mp4 [output]"), or `example`: a name of OmniSync Example.
    `trims`: JSON, (start, duration) in seconds of every Trim Video on the way. `skip`: frames left out after that.
    """
    path, skip = _path(query), _whole(query.get("skip", "0"))
    _check(path)
    window = _window(path, query.get("trims", "[]"))
    return _jpeg(_frame(path, window, skip))


def _path(query: Mapping[str, str]) -> Path:
    if "example" in query:
        if query["example"] not in EXAMPLES:
            raise InputError("no such example")
        return EXAMPLES[query["example"]][0]
    name = query.get("file", "")
    if not name or "\0" in name or len(name) > 4096:
        raise InputError("no such file")
    try:
        path = os.path.realpath(folder_paths.get_annotated_filepath(name))
        is_there = os.path.isfile(path)
    except (ValueError, OSError) as error:
        raise InputError("no such file") from error
    folders = folder_paths.get_input_directory(), folder_paths.get_output_directory(), folder_paths.get_temp_directory()
    inside = any(folder_paths.is_within_directory(os.path.realpath(folder), path) for folder in folders)
    if not inside or not is_there:
        raise InputError("no such file")
    return Path(path)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InputError("skip must be a whole number of frames")
    return int(text)


def _window(path: Path, text: str) -> tuple[float, float]:
    """Start and duration (0: to the end) by the host's own rules for a trim of a trim."""
    try:
        trims = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("trims must be JSON") from error
    if not isinstance(trims, list) or len(trims) > MOST_TRIMS or not all(map(_is_trim, trims)):
        raise InputError("trims must be pairs of seconds")
    if not trims:
        return 0.0, 0.0
    video = InputImpl.VideoFromFile(str(path))
    try:
        for start, duration in trims:
            video = video.as_trimmed(start, duration, strict_duration=False)
        return video.get_active_trim_window()
    except (av.error.FFmpegError, ValueError) as error:
        raise InputError("the file cannot be trimmed") from error


def _is_trim(pair) -> bool:
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and all(type(value) in (int, float) and math.isfinite(value) and abs(value) <= 1e5 for value in pair)
        and pair[1] >= 0
    )


def _frame(path: Path, window: tuple[float, float], skip: int) -> media.Frame:
    start, duration = window
    end = start + duration if duration else math.inf
    until = time.monotonic() + SECONDS
    for frame in media.frames_from(path, start):
        if time.monotonic() > until:
            raise InputError("the frame lies too deep in the file to look for it")
        if frame.time < start - media.TRIM_TOLERANCE:
            continue
        if frame.time >= end - media.TRIM_TOLERANCE:
            break
        if not skip:
            return frame
        skip -= 1
    raise InputError("the file has no such frame")


def _check(path: Path) -> None:
    """Before anything is decoded."""
    with media.open_media(path) as container:
        if LISTS.intersection(container.format.name.split(",")):
            raise InputError("the file names other files")
        for stream in container.streams.video:
            if stream.width * stream.height > LARGEST:
                raise InputError(f"the frames are too large: {stream.width}x{stream.height}")


def _jpeg(frame: media.Frame) -> bytes:
    image = frame.thumbnail(LONGEST)
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
