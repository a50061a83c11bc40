"""What a metric is: columns, the files and libraries it needs, and a figure of a clip seen moment by moment."""

from __future__ import annotations

import hashlib
import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import methodcaller
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import InputError
from .clip import Clip, Moment

ENVIRONMENT = "OMNISYNC_METRICS"


class Missing(InputError):
    """A metric's file or library is not there; the table shows a dash and says why."""


@dataclass(frozen=True)
class Column:
    """One figure of a clip as tables show it."""

    name: str
    label: str
    better: str = "higher"
    """higher, lower or nothing: how a reader should take it."""
    digits: int = 3
    scale: float = 1.0
    """What is shown is the figure times this."""


@dataclass(frozen=True)
class WeightFile:
    """A file of somebody else's that a user supplies."""

    name: str
    """As it is published; any of its `others` will do."""
    place: str
    licence: str
    others: tuple[str, ...] = ()

    def find(self, folder: Path | None) -> Path:
        """Where it lies. Missing: says what it is, where it is published and under which licence."""
        for name in (self.name, *self.others):
            path = (folder or Path()) / name
            if folder is not None and path.is_file():
                return path
        where = folder or f"a folder that {ENVIRONMENT} names"
        raise Missing(f"needs the file {self.name} in {where}; it is published at {self.place} ({self.licence})")


@dataclass(frozen=True)
class Taken:
    """What a metric says of a clip; a figure that is not there or no number is a dash, and `note` says why."""

    values: Mapping[str, float] = field(default_factory=dict)
    floor: Mapping[str, float] = field(default_factory=dict)
    """The same figures of the real clip."""
    features: Mapping[str, np.ndarray] = field(default_factory=dict)
    """For figures of all clips together."""
    detail: Mapping = field(default_factory=dict)
    """JSON values for figures of all clips together."""
    note: str = ""


class Taking:
    """A metric at work on one clip: it sees every moment, then gives its figure."""

    def see(self, moment: Moment) -> None:
        """A moment of the clip, in order of time."""

    def finish(self) -> Taken:
        """The figures."""
        return Taken()


class Measure(ABC):
    """A metric with its weights loaded."""

    key: str = "1"
    """What decides its figures beside the clip: version, digests of weights."""
    sees_moments: bool = True

    @abstractmethod
    def begin(self, clip: Clip) -> Taking:
        """Start on a clip (metrics of pictures alone ask it nothing). InputError where it cannot be measured."""


@dataclass(frozen=True)
class Metric:
    """A metric as the registry lists it."""

    name: str
    columns: tuple[Column, ...]
    build: Callable[[Path | None, str], Measure]
    """build(folder of weights, device) -> Measure. Missing, CheckpointError."""
    by: str = "this project"
    files: tuple[WeightFile, ...] = ()


class MeanOverMoments(Measure):
    """The mean of one figure over the moments; `figure(moment)` None leaves a moment out."""

    def __init__(self, column: str, figure: Callable[[Moment], float | None], key: str, without: str) -> None:
        self.column, self.figure, self.key, self.without = column, figure, key, without

    def begin(self, clip: Clip) -> Taking:
        return _Mean(self)


class _Mean(Taking):
    def __init__(self, measure: MeanOverMoments) -> None:
        self._measure = measure
        self._seen: list[float] = []

    def see(self, moment: Moment) -> None:
        value = self._measure.figure(moment)
        if value is not None:
            self._seen.append(float(value))

    def finish(self) -> Taken:
        if not self._seen:
            return Taken(note=self._measure.without)
        return Taken({self._measure.column: float(np.mean(self._seen))})


class OfWholeClip(Measure):
    """What `figures(clip)` says of a clip, whose moments it does not see."""

    sees_moments = False

    def __init__(self, figures: Callable[[Clip], Taken], key: str = "1") -> None:
        self.figures, self.key = figures, key

    def begin(self, clip: Clip) -> Taking:
        return _Whole(self.figures, clip)


class _Whole(Taking):
    def __init__(self, figures: Callable[[Clip], Taken], clip: Clip) -> None:
        self._figures, self._clip = figures, clip

    def finish(self) -> Taken:
        return self._figures(self._clip)


def opened(metrics: Sequence[Metric], folder: Path | None, device: str) -> tuple[dict[str, Measure], dict[str, str]]:
    """The measures that can be taken, and for each other metric the line that says why not."""
    measures, lacking = {}, {}
    for metric in metrics:
        try:
            measures[metric.name] = metric.build(folder, device)
        except InputError as error:
            lacking[metric.name] = str(error)
    return measures, lacking


def take_moments(
    moments: Iterable[Moment], measures: Mapping[str, Measure], clip: Clip | None = None
) -> dict[str, Taken]:
    """The same over any moments; they are only looked at where a metric wants to see them."""
    takings, taken = {}, {}
    for name, measure in measures.items():
        try:
            takings[name] = measure.begin(clip)
        except InputError as error:
            taken[name] = Taken(note=one_line(error))
    seeing = {name: taking for name, taking in takings.items() if measures[name].sees_moments}
    if seeing:
        for moment in moments:
            for name in list(seeing):
                _one(name, seeing, taken, methodcaller("see", moment))
    for name, taking in takings.items():
        if name not in taken:
            done = _one(name, {name: taking}, taken, lambda taking: taking.finish())
            taken.setdefault(name, done)
    return taken


def _one(name: str, takings: dict[str, Taking], taken: dict[str, Taken], do: Callable[[Taking], Any]) -> Any:
    """A step of one metric; where it cannot go on it is left out with the line that says why."""
    try:
        return do(takings[name])
    except InputError as error:
        note = one_line(error)
    except Exception as error:  # of a library: OpenCV's and onnxruntime's are of no common kind
        note = f"{type(error).__name__}: {one_line(error)}"
    taken[name] = Taken(note=note)
    takings.pop(name)
    return None


def metrics_folder() -> Path | None:
    """The user's folder of weights. InputError: the environment names one that is not there."""
    named = os.environ.get(ENVIRONMENT)
    if named and not Path(named).is_dir():
        raise InputError(f"{ENVIRONMENT} names the folder {named}, which is not there; make it or unset {ENVIRONMENT}")
    return Path(named) if named else None


def library(name: str, package: str = "") -> ModuleType:
    """An optional library's module. Missing: says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        lacking = (error.name or name).split(".")[0]
        package = package or name.split(".")[0]
        detail = f" (it lacks {lacking})" if lacking != name.split(".")[0] else ""
        raise Missing(f"needs {package}{detail}: pip install -r requirements-bench.txt") from None


def digest(path: Path) -> str:
    """The first of a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def one_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def first_sentence(error: BaseException) -> str:
    """Libraries go on with advice to those who wrote the call."""
    return one_line(error).split(". ")[0]
