"""A set of crops to encoded windows: latents of a named autoencoder, features of a named Whisper, once for all.

`encoded/NAME/` holds Parquet shards of windows (`sized/windows.py`) and, beside each, a tar of its clips with what is
known of them, as webdataset reads it. A shard that is there is not made again.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...audio import SpeechWave, Wave, loudness
from ...engines.humo_audio import BESIDE, GROUPS, LAYERS, WINDOW, HuMoSpeech, grouped_states, humo_windows
from ...errors import InputError
from ...files import replacing
from ...media import read_frames
from ...models.vae import VideoVAE
from ...models.whisper import SpeechFeatures, WhisperEncoder
from ...synth.speech import CAPTIONS
from ...tables import read_table
from ..latents import as_video
from ..sized.parts import digest_of, open_vae, open_whisper
from ..sized.windows import Encoding, WindowRow, open_shard, write_encoding, write_windows
from .changed import CHANGED
from .crops import read_beside
from .spread import HERE, Spread
from .stretches import FPS

SHARD_CLIPS = 50
HEARS = "frames", "humo"
LOUD_DB, SOFT_DB = -16.0, -34.0
"""Levels of speech above and below which a caption speaks of it."""
HUMO_SECONDS = 30
_HUMO = 4, WINDOW * GROUPS // 4
"""HuMo's 8 x 5 features of a latent frame as the transformer takes them: four video frames' worth."""
Row = dict[str, Any]


@dataclass(frozen=True)
class EncodeOptions:
    name: str
    vae: str
    whisper: str
    frames: int = 17
    """Of a window, 1 + 4k."""
    tokens: int = 4
    """Speech features a video frame; HuMo's 10."""
    batch: int = 4
    captions: str = ""
    """A table of `source` and `caption`; else the sound's level makes one."""
    hears: str = "frames"
    """frames: features of every frame. humo: what HuMo hears, by latent frame, of Whisper large-v3."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.name):  # it is a folder's, in which shards of before are removed
            raise InputError(f"windows are encoded under a plain name (letters, digits, _ . -), got {self.name!r}")
        if self.hears not in HEARS:
            raise InputError(f"windows hear {' or '.join(HEARS)}, got {self.hears!r}")
        if self.frames < 5 or self.frames % 4 != 1:
            raise InputError(f"a window has 1 + 4k frames, 5 or more, got {self.frames}")


def encode(
    folder: str | Path,
    options: EncodeOptions,
    on_shard: Callable[[int, int], None] = lambda done, total: None,
    spread: Spread = HERE,
) -> int:
    """Encode every crop of a set; returns the number of windows. InputError: no set, or a VAE that does not fit it."""
    folder = Path(folder)
    clips = _clips(folder)
    _captions(options)
    vae, whisper = _networks(options)
    out = folder / "encoded" / options.name
    size = _size(folder / clips[0]["path"])
    if size % (2 * vae.spatial_stride):
        raise InputError(f"crops of {size} pixels do not fit this VAE; prepare them at a multiple of 16")
    _describe(out, vae, whisper, size, options)
    shards = {
        out / f"{split}_{_digest(folder, rows)}.parquet": rows
        for split in ("train", "test")
        for clips_of in [[row for row in clips if row["split"] == split]]
        for rows in (clips_of[at : at + SHARD_CLIPS] for at in range(0, len(clips_of), SHARD_CLIPS))
    }
    missing = [(path, rows) for path, rows in shards.items() if not path.exists()]
    for path in shards.keys() - dict(missing).keys():
        if not is_whole(path.with_suffix(".tar"), 2 * len(shards[path])):
            write_tar(path.with_suffix(".tar"), [folder / row["path"] for row in shards[path]])
    on_shard(len(shards) - len(missing), len(shards))
    for done, _ in enumerate(spread(partial(_write_shard, folder, options), missing), len(shards) - len(missing) + 1):
        on_shard(done, len(shards))
    for path in set(out.glob("*.parquet")) - shards.keys():
        path.unlink()
        path.with_suffix(".tar").unlink(missing_ok=True)
    windows = sum(open_shard(path).metadata.num_rows for path in shards)
    if not windows:
        raise InputError(f"no clip of {folder} holds {options.frames} frames; give fewer")
    return windows


def _write_shard(folder: Path, options: EncodeOptions, shard: tuple[Path, list[Row]]) -> None:
    """The windows last: where they are, the tar is."""
    path, rows = shard
    vae, whisper = _networks(options)
    captions = _captions(options)
    for row in rows:
        read_beside(folder / row["path"])
    write_tar(path.with_suffix(".tar"), [folder / row["path"] for row in rows])
    write_windows(path, (one for row in rows for one in _windows(folder, row, captions, vae, whisper, options)))


@lru_cache(maxsize=1)
def _networks(options: EncodeOptions) -> tuple[VideoVAE, WhisperEncoder]:
    return open_vae(options.vae), open_whisper(options.whisper)


def write_tar(path: Path, clips: Sequence[Path]) -> None:
    """Clips and what lies beside them, KEY.mp4 and KEY.json after one another: a webdataset shard."""
    with replacing(path) as part, tarfile.open(part, "w") as out:
        for clip in clips:
            for file in (clip, clip.with_suffix(".json")):
                out.add(file, file.name)


def is_whole(tar: Path, files: int) -> bool:
    """Does a tar hold so many files, to the last one's end?"""
    try:
        with tarfile.open(tar) as opened:
            return len(opened.getnames()) == files
    except (tarfile.TarError, OSError):
        return False


