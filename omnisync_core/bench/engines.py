"""Who makes the results: this project's engine here, or files that are there already."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from .. import media
from ..checkpoint import read_bundle
from ..demo import peak_rss_mb
from ..engines.omnisync import BUNDLED, build_spec
from ..engines.protocol import Engine
from ..errors import InputError
from ..evaluation.bench import bundled, own
from ..job.manifest import file_digest
from ..job.options import SyncOptions
from ..job.report import Progress, Report
from ..manifest import Row
from ..pipeline import sync_video
from ..spec import VideoSpec

SUFFIXES = (".mkv", ".mp4", ".mov", ".webm", ".avi")
UNFINISHED = "unfinished"
"""The folder beside the results in which a stopped edit waits to be gone on with."""
IN_COMFYUI = ("latentsync", "humo", "ltx", "xdub")
HELP = "mini, mini:BUNDLE.safetensors, results:FOLDER (videos named by the ids), source (the videos as they are), truth"


class Maker(ABC):
    """Gives a row's result."""

    name: str
    """For tables."""
    spec: VideoSpec | None = None
    """Of the windows that it edits; None where that is not known."""

    @abstractmethod
    def fingerprint(self, row: Row) -> dict[str, Any]:
        """What decides the result beside the row's files: plain JSON values. InputError: there is no result."""

    @abstractmethod
    def make(self, row: Row, output: Path) -> tuple[Path, dict[str, float]]:
        """The result (at `output` where it is made now), and what making it took, by column."""

    def bring_back(self, row: Row, made: Path) -> Path | None:
        """The result, edited back to the source's own sound; None where that cannot be."""
        return None


def open_maker(text: str) -> Maker:
    """The maker of an `--engine`. InputError: none is called so, or its file is not there."""
    kind, _, rest = text.partition(":")
    if kind == "results" and rest:
        return Results(Path(rest))
    if text in ("source", "truth"):
        return Given(text)
    if kind == "mini":
        return Mini(rest or None)
    if kind in IN_COMFYUI:
        raise InputError(
            f"{kind} runs in ComfyUI: make its results there (`queue`, workflows/api/public), each named by its id, "
            "and give --engine results:FOLDER"
        )
    raise InputError(f"no engine is called {text!r}; give {HELP}")


class Given(Maker):
    """The source or the truth itself, as if it were a result: what metrics say of them."""

    def __init__(self, which: str) -> None:
        self.name = self._which = which

    def fingerprint(self, row: Row) -> dict[str, Any]:
        return {"given": self._which, "file": file_digest(self._path(row))}

    def make(self, row: Row, output: Path) -> tuple[Path, dict[str, float]]:
        return self._path(row), {}

    def _path(self, row: Row) -> Path:
        path = row.video if self._which == "source" else row.truth
        if path is None:
            raise InputError("the list names no truth of this clip")
        return path


class Results(Maker):
    """What another tool made: `<id>.mp4` (or another kind) in a folder."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"there is no folder of results {folder}; give --engine results:FOLDER")
        self.name, self._folder = folder.name or "results", folder

    def fingerprint(self, row: Row) -> dict[str, Any]:
        return {"results": file_digest(self._path(row))}

    def make(self, row: Row, output: Path) -> tuple[Path, dict[str, float]]:
        return self._path(row), {}

    def _path(self, row: Row) -> Path:
        for suffix in SUFFIXES:
            path = self._folder / f"{row.id}{suffix}"
            if path.is_file():
                return path
        raise InputError(f"{self._folder} holds no {row.id}.mp4 (nor {', '.join(SUFFIXES[2:])} or .mkv)")


class Mini(Maker):
    """A bundle of this project, sampled as it wants to be; a row's `prompt` is its prompt."""

    def __init__(self, bundle: str | None, tell: Callable[[Progress], None] | None = None) -> None:
        self.name = "mini" if bundle is None else Path(bundle).stem
        self._engines, self._sampling, self._tell = bundled(bundle), own(bundle), tell
        self.spec = build_spec(read_bundle(bundle or BUNDLED))

    def fingerprint(self, row: Row) -> dict[str, Any]:
        return dict(self._engine(row).fingerprint)

    def make(self, row: Row, output: Path) -> tuple[Path, dict[str, float]]:
        state = output.parent / UNFINISHED
        was_stopped = state.is_dir() and any(state.iterdir())
        _reset_vram()
        report = self._edit(row, row.video, row.audio, output)
        cost = {"memory": peak_rss_mb(), "passed": float(report.frames - report.edited)} | _vram()
        if not was_stopped:
            cost["speed"] = report.seconds / max(media.probe_video(output).duration, 1e-9)
        return output, cost

    def bring_back(self, row: Row, made: Path) -> Path | None:
        if not media.probe_video(row.video).has_audio:
            return None
        output = made.with_name(f"{made.stem}.back{made.suffix}")
        self._edit(row, made, row.video, output)
        return output

    def _engine(self, row: Row) -> Engine:
        prompt = row.other.get("prompt")
        sampling = replace(self._sampling, prompt=str(prompt)) if prompt else self._sampling
        return self._engines(row.video, sampling)

    def _edit(self, row: Row, video: Path, audio: Path, output: Path) -> Report:
        options = SyncOptions(mouth=row.mouth or "auto", lossless=True, resume=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what is wrong with the files is in the report
            state = output.parent / UNFINISHED
            return sync_video(video, audio, output, self._engine(row), options, self._tell, state=state)


def _reset_vram() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _vram() -> dict[str, float]:
    return {"vram": torch.cuda.max_memory_allocated() / 1e6} if torch.cuda.is_available() else {}
