"""Tables of benches: a row an engine with 95 % intervals over clips, real against real as the floor, papers beside.

Intervals: bootstrap over clips; of FID and FVD, whose bias grows with clips drawn twice, a jackknife over ten groups.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..evaluation.figures import ClipFigures, Figure, bootstrap
from ..evaluation.figures import pooled as pooled_drawn
from .frechet import distance, halves, jackknife
from .paper import PAPERS
from .registry import COLUMNS, METRICS
from .sets import pooled as pooled_set

FORMAT = 1
PARTS = {"engine", "metrics", "lacking", "rows"}
ROW = {"id", "state", "reason", "metrics"}
DASH = "–"
SETS = ("fid", "fvd")
DRAWN_NAMES = {
    "share": "share", "sync_r": "sync_r", "leak": "leak", "mouth_ssim": "ssim", "mouth_gmsd": "gmsd", "edges": "edges",
    "outside": "outside",
}  # fmt: skip
WHOLE: dict[str, Callable[[np.ndarray], Any]] = {"memory": np.max, "vram": np.max, "passed": np.sum}
"""Columns of which no mean is given."""
FEWEST_FOR_FLOOR = 4
"""Clips from which two halves are compared."""


@dataclass(frozen=True, eq=False)
class Benched:
    """What a bench wrote."""

    folder: Path
    results: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.results["engine"]

    @cached_property
    def done(self) -> list[dict[str, Any]]:
        return [row for row in self.results["rows"] if row["state"] == "done"]

    @cached_property
    def columns(self) -> dict[str, Figure]:
        """Every column's figure over the clips that have it."""
        figures: dict[str, Figure] = {}
        for metric in self.results["metrics"]:
            kept = [row["metrics"][metric] for row in self.done if metric in row["metrics"]]
            figures |= self._pooled(metric, kept)
        return {name: figure for name, figure in figures.items() if math.isfinite(figure.value)}

    def floor(self) -> dict[str, Figure]:
        """Real against real: halves of the real clips for sets, the real clips themselves for the rest."""
        figures = {}
        for name in SETS:
            real = self._features(f"{name}_real")
            if len(real) >= FEWEST_FOR_FLOOR:
                one, other = (np.concatenate([real[at] for at in half]) for half in halves(len(real)))
                value = pooled_set(name, one, other)
                figures[name] = Figure(value, math.nan, math.nan)
        kept = [row["metrics"]["lse"]["floor"] for row in self.done if "lse" in row["metrics"]]
        return figures | _means([values for values in kept if values])

    def lines(self) -> list[str]:
        """Which metrics are missing and why, and which clips."""
        lines = [f"{name}: {why}" for name, why in self.results["lacking"].items()]
        for metric in self.results["metrics"]:
            notes = {row["metrics"][metric]["note"] for row in self.done if row["metrics"].get(metric, {}).get("note")}
            empty = not any(column.name in self.columns for column in METRICS[metric].columns)
            if empty and len(notes) == 1:
                lines.append(f"{metric}: {notes.pop()}")
                continue
            lines += [
                f"{row['id']}: {metric}: {row['metrics'][metric]['note']}"
                for row in self.done
                if row["metrics"].get(metric, {}).get("note")
            ]
        return lines + [f"{row['id']}: {row['state']}: {row['reason']}" for row in self.results["rows"]
                        if row["state"] != "done"]  # fmt: skip

    def _pooled(self, metric: str, kept: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
        if metric in SETS:
            return self._set(metric)
        if metric == "drawn":
            return _drawn([one["detail"] for one in kept if one["detail"]])
        return _means([one["values"] for one in kept if one["values"]])

    def _set(self, name: str) -> dict[str, Figure]:
        real, made = self._features(f"{name}_real"), self._features(f"{name}_result")
        if sum(map(len, made)) < 2:
            return {}
        value = pooled_set(name, np.concatenate(real), np.concatenate(made))

        def apart(rows: np.ndarray) -> float:
            return distance(np.concatenate([real[at] for at in rows]), np.concatenate([made[at] for at in rows]))

        few = len(made) < 3
        low, high = (math.nan, math.nan) if few else jackknife(apart, len(made))[1:]
        return {name: Figure(value, low, high)}

    def _features(self, name: str) -> list[np.ndarray]:
        """A clip's features each, of the clips that have some."""
        found = []
        for row in self.done:
            path = self.folder / "clips" / f"{row['id']}.npz"
            if path.is_file() and name.split("_")[0] in row["metrics"]:
                with np.load(path) as kept:
                    found += [kept[name]] if name in kept else []
        return found


def read_bench(folder: str | Path) -> Benched:
    """What `bench run` left in a folder. InputError: nothing, or of another version."""
    path = Path(folder) / "results.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        if (
            results["format"] != FORMAT
            or not results.keys() >= PARTS
            or not all(row.keys() >= ROW for row in results["rows"])
        ):
            raise ValueError
    except FileNotFoundError:
        raise InputError(f"{folder} holds no results.json: give the --out of a `bench run` that ended") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise InputError(f"{path} is damaged or of another version; run the bench again, it goes on") from None
    return Benched(Path(folder), results)