def level_caption(wave: Wave, duration: float) -> str:
    """By how loud the speech is: one of the sentences that prompts are made of."""
    levels = loudness(wave, np.arange(0.1, max(duration - 0.1, 0.2), 0.1))
    level = float(np.percentile(levels, 80))
    style = "loud" if level > LOUD_DB else "mumble" if level < SOFT_DB else "plain"
    return CAPTIONS[style][0].format("person")


def _clips(folder: Path) -> list[Row]:
    tables = [path for path in (folder / "clips.parquet", folder / "clips.csv") if path.exists()]
    if not tables:
        raise InputError(f"{folder} is no set: it has no clips.csv; make it with `prepare FOOTAGE --out {folder}`")
    rows = [row for row in _listed(tables[0], "path", "source", "split", "problem") if not row["problem"]]
    changed = [row for path in [folder / CHANGED] if path.exists() for row in _listed(path, "path", "of")]
    clips = sorted(rows + changed, key=lambda row: row["path"])
    gone = [row["path"] for row in clips if not (folder / row["path"]).is_file()]
    if gone or not clips:
        what = f"{len(gone)} of the {len(clips)} clips that it lists (first: {gone[0]})" if gone else "any clip"
        raise InputError(f"{folder} lacks {what}; run `prepare FOOTAGE --out {folder}` again, it makes what is gone")
    return clips


def _listed(table: Path, *columns: str) -> list[Row]:
    """InputError: a table of something else."""
    rows = read_table(table)
    lacking = [name for name in columns if rows and name not in rows[0]]
    if lacking:
        raise InputError(f"{table} has no column {', '.join(lacking)}; it has {', '.join(map(str, rows[0]))}")
    return rows


def _captions(options: EncodeOptions) -> dict[str, str]:
    rows = _listed(Path(options.captions), "source", "caption") if options.captions else []
    return {row["source"]: row["caption"] for row in rows}


def _size(clip: Path) -> int:
    for frame in read_frames(clip, 0, 1):
        return int(frame.rgb().shape[0])
    raise InputError(f"{clip} has no frames; remove it and run `prepare` again")


def _describe(out: Path, vae: VideoVAE, whisper: WhisperEncoder, size: int, options: EncodeOptions) -> None:
    stride, frames = vae.spatial_stride, options.frames
    latent = (vae.config.latent_channels, 1 + (frames - 1) // 4, size // stride, size // stride)
    speech: tuple[int, ...] = (frames, options.tokens, whisper.width)
    if options.hears == "humo":
        speech = (latent[1], *_HUMO, whisper.width)
        layers, seconds = whisper.config["encoder_layers"], whisper.window_seconds
        if (layers, seconds) != (LAYERS - 1, HUMO_SECONDS):
            raise InputError(
                f"HuMo hears Whisper large-v3, {LAYERS - 1} layers and {HUMO_SECONDS} s at once; {options.whisper} has "
                f"{layers} layers and {seconds:g} s"
            )
    write_encoding(out, Encoding(digest_of(vae), digest_of(whisper), latent, speech, (frames, 3), size))


def _hearing(whisper: WhisperEncoder, wave: Wave, options: EncodeOptions) -> Callable[[np.ndarray], np.ndarray]:
    """Features of a window's frames, by their times."""
    if options.hears == "frames":
        return SpeechFeatures(whisper, wave, options.tokens).at
    speech = HuMoSpeech(partial(grouped_states, whisper), wave, whisper.width)

    def at(times_T: np.ndarray) -> np.ndarray:
        windows_KWGD = humo_windows(torch.as_tensor(speech.at(times_T)), len(times_T), BESIDE)
        return windows_KWGD.reshape(-1, *_HUMO, whisper.width).numpy()

    return at


def _digest(folder: Path, rows: Sequence[Row]) -> str:
    """Of the clips in a shard: a set that grew, or whose clips changed, makes others."""
    listing = "\n".join(f"{row['path']} {(folder / row['path']).stat().st_size}" for row in rows)
    return hashlib.sha256(listing.encode()).hexdigest()[:12]


@torch.no_grad()
def _windows(
    folder: Path, row: Row, captions: dict[str, str], vae: VideoVAE, whisper: WhisperEncoder, options: EncodeOptions
) -> Iterator[WindowRow]:
    """The windows of a clip, one after the other, none over another."""
    clip = folder / row["path"]
    mouth_F3 = np.array(read_beside(clip)["mouth"], np.float32)
    pictures = [(frame.rgb() * 255).round().astype(np.uint8) for frame in read_frames(clip)][: len(mouth_F3)]
    wave = SpeechWave(clip)
    features_at = _hearing(whisper, wave, options)
    caption = captions.get(row["source"]) or level_caption(wave, len(pictures) / FPS)
    original = row.get("of") or row["path"]
    starts = range(0, len(pictures) - options.frames + 1, options.frames)
    for at in range(0, len(starts), options.batch):
        part = starts[at : at + options.batch]
        video = as_video(torch.as_tensor(np.stack([pictures[start : start + options.frames] for start in part])))
        for start, latent in zip(part, vae.encode(video).float().numpy(), strict=True):
            frames_F = np.arange(start, start + options.frames)
            yield WindowRow(
                id=f"{row['path']}@{start}", person=row["person"], pose=row.get("pose") or f"{original}@{start}",
                truth=not row.get("of"), caption=caption, latent=latent, speech=features_at(frames_F / FPS),
                mouth=mouth_F3[frames_F],
            )  # fmt: skip
