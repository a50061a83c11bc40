"""The demonstration: a bundled clip of a character that the model never met says a sound of another voice."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import media
from .engines.omnisync import load_engine
from .engines.protocol import Engine
from .errors import OutputError
from .job.bars import STAGES, JobBars
from .job.options import SyncOptions
from .pipeline import sync_video

ASSETS = Path(__file__).parent / "assets" / "demo"
VIDEO, TRUTH_VIDEO, SOUND = ASSETS / "source.mp4", ASSETS / "truth.mp4", ASSETS / "target.wav"


def run(out: str | os.PathLike, engine: Engine | None = None) -> dict:
    """Write demo.mp4, demo.png and report.json to the folder `out`; returns the report. OutputError: cannot write."""
    from .evaluation import demo_page

    out = Path(out)
    truth = json.loads((ASSETS / "mouth.json").read_text(encoding="utf-8"))
    engine = engine or load_engine(prompt=truth["caption"])
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as folder:
            edited = Path(folder) / "result.mkv"
            options = SyncOptions(mouth=tuple(truth["point"]), lossless=True)
            with JobBars({"editing": STAGES["editing"]}) as bar:
                done = sync_video(VIDEO, SOUND, edited, engine, options, bar)
            _write_mp4(out / "demo.mp4", edited)
            placement = demo_page.placement_of(VIDEO, SOUND, tuple(truth["point"]), engine.spec)
            far = demo_page.outside(_frames(edited), _frames(VIDEO), placement)
            paths = {"source": VIDEO, "result": edited, "truth": TRUTH_VIDEO}
            (x, y), near = demo_page.near_mouth(truth, placement.frame_size)
            frames = {name: np.stack([frame[y, x].copy() for frame in _frames(path)]) for name, path in paths.items()}
        openings, figures = demo_page.measure(frames, near, far)
        report = {
            "recovered_share": round(figures.share, 4),
            "sync_r": round(figures.sync_r, 4),
            "leak": round(figures.leak, 4),
            "far_outside_max": figures.outside,
            "seconds_per_video_second": round(done.seconds / placement.timeline.end, 2),
            "peak_rss_mb": round(peak_rss_mb(), 1),
        }
        demo_page.draw(frames, openings, near, report, SOUND).save(out / "demo.png")
        (out / "report.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error
    print(json.dumps(report, indent=1))
    print(f"look at {out / 'demo.png'} and {out / 'demo.mp4'}")
    return report


def peak_rss_mb() -> float:
    """The most memory this process has held so far."""
    if sys.platform == "win32":
        return _windows_peak_bytes() / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def _write_mp4(path: Path, edited: Path) -> None:
    with media.VideoWriter(path, edited, SOUND) as writer:
        for frame in media.read_frames(edited):
            writer.write(frame)


def _frames(path: Path) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8."""
    return (np.rint(frame.rgb() * 255).astype(np.uint8) for frame in media.read_frames(path))


def _windows_peak_bytes() -> int:
    assert sys.platform == "win32"
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        _fields_ = (
            ("cb", wintypes.DWORD), ("faults", wintypes.DWORD), ("peak", ctypes.c_size_t),
            *((name, ctypes.c_size_t) for name in "abcdefg"),
        )  # fmt: skip

    counters = Counters(cb=ctypes.sizeof(Counters))
    windows: Any = vars(ctypes)["windll"]
    process = windows.kernel32.GetCurrentProcess
    process.restype = wintypes.HANDLE
    ask = windows.psapi.GetProcessMemoryInfo
    ask.argtypes = (wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD)
    ask(process(), ctypes.byref(counters), counters.cb)
    return counters.peak


__all__ = ["peak_rss_mb", "run"]
