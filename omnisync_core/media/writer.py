"""Writing the result: the source's picture format, clock, tags and side tracks, with another sound."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import PictureType

from ..errors import InputError, OutputError
from ..files import part_of
from .encoding import Encoding, choose_encoding, container_of
from .frame import Frame
from .planes import is_opaque, repack
from .reader import Part
from .sound import audio_stream
from .source import Source, check_name, display_matrix, open_media
from .tracks import copied_metadata, copy_attachments, sound_track, subtitle_tracks

LONGEST_SUFFIX = ".omnisync"
"""What a job adds to the name of its result: a file that is being written, a folder of finished windows."""


def check_output(path: str | Path, source: str | Path, audio: str | Path | None = None, lossless: bool = False) -> None:
    """InputError if a result cannot be written there; to be asked before long work. Writes nothing."""
    path, source = Path(path), Path(source)
    check_name(path, LONGEST_SUFFIX)
    container_of(path)
    if not path.parent.is_dir():
        raise InputError(f"the output folder does not exist: {path.parent}; create it first")
    if path.is_dir():
        raise InputError(f"the output is a folder: {path}; give a file name")
    if part_of(path).is_dir():
        raise InputError(f"{part_of(path)} is a folder, and the result is written there first; rename that folder")
    for role, given in (("source video", source), ("sound", audio)):
        if given is not None and path.exists() and Path(given).exists() and path.samefile(given):
            raise InputError(f"the output is the {role} itself: {path}; choose another name")
    if audio is not None:
        with open_media(audio) as container:
            audio_stream(container, audio)
    with Source(source) as opened:
        _plan(opened, path, lossless)


class VideoWriter:
    """Writes frames of `source` (edited or not) with the sound of `audio` (None: no sound) to `path`.

    mp4, mov, mkv by suffix. The frames keep pixel format, colour tags, times and rotation of the source, and its
    subtitles, chapters (of a whole file) and metadata come along; `lossless` is FFV1 (mkv). `audio_duration` (seconds)
    cuts the sound, and follows an encoded one with silence. `note` joins the comment in the file's metadata. A context
    manager: the file appears at `path` on a clean exit, after `finish` has seen it whole under another name; after an
    error nothing is left. Errors: InputError as `check_output`, OutputError when the disk is full or forbids it.
    """

    def __init__(
        self,
        path: str | Path,
        source: str | Path | Part,
        audio: str | Path | None = None,
        *,
        lossless: bool = False,
        audio_duration: float | None = None,
        note: str = "",
        finish: Callable[[Path], None] = lambda _: None,
    ) -> None:
        self.path, part, self._whole = Path(path), Part.of(source), finish
        check_output(path, part.path, audio, lossless)
        self._part = part_of(self.path)
        self._output, self._last, self._written, self._tracks = None, None, 0, []
        try:
            with Source(part.path) as opened:
                first, self._encoding = _plan(opened, self.path, lossless)
                self._output = _open_output(self._part, container_of(self.path))
                self._output.metadata.update(_with_note(copied_metadata(opened.container.metadata), note))
                if part.is_whole:
                    self._output.set_chapters(opened.container.chapters())
                copy_attachments(self._output, opened.container)
                self._video = _video_stream(self._output, self._encoding, first, opened)
            if audio is not None:
                self._tracks.append(sound_track(self._output, Path(audio), audio_duration))
            self._tracks += subtitle_tracks(self._output, part)
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
        self._last, self._written = pts, self._written + 1
        native = repack(frame.native, self._encoding.pix_fmt, frame.colour)
        duration = round(native.duration * native.time_base / base) if native.duration and native.time_base else 0
        native.pts, native.time_base, native.duration = pts, base, duration
        native.pict_type = PictureType.NONE  # the decoder's choice is not the encoder's
        try:
            self._output.mux(self._video.encode(native))
            for track in self._tracks:
                track.pump(float(pts * base) + 0.5)
        except (av.error.FFmpegError, OSError) as error:
            raise _explained(error, self.path) from error

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._finish()
        except BaseException as failure:
            self._discard()
            raise _explained(failure, self.path) from failure

    def _finish(self) -> None:
        if self._last is None:
            raise InputError(f"no frame was written to {self.path}")
        for packet in self._video.encode(None):
            if self._written < 3:  # x265 makes up decoding times for one or two frames
                packet.dts = packet.pts
            self._output.mux(packet)
        for track in self._tracks:
            track.pump(float("inf"))
            track.close()
        self._output.close()
        self._output = None
        self._whole(self._part)
        os.replace(self._part, self.path)

    def _discard(self) -> None:
        """Closes everything and removes the unfinished file."""
        for track in self._tracks:
            track.close()
        if self._output is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError):  # the disk is full or the like
                self._output.close()
            self._output = None
        self._part.unlink(missing_ok=True)


def _with_note(metadata: dict[str, str], note: str) -> dict[str, str]:
    """Metadata whose comment also says `note`, once."""
    key = next((key for key in metadata if key.lower() == "comment"), "comment")
    before = metadata.get(key, "")
    if not note or note in before:
        return metadata
    return metadata | {key: f"{before}; {note}" if before else note}


def _plan(source: Source, path: Path, lossless: bool) -> tuple[Frame, Encoding]:
    """The source's first frame and the encoding for its kind."""
    frames = source.frames()
    first = next(frames, None)
    if first is None:
        raise InputError(f"{source.path} has a video track, but no frame of it can be decoded")
    opaque = is_opaque(first.native, first.layout)
    if opaque and first.layout.alpha is not None and not lossless:
        opaque = all(is_opaque(frame.native, frame.layout) for frame in frames)
    return first, choose_encoding(first, path, lossless, opaque)


