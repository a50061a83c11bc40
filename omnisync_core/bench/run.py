"""Makes and measures every clip of a list; what is done is not done again, and a broken clip is a row that says why.

`out` gets `results/<id>.mkv` (of an engine that runs here), `clips/<id>.json` and `.npz` (what was measured), and at
the end `results.parquet`, `results.json`, `table.md` and `sheet.png`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import InputError, JobError, OutputError
from ..files import replacing
from ..job.manifest import file_digest, plain
from ..manifest import Row, read_manifest
from ..tables import need_parquet, write_table
from .clip import RUN, Clip
from .engines import SERVER, Maker, open_maker
from .measure import Measure, Taken, metrics_folder, one_line, opened, take_moments
from .registry import COLUMNS, chosen
from .sheet import write_sheet
from .table import FORMAT, markdown, read_bench

FRAMES = 2 * RUN


@dataclass(frozen=True)
class Bench:
    """One bench at work."""

    out: Path
    maker: Maker
    measures: Mapping[str, Measure]
    lacking: Mapping[str, str]
    frames: int
    """How many frames of a clip metrics of pictures look at; 0: all."""
    say: Callable[[str], None]


def run(
    manifest: str | os.PathLike,
    engine: str | Maker,
    out: str | os.PathLike,
    *,
    metrics: Sequence[str] | None = None,
    limit: int | None = None,
    frames: int = FRAMES,
    device: str = "auto",
    host: str = SERVER,
    settings: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Bench an engine on the clips of a list; returns a record a clip. InputError, OutputError: nothing can be done.

    metrics: names (None: all); those whose file or library is not there are named once and left out.
    host: the ComfyUI server of an engine that runs there; settings: `name=value` of how a bundle samples.
    """
    need_parquet()
    rows = read_manifest(manifest)[:limit]
    maker = engine if isinstance(engine, Maker) else open_maker(engine, host, settings)
    measures, lacking = opened(chosen(metrics), metrics_folder(), _device(device))
    for name, line in lacking.items():
        say(f"{name}: left out: {line}")
    bench = Bench(Path(out), maker, measures, lacking, frames, say)
    _check_own(bench)
    try:
        for folder in ("results", "clips"):
            (bench.out / folder).mkdir(parents=True, exist_ok=True)
        records = [_record(bench, row, f"{place}/{len(rows)}") for place, row in enumerate(rows, 1)]
        _write(bench, records)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error
    return records


def _check_own(bench: Bench) -> None:
    """InputError: the folder holds what another engine made, which would be lost."""
    before = _read(bench.out / "results.json").get("engine", bench.maker.name)
    if before != bench.maker.name:
        raise InputError(
            f"{bench.out} holds the bench of {before!r}, this one is of {bench.maker.name!r}: give another --out"
        )


def _record(bench: Bench, row: Row, place: str) -> dict[str, Any]:
    """What is known of a clip, from before or made now; kept as it grows."""
    record = _start(row)
    try:
        if row.problem:
            raise InputError(row.problem)
        record = _known(bench, row, record)
        _measure(bench, row, record)
        record["state"] = "done"
    except InputError as error:
        record |= {"state": "refused", "reason": one_line(error)}
    except JobError as error:  # of a server; it may do the next one
        record |= {"state": "failed", "reason": one_line(error)}
    except OutputError:
        raise
    except Exception as error:  # whatever a clip or a library does, the rest is done
        record |= {"state": "failed", "reason": f"{type(error).__name__}: {one_line(error)}"}
    _keep(bench, record)
    bench.say(f"[{place}] {row.id}: {_line(bench, record)}")
    return record


def _start(row: Row) -> dict[str, Any]:
    """Files by their whole paths: a study of this bench may be made from another folder."""
    video, audio, truth = (path and str(path.absolute()) for path in (row.video, row.audio, row.truth))
    return {
        "id": row.id, "number": row.number, "style": row.style, "state": "", "reason": "", "metrics": {}, "made": {},
        "video": video, "audio": audio, "truth": truth,
    }  # fmt: skip


def _known(bench: Bench, row: Row, record: dict[str, Any]) -> dict[str, Any]:
    """The record with what was measured of the same result before."""
    files = {"video": row.video, "audio": row.audio} | ({"truth": row.truth} if row.truth else {})
    job = {name: file_digest(path) for name, path in files.items()}
    job |= {"mouth": plain(row.mouth), "engine": plain(bench.maker.fingerprint(row))}
    record["job"] = json.loads(json.dumps(job))
    before = _read(_path(bench, row.id, "json"))
    if before.get("job") != record["job"]:
        return record
    return record | {name: before[name] for name in ("metrics", "made")}


