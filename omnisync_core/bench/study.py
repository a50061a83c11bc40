"""A human study as one page that anybody can be sent: blinded results of several benches, rated by people.

The page needs no server and asks no network. Which video is whose stands in a key file beside it, which stays here.
"""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from .. import media
from ..audio import SAMPLE_RATE, SpeechWave
from ..errors import InputError, OutputError
from ..files import replacing
from .measure import one_line
from .table import Benched, read_bench

FORMAT = 1
CRITERIA = (
    ("lip sync", "How well do the lips follow what is said?"),
    ("identity", "Does the person or character stay the same throughout?"),
    ("timing", "Is the movement steady, without jumps and flicker?"),
    ("image quality", "Is the picture clean and sharp, above all around the mouth?"),
    ("realism", "Could this be an untouched video?"),
)
"""Those of the paper's supplement, each from 1 very poor to 5 excellent."""
PAGE = Path(__file__).with_name("study_page.html")
LARGEST_PAGE = 60_000_000
"""Bytes of video in one page; beyond, they lie in a folder beside it."""
LONGEST_SIDE = 1080
SETS_PER_CHECK = 8
"""One set in so many also shows the source itself under the new sound, which nobody attentive calls in sync."""


def make(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    names: Sequence[str] | None = None,
    title: str = "Which lips say it?",
    mail: str = "",
    limit: int | None = None,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> Path:
    """Write the page `out` (.html) and its key `<out>.key.json`; returns the page.

    folders: what `bench run` wrote, one a method; only clips that all of them have are shown. `names` of the methods
    (None: the engines'). InputError: no clip in common, names that do not fit; OutputError: cannot write.
    """
    out = Path(out)
    if out.suffix.lower() != ".html":
        raise InputError(f"the page must end in .html, got {out}")
    benches = [read_bench(folder) for folder in folders]
    methods = _methods(benches, names)
    if len(methods) == 1:
        say("one method only: its scores and success rate can be told, but it wins against nobody")
    ids = _common(benches)[:limit]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent) as folder:
            sets, ratios, videos = _encode(benches, methods, ids, Path(folder), np.random.default_rng(seed), say)
            name = secrets.token_hex(6)
            study = {"study": name, "title": title, "mail": mail, "criteria": CRITERIA, "sets": sets,
                     "ratios": ratios}  # fmt: skip
            key = {"format": FORMAT, "study": name, "names": methods, "criteria": [name for name, _ in CRITERIA],
                   "videos": videos}  # fmt: skip
            _write(out, study, Path(folder), key)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    say(f"{out}: {len(sets)} clips, {len(videos)} videos; keep {_key_path(out)}, it says whose each video is")
    return out


def _encode(
    benches: Sequence[Benched], methods: Sequence[str], ids: Sequence[str], folder: Path, rng: np.random.Generator,
    say: Callable[[str], None],
) -> tuple[list[list[str]], list[float], dict[str, dict[str, str | None]]]:  # fmt: skip
    """Write every video as `folder/<token>.mp4`; the sets by token, the width over height of each, what a token is.

    A clip that cannot be shown is left out with a line. InputError: none can.
    """
    rows = [{row["id"]: row for row in bench.done} for bench in benches]
    sets: dict[str, list[str]] = {}
    ratios, videos = [], {}

    def put(name: str, method: str | None, mp4: bytes) -> str:
        token = secrets.token_hex(6)
        videos[token] = {"clip": name, "method": method, "style": rows[0][name]["style"]}
        (folder / f"{token}.mp4").write_bytes(mp4)
        return token

    for name in ids:
        paths = [Path(of[name]["made"]["path"]) for of in rows]
        try:
            made = [playable(path, Path(rows[0][name]["audio"])) for path in paths]
        except InputError as error:
            say(f"{name}: left out: {one_line(error)}")
            continue
        sets[name] = [put(name, method, mp4) for method, mp4 in zip(methods, made, strict=True)]
        info = media.probe_video(paths[0])
        ratios.append(info.width / info.height)
    if not sets:
        raise InputError("none of the clips can be shown; see the lines above, and bench them again")
    for at in rng.permutation(len(sets))[: max(1, len(sets) // SETS_PER_CHECK)]:
        name = list(sets)[at]
        row = rows[0][name]
        sets[name].append(put(name, None, playable(Path(row["video"]), Path(row["audio"]))))
    return [sorted(tokens) for tokens in sets.values()], ratios, videos  # by chance, since tokens are


def playable(video: Path, audio: Path) -> bytes:
    """A video with a sound as every browser plays it: H.264 4:2:0 and AAC, its longer side at most 1080."""
    info, wave = media.probe_video(video), SpeechWave(audio)
    scale = min(1.0, LONGEST_SIDE / max(info.width, info.height))
    width, height = (max(2, round(side * scale / 2) * 2) for side in (info.width, info.height))
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=Fraction(info.average_fps).limit_denominator(1001),
                                   options={"crf": "16", "preset": "veryfast"})  # fmt: skip
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        sound = output.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for frame in media.frames_of(info):
            picture = av.VideoFrame.from_ndarray(np.rint(frame.rgb() * 255).astype(np.uint8), "rgb24")
            picture = picture.reformat(width, height, "yuv420p")
            picture.pts, picture.time_base = round(1000 * (frame.time - info.times_N[0])), Fraction(1, 1000)
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
        wave_S = wave.read(0, min(wave.duration, info.duration))
        for start in range(0, len(wave_S), 1024):
            part = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave_S[None, start : start + 1024]), "fltp", "mono")
            part.sample_rate, part.pts, part.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
            output.mux(sound.encode(part))
        output.mux(sound.encode(None))
    return file.getvalue()


def _methods(benches: Sequence[Benched], names: Sequence[str] | None) -> list[str]:
    methods = list(names) if names else [bench.name for bench in benches]
    if len(methods) != len(benches):
        raise InputError(f"{len(methods)} names for {len(benches)} folders; give --names one each, with commas between")
    twice = [name for name in methods if methods.count(name) > 1]
    if twice or not all(methods):
        what = f"two methods are called {twice[0]!r}" if all(methods) else f"a name of {methods} is empty"
        raise InputError(f"{what}; give each a --names of its own")
    return methods


def _common(benches: Sequence[Benched]) -> list[str]:
    ids = [[row["id"] for row in bench.done] for bench in benches]
    common = [name for name in ids[0] if all(name in others for others in ids[1:])]
    if not common:
        raise InputError("no clip is done in all of these folders; bench them on the same list")
    return common


def _write(out: Path, study: dict[str, Any], made: Path, key: dict[str, Any]) -> None:
    """The page with its videos inside, or beside it where they are large; and the key."""
    files = sorted(made.iterdir())
    if sum(path.stat().st_size for path in files) > LARGEST_PAGE:
        folder = out.with_name(f"{out.stem}_videos")
        folder.mkdir(exist_ok=True)
        for path in files:
            os.utime(path.replace(folder / path.name), (0, 0))  # the order they were made in tells whose they are
        study["folder"] = folder.name
    else:
        study["videos"] = {path.stem: base64.b64encode(path.read_bytes()).decode() for path in files}
    page = PAGE.read_text(encoding="utf-8").replace("/*STUDY*/null", _in_script(study))
    for path, text in ((_key_path(out), json.dumps(key, indent=1)), (out, page)):
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")


def _in_script(study: dict[str, Any]) -> str:
    """JSON that no title or name can break out of."""
    return json.dumps(study).replace("<", "\\u003c")


def _key_path(out: Path) -> Path:
    return out.with_name(f"{out.stem}.key.json")
