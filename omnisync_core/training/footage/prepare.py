"""Footage to a set: every stretch in which a mouth is seen becomes a small video of the aligned face with its sound.

A set is a folder: `train/` and `test/` hold the videos (25 frames a second, square, sound at 16 kHz), `clips.csv` or
`clips.parquet` lists them and what was left out, `contact.png` shows some. Who is tested on is not learned from: the
folder that a source lies in names the person, or, at the top, the source itself. A source that was worked on with the
same options is not worked on again.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ... import mouth
from ...audio import SAMPLE_RATE, SpeechWave
from ...engines.latentsync import align
from ...errors import InputError, OutputError
from ...files import make_folder, replacing
from ...media import Frame, VideoInfo, probe_video
from ...mouth.looks import hearing, small_frames
from ...spec import VideoSpec
from ...tables import write_table
from ..latentsync.faces import FaceClip
from ..latentsync.syncnet import StableSyncNet, load_syncnet
from ..settings import check_number
from .contact import draw_contact
from .crops import crop_frames, drawn_frames, write_beside
from .faces_file import write_faces
from .spread import HERE, Spread
from .stretches import FPS, Stretch, affines, find_stretches
from .sync import measure_sync

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".ts")
ROWS = ".rows"
SPLITS = ("train", "test")
PAIRS = ("none", "folder")
Row = dict[str, Any]


@dataclass(frozen=True)
class PrepareOptions:
    resolution: int = 256
    test_share: float = 0.1
    """Of the people, not of the clips."""
    least_seconds: float = 2.0
    longest_seconds: float = 20.0
    least_confidence: float = 0.3
    syncnet: str = ""
    """A StableSyncNet (`stable_syncnet.pt`); with it a clip whose sound is off by more frames than this is left out."""
    most_offset: int = 1
    crops: int = 0
    """Side, in pixels, of crops around the mouth as an engine edits them, in the place of aligned faces; 0: faces."""
    crop_scale: float = VideoSpec().crop_scale
    """Their side over the mouth's width."""
    pairs: str = "none"
    """"folder": videos of one folder show a person in one pose, saying other words each."""
    table: str = "clips.csv"
    """`clips.parquet` needs pyarrow."""

    def __post_init__(self) -> None:
        if self.resolution % 8 or self.resolution < 64:
            raise InputError(f"the resolution must be a multiple of 8 from 64 on, got {self.resolution}")
        check_number("crop_scale", self.crop_scale, 1)
        if self.crops and (self.crops % 16 or not 32 <= self.crops <= 2048):
            raise InputError(f"crops must be a multiple of 16 from 32 to 2048 pixels, got {self.crops}")
        if self.pairs not in PAIRS:
            raise InputError(f"pairs must be one of {', '.join(PAIRS)}, got {self.pairs!r}")
        if not 0 <= self.test_share < 1:
            raise InputError(f"the test's share must be from 0 to below 1, got {self.test_share}")
        if not 2 <= self.least_seconds <= self.longest_seconds:
            raise InputError(
                f"clips must last at least 2 s and no less than they may, got {self.least_seconds:g} to "
                f"{self.longest_seconds:g} s"
            )


def prepare(
    folder: str | Path,
    out: str | Path,
    options: PrepareOptions = PrepareOptions(),
    spread: Spread = HERE,
    on_source: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Work on every video of a folder and those below; returns the table's rows, a clip or what was left out each.

    One person alone is learned from, and nobody is left for the test. `on_source(sources done, of all)`. InputError: no
    videos, or nothing in any of them to learn from.
    """
    folder, out = Path(folder), Path(out)
    sources = _sources(folder, out)
    if options.syncnet:
        _syncnet(options.syncnet)  # a file that does not serve is no fault of the footage
    for path in (out, *(out / name for name in (*SPLITS, ROWS))):
        make_folder(path)
    if len({_person(source.relative_to(folder)) for source in sources}) == 1:
        options = replace(options, test_share=0.0)
    found: dict[int, list[Row]] = {}
    for place, one in spread(partial(_rows_of, folder, out, options), sources):
        found[place] = one
        on_source(len(found), len(sources))
    rows = [row for place in sorted(found) for row in found[place]]
    write_table(out / options.table, rows)
    clips = [row for row in rows if not row["problem"]]
    if not clips:
        problem = rows[0]["problem"]
        raise InputError(f"nothing in the {len(sources)} videos of {folder} can be learned from; the first: {problem}")
    draw_contact(out / "contact.png", [out / row["path"] for row in clips], summary(rows))
    return rows


def summary(rows: list[Row]) -> str:
    """Counts in one line."""
    parts = []
    for split in SPLITS:
        clips = [row for row in rows if row["split"] == split and not row["problem"]]
        people, minutes = len({row["person"] for row in clips}), sum(row["frames"] for row in clips) / FPS / 60
        parts.append(f"{split}: {len(clips)} clips of {people} people, {minutes:.1f} min")
    left_out = sum(bool(row["problem"]) for row in rows)
    alone = "; one person alone: nobody to be tested on" if len({row["person"] for row in rows}) == 1 else ""
    return "; ".join(parts) + f"; left out: {left_out}{alone}"


def _sources(folder: Path, out: Path) -> list[Path]:
    """Videos to work on; what an earlier run made is none. InputError: there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.is_dir())
    sets = {out.resolve(), *(path.parent.resolve() for path in folder.rglob(ROWS))}
    made = {one / split for one in sets for split in SPLITS}
    sources = [path for path in found if path.parent.resolve() not in made]
    if not sources:
        others = f" but the {len(found)} clips that `prepare` made" if found else ""
        expected = f"footage ({', '.join(SUFFIXES)}), a folder for each person"
        raise InputError(f"no videos in {folder}{others}; expected {expected}")
    return sources


