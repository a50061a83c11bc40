"""Who makes the results: this project's engine here, or files that are there already."""

from __future__ import annotations

import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from .. import media
from ..checkpoint import read_bundle
from ..demo import peak_rss_mb
from ..engines.omnisync import BUNDLED, Sampling, build_spec, choose_sampling
from ..engines.protocol import Engine
from ..errors import InputError
from ..evaluation.bench import bundled, own
from ..job.manifest import file_digest
from ..job.options import SyncOptions
from ..job.report import Report
from ..manifest import Row
from ..pipeline import sync_video
from ..queue import queue, read_workflow
from ..spec import VideoSpec

SUFFIXES = (".mkv", ".mp4", ".mov", ".webm", ".avi")
UNFINISHED = "unfinished"
"""The folder beside the results in which a stopped edit waits to be gone on with."""
IN_COMFYUI = ("latentsync", "humo", "ltx", "xdub", "comfy")
HELP = (
    "mini, mini:BUNDLE.safetensors, latentsync:FILE.json (also humo, ltx, xdub, comfy: a workflow in API form on a "
    "ComfyUI server), results:FOLDER (videos named by the ids), source or truth (the clips as they are)"
)
KINDS = {"steps": int, "tau": float, "w_peak": float, "w_base": float, "gamma": float, "convention": str}
"""What of a bundle's sampling may be changed."""
SERVER = "http://127.0.0.1:8188"


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


def open_maker(text: str, host: str = SERVER, settings: Sequence[str] = ()) -> Maker:
    """The maker of an `--engine`. InputError: none is called so, or its file is not there.

    settings: `name=value` (of `Sampling` and `Guidance`) that a bundle is sampled with instead of its own.
    """
    if settings and text.partition(":")[0] != "mini":
        raise InputError(f"--set changes how mini samples; {text!r} is given as it is")
    kind, _, rest = text.partition(":")
    if kind == "results" and rest:
        return Results(Path(rest))
    if text in ("source", "truth"):
        return Given(text)
    if kind == "mini":
        return Mini(rest or None, settings)
    if kind in IN_COMFYUI and rest:
        return InComfyUI(kind, Path(rest), host)
    if kind in IN_COMFYUI:
        raise InputError(
            f"{kind} runs on a ComfyUI server: give {kind}:FILE.json (workflows/api/public has one) and --host"
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


class InComfyUI(Maker):
    """A workflow in API form on a ComfyUI server: a row's files go into its loaders, its mouth into Mouth Track."""

    def __init__(self, name: str, workflow: Path, host: str) -> None:
        self.name = workflow.stem if name == "comfy" else name
        self._workflow, self._host, self._nodes = workflow, host, read_workflow(workflow)
        for kind in ("LoadVideo", "LoadAudio"):
            if sum(node["class_type"] == kind for node in self._nodes.values()) != 1:
                raise InputError(f"{workflow} must have one node {kind}, which is given each clip's file")

    def fingerprint(self, row: Row) -> dict[str, Any]:
        return {"workflow": file_digest(self._workflow)}

    def make(self, row: Row, output: Path) -> tuple[Path, dict[str, float]]:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=output.parent) as folder:
            made = queue(self._workflow, self._host, self._settings(row), Path(folder), lambda text: None)
            videos = [path for path in made if path.suffix.lower() in SUFFIXES]
            if not videos:
                raise InputError(f"{self._workflow} saved no video; end it with Save Video")
            target = output.with_suffix(videos[-1].suffix.lower())
            videos[-1].replace(target)
        return target, {"speed": (time.monotonic() - began) / max(media.probe_video(target).duration, 1e-9)}

    def _settings(self, row: Row) -> list[str]:
        """What is changed in the workflow: files, the mouth's point, and no preview."""
        wanted: dict[str, dict[str, object]] = {"LoadVideo": {"file": row.video}, "LoadAudio": {"audio": row.audio}}
        if row.mouth is not None:
            info = media.probe_video(row.video)
            x, y = row.mouth[0] / info.width, row.mouth[1] / info.height
            wanted["OmniSyncMouthTrack"] = {"speaker": "point", "point_x": x, "point_y": y}
        settings = []
        for key, node in self._nodes.items():
            values = wanted.get(node["class_type"], {})
            values |= {"preview_seconds": 0} if "preview_seconds" in node["inputs"] else {}
            settings += [f"{key}.{name}={value}" for name, value in values.items()]
        return settings


class Mini(Maker):
    """A bundle of this project, sampled as it wants to be; a row's `prompt` is its prompt."""

    def __init__(self, bundle: str | None, settings: Sequence[str] = ()) -> None:
        self.name = ", ".join(["mini" if bundle is None else Path(bundle).stem, *settings])
        self._engines, self._sampling = bundled(bundle), sampled(own(bundle), settings)
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
            return sync_video(video, audio, output, self._engine(row), options, state=state)


def sampled(usual: Sampling, settings: Sequence[str]) -> Sampling:
    """A bundle's sampling with some of it changed. InputError: an unknown name, or a value that cannot be."""
    values: dict[str, Any] = {}
    for text in settings:
        name, _, value = text.partition("=")
        if name not in KINDS:
            raise InputError(f"--set needs NAME=VALUE with a name of {', '.join(KINDS)}, got {text!r}")
        try:
            values[name] = KINDS[name](value)
        except ValueError:
            raise InputError(f"--set {name} must be a number, got {value!r}") from None
    steps, tau = values.pop("steps", None), values.pop("tau", None)
    return choose_sampling(usual, steps, tau, values or None, usual.prompt)


def _reset_vram() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _vram() -> dict[str, float]:
    return {"vram": torch.cuda.max_memory_allocated() / 1e6} if torch.cuda.is_available() else {}
