"""Writing the result: the source's picture format, clock, tags and side tracks, with another sound."""

from __future__ import annotations

import contextlib
import os
from fractions import Fraction
from pathlib import Path

import av

from ..errors import InputError, OutputError
from .encoders import Encoding, choose_encoding, container_of
from .frame import Frame
from .planes import repack
from .reader import display_matrix, read_frames, source_clock
from .tracks import sound_track


def check_output(path: str | Path, source: str | Path, audio: str | Path | None = None, lossless: bool = False) -> None:
    """InputError if a result cannot be written there; to be asked before long work. Writes nothing."""
    path, source = Path(path), Path(source)
    container_of(path)
    if not path.parent.is_dir():
        raise InputError(f"output folder does not exist: {path.parent}; create it first")
    if path.is_dir():
        raise InputError(f"output is a folder: {path}; give a file name")
    for role, given in (("source video", source), ("sound", audio)):
        if given is not None and path.exists() and Path(given).exists() and path.samefile(given):
            raise InputError(f"output is the {role} itself: {path}; choose another name")
    choose_encoding(_first_frame(source), path, lossless)


class VideoWriter:
    """Writes frames of `source` (edited or not) with the sound of `audio` (None: no sound) to `path`.

    mp4, mov, mkv by suffix. The frames keep pixel format, colour tags, times and rotation of the source; `lossless` is
    FFV1 (mkv). `audio_duration` (seconds) cuts the sound, and follows an encoded one with silence. A context manager:
    the file appears at `path` on a clean exit; after an error nothing is left. OutputError: no space, no permission.
    """

    def __init__(self, path, source, audio=None, *, lossless: bool = False, audio_duration: float | None = None):
        self.path, self.source = Path(path), Path(source)
        check_output(path, source, audio, lossless)
        self._part = self.path.with_name(self.path.name + ".part")
        self._last = None
        first = _first_frame(self.source)
        self._encoding = choose_encoding(first, self.path, lossless)
        self._tracks = []
        self._output = None
        try:
            container, options = container_of(self.path), self._muxer_options()
            self._output = av.open(str(self._part), "w", format=container, container_options=options)
            self._video = _video_stream(self._output, self._encoding, first, self.source)
            if audio is not None:
                self._tracks.append(sound_track(self._output, Path(audio), audio_duration))
            self._output.start_encoding()
        except BaseException as error:
            self._discard()
            raise _explained(error, self.path) from error

    def write(self, frame: Frame, time: float | None = None) -> None:
        """Appends a frame, shown from `time` seconds on (default: its own time). Times must grow."""
        base = self._video.codec_context.time_base
        pts = round(Fraction(frame.time if time is None else time) / base)
        if self._last is not None and pts <= self._last:
            raise ValueError(f"frame times must grow: {float(pts * base)} s follows {float(self._last * base)} s")
        self._last = pts
        native = repack(frame.native, self._encoding.pix_fmt)
        duration = round(native.duration * native.time_base / base) if native.time_base else 0
        native.pts, native.time_base, native.duration = pts, base, duration
        native.pict_type = av.video.frame.PictureType.NONE
        try:
            self._output.mux(self._video.encode(native))
            for track in self._tracks:
                track.pump(float(pts * base) + 0.5)
        except (av.error.FFmpegError, OSError) as error:
            raise _explained(error, self.path) from error

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            if self._last is None:
                raise InputError(f"no frame was written to {self.path}")
            self._output.mux(self._video.encode(None))
            for track in self._tracks:
                track.pump(float("inf"))
                track.close()
            self._output.close()
            self._output = None
            os.replace(self._part, self.path)
        except BaseException as failure:
            self._discard()
            raise _explained(failure, self.path) from failure

    def _discard(self) -> None:
        """Closes everything and removes the unfinished file."""
        for track in self._tracks:
            track.close()
        if self._output is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError):  # the disk is full or the like
                self._output.close()
            self._output = None
        self._part.unlink(missing_ok=True)

    def _muxer_options(self) -> dict[str, str]:
        return {} if container_of(self.path) == "matroska" else {"movflags": "+faststart"}


def _video_stream(output, encoding: Encoding, first: Frame, source: Path) -> av.VideoStream:
    base, rate, aspect = source_clock(source)
    stream = output.add_stream(encoding.codec, rate=rate, options=dict(encoding.options))
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = first.native.width, first.native.height, encoding.pix_fmt
    context.time_base = stream.time_base = base
    if aspect:
        context.sample_aspect_ratio = aspect
    context.color_range = 2 if first.colour.full_range and first.layout.kind != "rgb" else first.native.color_range
    context.colorspace = first.native.colorspace
    context.color_primaries, context.color_trc = first.native.color_primaries, first.native.color_trc
    if encoding.tag:
        context.codec_tag = encoding.tag
    if matrix := display_matrix(first.native):
        stream.set_display_matrix(matrix)
    return stream


def _first_frame(source: Path) -> Frame:
    for frame in read_frames(source, stop=1):
        return frame
    raise InputError(f"{source} has a video track but no frame of it can be decoded")


def _explained(error: BaseException, path: Path) -> BaseException:
    """Failures of the disk as OutputError; everything else as it is."""
    if isinstance(error, OSError | av.error.FFmpegError) and not isinstance(error, InputError | OutputError):
        return OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}")
    return error