def _measure(bench: Bench, row: Row, record: dict[str, Any]) -> None:
    """Make the result where it is not there, and take the figures that are not known."""
    made = record["made"]
    if not made or not Path(made["path"]).is_file():
        path, cost = bench.maker.make(row, bench.out / "results" / f"{row.id}.mkv")
        made = {"path": str(path.absolute()), "cost": cost}
        record |= {"made": made, "metrics": {}}
        _keep(bench, record)
    clip = Clip(row, Path(made["path"]), bench.frames, bench.maker.spec, cost=made["cost"])
    clip.check()
    if "cycle" in bench.measures and "back" not in made and clip.drawn is None:
        back = bench.maker.bring_back(row, clip.result_path)
        made["back"] = str(back.absolute()) if back else None
    clip.back_path = Path(made["back"]) if made.get("back") else None
    kept = {name: one for name, one in record["metrics"].items() if one["key"] == _key(bench, name)}
    wanted = {name: measure for name, measure in bench.measures.items() if name not in kept}
    features = {key: value for key, value in _features(bench, row.id).items() if key.split("_")[0] in kept}
    for name, taken in take(clip, wanted).items():
        kept[name] = {"key": _key(bench, name), **_json(taken)}
        features |= taken.features
    _keep_features(bench, row.id, features)
    record["metrics"] = {name: kept[name] for name in bench.measures}


def take(clip: Clip, measures: Mapping[str, Measure]) -> dict[str, Taken]:
    """All figures of a clip in one pass over its moments; what one metric cannot say is its note."""
    clip.needs_face = "fvd" in measures
    return take_moments(clip.moments(), measures, clip)


def _json(taken: Taken) -> dict[str, Any]:
    """Figures as JSON; NaN is none."""
    values, floor = ({k: v for k, v in part.items() if math.isfinite(v)} for part in (taken.values, taken.floor))
    note = taken.note
    if len(values) < len(taken.values) and not note:
        note = "a figure is no number"
    return {"values": values, "floor": floor, "detail": dict(taken.detail), "note": note}


def _key(bench: Bench, name: str) -> str | None:
    """What decides a metric's figures of a result; None where it is not taken."""
    measure = bench.measures.get(name)
    if measure is None:
        return None
    return f"{measure.key}, {bench.frames} frames" if measure.sees_moments else measure.key


def _line(bench: Bench, record: Mapping[str, Any]) -> str:
    if record["state"] != "done":
        return f"{record['state']}: {record['reason']}"
    values = {k: v for kept in record["metrics"].values() for k, v in kept["values"].items()}
    shown = [f"{COLUMNS[name].label} {value * COLUMNS[name].scale:.3g}" for name, value in values.items()]
    return ", ".join(shown[:6]) or "done"


def _write(bench: Bench, records: Sequence[dict[str, Any]]) -> None:
    """Everything of all clips."""
    results = {
        "format": FORMAT, "engine": bench.maker.name, "frames": bench.frames, "metrics": list(bench.measures),
        "lacking": dict(bench.lacking), "rows": list(records),
    }  # fmt: skip
    _replace(bench.out / "results.json", json.dumps(results, indent=1, allow_nan=False))
    write_table(bench.out / "results.parquet", [_flat(bench, record) for record in records])
    text = markdown([read_bench(bench.out)])
    _replace(bench.out / "table.md", text)
    done = [record for record in records if record["state"] == "done"]
    if done:
        write_sheet(bench.out / "sheet.png", done, bench.maker.name)
    bench.say(f"\n{text}\n{bench.out}: {len(done)} of {len(records)} clips done")


def _flat(bench: Bench, record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as a row of the table of results."""
    values = {k: v for kept in record["metrics"].values() for k, v in kept["values"].items()}
    floor = {k: v for kept in record["metrics"].values() for k, v in kept["floor"].items()}
    notes = [f"{name}: {kept['note']}" for name, kept in record["metrics"].items() if kept["note"]]
    row: dict[str, Any] = {name: record[name] for name in ("id", "state", "style")}
    row["reason"] = record["reason"] or "; ".join(notes)
    per_clip = [column for name, column in COLUMNS.items() if name not in ("fid", "fvd")]
    row |= {column.name: _number(values.get(column.name)) for column in per_clip}
    return row | {f"real_{name}": _number(floor.get(name)) for name in ("lse_c", "lse_d", "offset")}


def _number(value: float | None) -> float:
    """So that a column without any figure is one of numbers all the same."""
    return math.nan if value is None else float(value)


def _keep(bench: Bench, record: Mapping[str, Any]) -> None:
    _replace(_path(bench, record["id"], "json"), json.dumps(record, allow_nan=False))


def _features(bench: Bench, name: str) -> dict[str, np.ndarray]:
    path = _path(bench, name, "npz")
    if not path.is_file():
        return {}
    with np.load(path) as kept:
        return dict(kept)


def _keep_features(bench: Bench, name: str, features: Mapping[str, np.ndarray]) -> None:
    if not features:
        _path(bench, name, "npz").unlink(missing_ok=True)
        return
    with replacing(_path(bench, name, "npz")) as part, part.open("wb") as file:
        np.savez(file, **features)  # type: ignore[arg-type]  # none is called allow_pickle


def _path(bench: Bench, name: str, suffix: str) -> Path:
    return bench.out / "clips" / f"{name}.{suffix}"


def _read(path: Path) -> dict[str, Any]:
    """A kept record; nothing where it is not there or was cut off."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _replace(path: Path, content: str) -> None:
    with replacing(path) as part:
        part.write_text(content, encoding="utf-8")


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