def _rows_of(folder: Path, out: Path, options: PrepareOptions, source: Path) -> list[Row]:
    """A source's rows; what is wrong with it alone is a row with a problem."""
    name = source.relative_to(folder)
    person = _person(name)
    pose = name.parent.as_posix() if options.pairs == "folder" else ""
    row = {"source": name.as_posix(), "person": person, "pose": pose, "split": _split(person, options.test_share)}
    try:
        kept = out / ROWS / f"{_digest(source, options)}.json"
        rows = _kept(kept)
        if rows and all(row["problem"] or (out / row["path"]).is_file() for row in rows):
            return rows
        clips = [row | one for one in _clips(source, out, row["split"], options)]
    except OutputError:
        raise
    except InputError as error:
        clips = [_left_out(row, str(error).splitlines()[0])]
    except OSError as error:  # of the disk, maybe: the next run tries again
        return [_left_out(row, f"{source} cannot be worked on ({error.strerror or error})")]
    if not clips:
        reason = f"no mouth is seen for {options.least_seconds:g} s in one shot"
        clips = [_left_out(row, reason)]
    with replacing(kept) as part:
        part.write_text(json.dumps(clips), encoding="utf-8")
    return clips


def _kept(path: Path) -> list[Row]:
    """A source's rows of before; none where they are not there or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []


def _person(name: Path) -> str:
    return name.parts[0] if len(name.parts) > 1 else name.stem


def _left_out(row: Row, problem: str) -> Row:
    nothing = {"begin": 0.0, "end": 0.0, "frames": 0, "confidence": 0.0, "offset": None, "sync": None}
    return row | {"path": "", **nothing, "problem": problem}


def _clips(source: Path, out: Path, split: str, options: PrepareOptions) -> Iterator[Row]:
    """Write a source's clips, one after the other."""
    info = probe_video(source)
    if not info.has_audio:
        raise InputError(f"{source} has no sound")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        track = mouth.track(small_frames(info), frame_size=(info.width, info.height), hear=hearing(info))
    wave, stem = SpeechWave(source), f"{source.stem[:60]}_{_digest(source, options)[:8]}"
    stretches = find_stretches(track, options.least_confidence, round(options.least_seconds * FPS))
    for number, stretch in enumerate(_cut(stretches, track.pts_N, options.longest_seconds)):
        path = Path(split) / f"{stem}_{number:03d}.mp4"
        samples_S = wave.read(stretch.begin, stretch.begin + stretch.frames / FPS)
        if options.crops:
            spec = VideoSpec(crop_size=options.crops, crop_scale=options.crop_scale)
            faces, mouth_F3 = crop_frames(info, track, stretch, spec)
            write_beside(out / path, {"mouth": mouth_F3.round(5).tolist()})
        else:
            faces = _aligned(info, track, stretch, options.resolution)
        with replacing(out / path) as part:
            write_faces(part, faces, samples_S, SAMPLE_RATE)
        sync = _in_sync(out / path, partial(_aligned, info, track, stretch, options.resolution), samples_S, options)
        yield {
            "path": path.as_posix(), "begin": round(stretch.begin, 3), "end": round(stretch.end, 3),
            "frames": stretch.frames, "confidence": stretch.confidence, **sync,
        }  # fmt: skip


def _in_sync(
    clip: Path, faces: Callable[[], Iterator[np.ndarray]], samples_S: np.ndarray, options: PrepareOptions
) -> Row:
    """What SyncNet says of a clip; one whose sound is off is removed. Beside crops it looks at their aligned faces."""
    found = None
    if options.syncnet:
        syncnet = _syncnet(options.syncnet)
        with TemporaryDirectory() as folder:
            looked_at = Path(folder) / "faces.mp4" if options.crops else clip
            if options.crops:
                write_faces(looked_at, faces(), samples_S, SAMPLE_RATE)
            found = measure_sync(FaceClip(looked_at, options.resolution, syncnet.config), syncnet)
    row: Row = {"offset": found and found.offset, "sync": found and found.confidence, "problem": ""}
    if found and abs(found.offset) > options.most_offset:
        for file in (clip, clip.with_suffix(".json")):
            file.unlink(missing_ok=True)
        row["problem"] = f"its sound is {found.offset:+d} frames off (agreement {found.confidence:.3f})"
    return row


@lru_cache(maxsize=1)
def _syncnet(path: str) -> StableSyncNet:
    return load_syncnet(path)


def _cut(stretches: list[Stretch], pts_N: np.ndarray, longest: float) -> Iterator[Stretch]:
    """Long stretches in equal parts."""
    for one in stretches:
        yield from one.split(pts_N, max(1, int(np.ceil((one.end - one.begin) / longest))))


def _aligned(info: VideoInfo, track: mouth.MouthTrack, stretch: Stretch, resolution: int) -> Iterator[np.ndarray]:
    """The stretch's faces at 25 frames a second, uint8 RGB."""
    to_face = affines(track, stretch, resolution)

    def face(frame: Frame) -> np.ndarray:
        return align.align(frame.rgb() * 255, to_face[frame.index - stretch.start], resolution)

    return drawn_frames(info, track, stretch, face)


def _split(person: str, test_share: float) -> str:
    """By the person's name alone: the same whatever else is in the folder."""
    place = int.from_bytes(hashlib.sha256(person.encode()).digest()[:8]) / 2**64
    return "test" if place < test_share else "train"


def _digest(source: Path, options: PrepareOptions) -> str:
    stat = source.stat()
    asked = {key: value for key, value in asdict(options).items() if key != "table"}
    identity = json.dumps([str(source.resolve()), stat.st_size, stat.st_mtime_ns, asked])
    return hashlib.sha256(identity.encode()).hexdigest()