def markdown(benches: Sequence[Benched], paper: str | None = None) -> str:
    """The table of all benches; `paper`: also a paper's rows (of `PAPERS`) with their source."""
    printed = PAPERS[paper] if paper else []
    measured = {name for bench in benches for name in bench.columns} | {name for row in printed for name in row.values}
    unmeasured = {metric for bench in benches for metric in bench.results["lacking"]}
    lacking = {column.name for metric in unmeasured for column in METRICS[metric].columns}
    names = [name for name in COLUMNS if name in measured | lacking]
    lines = [["", "clips", *(_head(name) for name in names), *(["source"] if printed else [])]]
    spare = [""] if printed else []
    labels = _labels(benches)
    for bench, label in zip(benches, labels, strict=True):
        count = f"{len(bench.done)} of {len(bench.results['rows'])}"
        lines.append([label, count, *(_cell(name, bench.columns.get(name)) for name in names), *spare])
    floor = next((found for bench in benches if (found := bench.floor())), {})
    if floor:
        lines.append(["real against real", "", *(_cell(name, floor.get(name)) for name in names), *spare])
    for row in printed:
        cells = [f"{row.values[name]:g}" if name in row.values else DASH for name in names]
        lines.append([f"*{row.name}, printed*", "", *cells, row.source])
    return "\n".join([*_rows(lines), "", *(f"* {line}" for line in _notes(benches, labels))]).rstrip() + "\n"


def _notes(benches: Sequence[Benched], labels: Sequence[str]) -> list[str]:
    """What is missing and why, once, with the benches that it is said of where not all say it."""
    said: dict[str, list[str]] = {}
    for bench, label in zip(benches, labels, strict=True):
        for line in bench.lines():
            said.setdefault(line, []).append(label)
    return [line if len(of) == len(benches) else f"{'; '.join(of)}: {line}" for line, of in said.items()]


def _labels(benches: Sequence[Benched]) -> list[str]:
    names = [bench.name for bench in benches]
    return [name if names.count(name) == 1 else f"{name} ({bench.folder})"
            for name, bench in zip(names, benches, strict=True)]  # fmt: skip


def _drawn(details: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """As `evaluate synth` pools them."""
    if not details:
        return {}
    pool = pooled_drawn([ClipFigures(**{**detail, "lag_r": tuple(detail["lag_r"])}) for detail in details])
    found = {column: pool[name] for column, name in DRAWN_NAMES.items()}
    plain = {name: Figure(value, math.nan, math.nan) for name, value in found.items() if not isinstance(value, Figure)}
    return {**found, **plain}  # type: ignore[dict-item]


def _means(values: Sequence[Mapping[str, float]]) -> dict[str, Figure]:
    figures = {}
    for name in dict.fromkeys(name for one in values for name in one):
        clips = np.array([one[name] for one in values if name in one])
        if name in WHOLE:
            figures[name] = Figure(float(WHOLE[name](clips)), math.nan, math.nan)
        else:
            figures[name] = bootstrap(partial(_mean, clips), len(clips))
    return figures


def _mean(values: np.ndarray, rows: np.ndarray) -> float:
    return float(values[rows].mean())


def _head(name: str) -> str:
    column = COLUMNS[name]
    return column.label + {"higher": " ↑", "lower": " ↓"}.get(column.better, "")


def _cell(name: str, figure: Figure | None) -> str:
    if figure is None:
        return DASH
    column = COLUMNS[name]
    value, low, high = (f"{part * column.scale:z.{column.digits}f}" for part in (figure.value, figure.low, figure.high))
    return value if math.isnan(figure.low) else f"{value} [{low}, {high}]"


def _rows(lines: Sequence[Sequence[str]]) -> list[str]:
    head, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return [head, "|" + "---|" * len(lines[0]), *rest]
