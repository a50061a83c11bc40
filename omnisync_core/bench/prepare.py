"""Lists of clips from folders of the user's: HDTF, generated clips by style, or any folder. Nothing is downloaded."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .. import media
from ..errors import InputError
from ..manifest import FORBIDDEN, LONGEST_ID, STYLES, Row, write_manifest
from ..tables import read_table
from .clip import LABEL

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
SOUNDS = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac")
KINDS = ("hdtf", "aigc", "folder")
STYLE_TABLES = ("styles.csv", "styles.parquet")


def prepare(kind: str, source: str | Path, out: str | Path, *, names: str | Path | None = None, seed: int = 0) -> int:
    """Write the list of `source`'s clips to `out` (.csv, .parquet); returns how many there are.

    hdtf: the clips that the text file `names` lists (a name a line; None: all), each with another one's sound.
    aigc: clips by style, from folders called `realistic`, `stylised`, `atypical` or from styles.csv (`video, style`).
    folder: each video with the sound file of its name, else with sounds in turn, else with another video's sound;
    drawn clips with their truth. InputError: no videos; a listed one is not there.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give the one that holds the clips")
    rows = {"hdtf": _hdtf, "aigc": _aigc, "folder": _folder}[kind](folder, names, np.random.default_rng(seed))
    write_manifest(out, _apart(rows))
    return len(rows)


def _apart(rows: Sequence[Row]) -> list[Row]:
    """Numbered, each with an id of its own that can name a file: `a.mp4` and `a.mov` are two clips."""
    seen: set[str] = set()
    found = []
    for number, row in enumerate(rows, 1):
        name = row.id[:LONGEST_ID].strip(" .") or f"clip {number}"
        if name.casefold() in seen:
            ending = f" ({row.video.suffix[1:]} {number})"
            name = f"{name[: LONGEST_ID - len(ending)]}{ending}"
        seen.add(name.casefold())
        found.append(replace(row, number=number, id=name))
    return found


def _hdtf(folder: Path, names: str | Path | None, rng: np.random.Generator) -> list[Row]:
    videos = _files(folder, VIDEOS)
    if names is not None:
        by_name = {video.stem.casefold(): video for video in videos}
        listed = _listed(Path(names))
        gone = [name for name in listed if Path(name).stem.casefold() not in by_name]
        if gone:
            raise InputError(f"{folder} lacks {len(gone)} of the {len(listed)} clips of {names} (first: {gone[0]})")
        videos = [by_name[Path(name).stem.casefold()] for name in listed]
    return _cross_paired(videos, folder, rng, dict.fromkeys(videos, "realistic"))


def _aigc(folder: Path, names: str | Path | None, rng: np.random.Generator) -> list[Row]:
    videos = _files(folder, VIDEOS)
    styles = _styles(folder, videos)
    lacking = [video for video in videos if video not in styles]
    if lacking:
        raise InputError(
            f"{len(lacking)} clips have no style (first: {lacking[0].relative_to(folder)}); put them into folders "
            f"called {', '.join(STYLES)}, or list them in {STYLE_TABLES[0]} (columns video, style)"
        )
    sounds = _files(folder, SOUNDS, needed=False)
    if not sounds:
        return _cross_paired(videos, folder, rng, styles)
    return [_row(video, sounds[at % len(sounds)], folder, styles[video]) for at, video in enumerate(videos)]


def _folder(folder: Path, names: str | Path | None, rng: np.random.Generator) -> list[Row]:
    drawn = sorted(path.parent for path in folder.rglob(LABEL) if (path.parent / "source.mkv").is_file())
    if drawn:
        return [_drawn(clip, folder) for clip in drawn]
    videos, sounds = _files(folder, VIDEOS), _files(folder, SOUNDS, needed=False)
    if not sounds:
        return _cross_paired(videos, folder, rng, {})
    named = {sound.stem.casefold(): sound for sound in sounds}
    return [_row(video, named.get(video.stem.casefold(), sounds[at % len(sounds)]), folder)
            for at, video in enumerate(videos)]  # fmt: skip


def _cross_paired(videos: Sequence[Path], folder: Path, rng: np.random.Generator, styles: dict[Path, str]) -> list[Row]:
    """Each with the sound of another video, by chance: nobody keeps their own."""
    if len(videos) < 2:
        raise InputError(f"{folder} holds one video; to give it another's sound put a second one or a sound file there")
    mute = [video for video in videos if not _has_sound(video)]
    heard = [video for video in videos if video not in set(mute)]
    if not heard:
        raise InputError(f"no video in {folder} has sound; put sound files ({', '.join(SOUNDS)}) beside them")
    order = rng.permutation(len(heard))
    after = {heard[at]: heard[order[(place + 1) % len(order)]] for place, at in enumerate(order)}
    rows = []
    for video in videos:
        sound = after.get(video) or heard[int(rng.integers(len(heard)))]
        rows.append(_row(video, sound, folder, styles.get(video)))
    return rows


def _has_sound(video: Path) -> bool:
    """Not of a file that is broken; `bench run` says so in its row."""
    try:
        return media.probe_video(video).has_audio
    except InputError:
        return False


def _drawn(clip: Path, folder: Path) -> Row:
    try:
        label = json.loads((clip / LABEL).read_text(encoding="utf-8"))
        x, y = np.rint(label["mouth_center_xy"][0]).tolist()  # between the lips, where `evaluate synth` clicks
        style = "realistic" if label["family"].startswith("person") else "stylised"
        other = {"prompt": label["caption"], "family": label["family"]}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise InputError(
            f"{clip / LABEL} is damaged or no drawn clip's; draw the clips again, or move it away"
        ) from None
    row = _row(clip / "source.mkv", clip / "target.wav", folder, style)
    return replace(
        row, id=_name(clip, folder), truth=clip / "truth.mkv", mouth=(x, y), other=other
    )  # fmt: skip


def _row(video: Path, sound: Path, folder: Path, style: str | None = None) -> Row:
    return Row(0, _name(video.with_suffix(""), folder), video, sound, style=style)


def _name(path: Path, folder: Path) -> str:
    """A file's way below the folder as an id."""
    text = "_".join(path.relative_to(folder).parts)
    return "".join("_" if letter in FORBIDDEN or not letter.isprintable() else letter for letter in text).strip(".")


def _files(folder: Path, suffixes: Sequence[str], needed: bool = True) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())
    if needed and not found:
        raise InputError(f"{folder} holds no videos ({', '.join(suffixes)})")
    return found


def _listed(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the list {path} cannot be read ({error}); give a text file, a clip's name a line") from None
    names = [re.split(r"[\s,]", line.strip())[0] for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise InputError(f"the list {path} is empty; give a clip's name a line")
    return names


def _styles(folder: Path, videos: Sequence[Path]) -> dict[Path, str]:
    for name in STYLE_TABLES:
        if (folder / name).is_file():
            table = read_table(folder / name)
            listed = {folder / str(row.get("video")): str(row.get("style")) for row in table}
            return {video: listed[video] for video in videos if listed.get(video) in STYLES}
    styles = {}
    for video in videos:
        for part in video.relative_to(folder).parts[:-1]:
            style = part.lower().replace("stylized", "stylised")
            if style in STYLES:
                styles[video] = style
    return styles