def _open_output(part: Path, container: str) -> av.container.OutputContainer:
    if container == "matroska":
        # Bit-exact: no random number, the same job gives the same bytes. A sound's lead-in may lie before 0: otherwise
        # the muxer would move the pictures instead.
        options = {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
    else:
        options = {"movflags": "+faststart"}
    return av.open(str(part.absolute()), "w", format=container, container_options=options)


def _video_stream(output: OutputContainer, encoding: Encoding, first: Frame, source: Source) -> av.VideoStream:
    native = first.native
    stream = output.add_stream(encoding.codec, rate=source.rate.limit_denominator(1001), options=dict(encoding.options))
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = native.width, native.height, encoding.pix_fmt
    context.time_base = stream.time_base = _fine(source.stream.time_base)
    if source.stream.sample_aspect_ratio:
        context.sample_aspect_ratio = source.stream.sample_aspect_ratio
    context.color_primaries, context.color_trc = native.color_primaries, native.color_trc
    if first.layout.kind == "rgb" and encoding.pix_fmt.startswith("yuv"):
        context.colorspace, context.color_range = 1, 1  # as `repack` converts
    else:
        context.colorspace = native.colorspace
        context.color_range = 2 if first.colour.full_range else native.color_range
    context.flags |= Flags.frame_duration
    if native.interlaced_frame and encoding.codec == "libx264":
        context.flags |= Flags.interlaced_dct
    if encoding.tag:
        context.codec_tag = encoding.tag
    stream.metadata.update(copied_metadata(source.stream.metadata))
    if matrix := display_matrix(native):
        stream.set_display_matrix(matrix)
    return stream


def _fine(base: Fraction) -> Fraction:
    """A time base of at most 0.1 ms in which every time of `base` is whole."""
    return base / max(1, -(-10000 * base.numerator // base.denominator))


def _explained(error: BaseException, path: Path) -> BaseException:
    """Failures of the disk as OutputError; everything else as it is."""
    if isinstance(error, OSError | av.error.FFmpegError) and not isinstance(error, InputError | OutputError):
        if not path.parent.is_dir():
            return OutputError(f"the output folder {path.parent} is gone: it was removed while the job ran")
        return OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}")
    return error
