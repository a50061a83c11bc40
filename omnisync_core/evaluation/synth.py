"""Evaluation on drawn characters with exact ground truth: figures, grid, prompt test, ablation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ..audio import ArrayWave, speech_activity
from ..diffusion import CONVENTIONS
from ..diffusion.guidance import Guidance
from ..engines.omnisync import Sampling
from ..synth.clips import caption_of, read_clip, write_clips
from ..synth.speech import AMPLITUDE
from ..training.latentsync.syncnet import SMALL, load_syncnet
from . import bench
from .agreement import judge, table_rows
from .bench import Engines, Measured
from .figures import Figure, bootstrap, pooled
from .sheet import write_sheet

COLUMNS = {
    "share": "recovered", "share_median": "median", "sync_r": "sync r", "lag": "lag", "leak": "leak",
    "ssim": "SSIM", "gmsd": "GMSD", "edges": "edges", "psnr_mouth": "mouth dB", "motion_error": "motion error",
    "outside": "outside",
}  # fmt: skip
GRID_CLIPS, ABLATION_CLIPS, PROMPT_CLIPS = 24, 48, 24


def evaluate(
    out: str | os.PathLike,
    *,
    clips: int = 64,
    seed: int = 0,
    grid: bool = False,
    engines: Engines | None = None,
    sampling: Sampling | None = None,
    size: int = 256,
    seconds: float = 3.0,
    prompts: bool = True,
    syncnet: str | os.PathLike | None = None,
) -> dict:
    """Edit `clips` test clips of a seed as a user would, print and write the figures; returns the report.

    `out` gets the clips with their results, report.json, report.md and sheet.png. What was done there before by the
    same engine is not done again. engines, sampling: the shipped bundle's where None; the codec's ceiling is left out
    for those without an autoencoder. syncnet: the file of a small SyncNet of drawn characters, which then judges too.
    """
    out, judging = Path(out), load_syncnet(syncnet, SMALL, checkpointed=False) if syncnet else None
    engines, sampling = engines or bench.bundled(), sampling or bench.own()
    folders = _clips(out, clips, seed, size, seconds)
    main = bench.run(folders, engines, "result", sampling, keep=True)
    rows = {"result": main}
    clear = [one for one in main if not one.figures.occluded]
    if 0 < len(clear) < len(main):
        rows[f"result, the {len(clear)} clips without occluder"] = clear
    engine = engines(folders[0], sampling)
    if engine.has_codec:
        rows["truth through the codec"] = bench.run(folders, bench.ceiling(engines), "ceiling", sampling)
    rows |= {"truth itself": bench.take(folders, "truth"), "source unchanged": bench.take(folders, "source")}
    report = {"clips": clips, "seed": seed, "engine": engine.fingerprint, "rows": _rows(rows)}
    tables = [f"## {clips} clips, seed {seed}, {_words(sampling)}", table(rows)]
    best = pooled([one.figures for one in main])
    title = f"Recovered {best['share'].value:.2f}, sync {best['sync_r'].value:.2f}"
    write_sheet(out / "sheet.png", main, "result", title)
    if judging:
        judged = judge(folders, "result", judging)
        report["syncnet"] = {name: [asdict(one) for one in row] for name, row in judged.items()}
        tables += [f"## SyncNet ({Path(syncnet).name}) with the new sound", _markdown(table_rows(judged))]
    if prompts:
        report["prompt"] = evaluate_prompt(folders[:PROMPT_CLIPS], engines, sampling)
        tables += ["## Prompt", prompt_table(report["prompt"])]
    if grid:
        shared = folders[:GRID_CLIPS]
        tried = {
            name: bench.run(shared, engines, _file_name(name, one, sampling), one, keep=one == sampling)
            for name, one in settings(sampling).items()
        }
        report["grid"] = _rows(tried)
        tables += [f"## Grid, {len(shared)} clips", table(tried)]
    _write(out, "report", report, tables)
    return report


def evaluate_prompt(folders: Sequence[Path], engines: Engines, sampling: Sampling) -> dict:
    """The same sound with a loud and with a mumbling caption: how much wider the mouth opens while somebody speaks."""
    styles = ("loud", "mumble")

    def edit(style: str) -> list[Measured]:
        return bench.run(
            folders, engines, f"prompt_{style}", sampling, lambda clip: caption_of(clip.family, style, clip.seed)
        )

    edited = {style: edit(style) for style in styles}
    speaks = [_speaks(folder) for folder in folders]
    means = {
        style: np.array([one.opening_T[when].mean() for one, when in zip(edited[style], speaks, strict=True)])
        for style in styles
    }
    ratio = bootstrap(lambda rows: means["loud"][rows].sum() / means["mumble"][rows].sum(), len(folders))
    sync = {style: pooled([one.figures for one in edited[style]])["sync_r"] for style in styles}
    return {
        "clips": len(folders), "ratio": asdict(ratio), "renderer_ratio": AMPLITUDE["loud"] / AMPLITUDE["mumble"],
        "mean_opening": {style: float(means[style].mean()) for style in styles},
        "sync_r": {style: asdict(figure) for style, figure in sync.items()},
    }  # fmt: skip


def ablate(
    out: str | os.PathLike, *, clips: int = ABLATION_CLIPS, seed: int = 0, engines: Engines | None = None,
    sampling: Sampling | None = None,
    others: dict[str, Engines] | None = None, size: int = 256, seconds: float = 3.0,
) -> dict:  # fmt: skip
    """The shipped sampling against others and, by name, `others` of trainings; writes ablation.json and ablation.md.

    May share its folder with `evaluate`.
    """
    out = Path(out)
    engines, sampling = engines or bench.bundled(), sampling or bench.own()
    folders = _clips(out, clips, seed, size, seconds)
    variants = {
        "shipped": sampling,
        "no progressive noise (tau 1)": replace(sampling, tau=1.0),
        "no guidance": replace(sampling, guidance=Guidance(1, 1)),
        "static guidance, low": replace(sampling, guidance=_static(1.5)),
        "static guidance, high": replace(sampling, guidance=_static(4.0)),
    }
    for name in CONVENTIONS:
        variants[f"DS-CFG {name}"] = replace(sampling, guidance=Guidance(convention=name))
    for steps in (1, 2, 10, 50):
        variants[f"{steps} steps"] = replace(sampling, steps=steps)
    variants = {name: one for name, one in variants.items() if name == "shipped" or one != sampling}
    rows = {
        name: bench.run(folders, engines, _file_name(name, one, sampling), one, keep=one == sampling)
        for name, one in variants.items()
    }
    rows |= {name: bench.run(folders, other, _slug(name), sampling) for name, other in (others or {}).items()}
    report = {"clips": clips, "seed": seed, "rows": _rows(rows)}
    _write(out, "ablation", report, [f"## Ablation, {clips} clips, seed {seed}, {_words(sampling)}", table(rows)])
    return report


def settings(sampling: Sampling) -> dict[str, Sampling]:
    """The grid: each reading of the guidance formula at some strengths, then noise levels at the shipped guidance."""
    chosen = {"no guidance": replace(sampling, guidance=Guidance(1, 1))}
    for convention, peaks in (("paper", (1.5, 2, 3)), ("normalised", (2, 3, 4.5)), ("floored", (2, 3, 4.5))):
        for peak in peaks:
            guidance = replace(sampling.guidance, convention=convention, w_peak=peak)
            chosen[f"{convention}, w_peak {peak:g}"] = replace(sampling, guidance=guidance)
    for tau in (0.8, 0.85, 0.92, 0.97, 1.0):
        chosen[f"tau {tau:g}"] = replace(sampling, tau=tau)
    return chosen


def table(rows: Mapping[str, Sequence[Measured]]) -> str:
    """Pooled figures with 95 % intervals, one line per row, as Markdown."""
    lines = [["", *COLUMNS.values()]]
    for name, measured in rows.items():
        pool = pooled([one.figures for one in measured])
        lines.append([name, *(_cell(key, pool[key]) for key in COLUMNS)])
    return _markdown(lines)


def prompt_table(report: dict) -> str:
    ratio = Figure(**report["ratio"])
    lines = [["caption", "mean opening in speech", "sync r"]]
    for style, mean in report["mean_opening"].items():
        lines.append([style, f"{mean:.3f}", str(Figure(**report["sync_r"][style]))])
    lines.append(["loud over mumble", f"{ratio} (renderer: {report['renderer_ratio']:.2f})", ""])
    return _markdown(lines)


def _clips(out: Path, clips: int, seed: int, size: int, seconds: float) -> list[Path]:
    """The clips of a seed in `out`; those that are there are taken as they are."""
    asked = {"seed": seed, "size": size, "seconds": seconds}
    note = out / "clips.json"
    before = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    if before.pop("clips", 0) < clips or before != asked:
        write_clips(out, clips=clips, seed=seed, size=size, seconds=seconds)
        note.write_text(json.dumps(asked | {"clips": clips}), encoding="utf-8")
    return [out / f"clip_{index:04d}" for index in range(clips)]


def _static(weight: float) -> Guidance:
    """The same weight everywhere and always."""
    return Guidance(w_peak=weight, w_base=weight, gamma=0.0, convention="normalised")


def _speaks(folder: Path) -> np.ndarray:
    clip = read_clip(folder)
    return speech_activity(ArrayWave(clip.target_wave), np.arange(len(clip.truth_frames)) / clip.fps) > 0.5


def _rows(rows: Mapping[str, Sequence[Measured]]) -> dict:
    return {
        name: {
            "pooled": {
                key: asdict(value) if isinstance(value, Figure) else value
                for key, value in pooled([one.figures for one in measured]).items()
            },
            "clips": [one.figures.as_json() for one in measured],
        }
        for name, measured in rows.items()
    }


def _cell(key: str, value: Figure | float) -> str:
    if not isinstance(value, Figure):
        return f"{value:g}"
    if key == "psnr_mouth" and value.value > 100:
        return "exact"
    digits = 1 if key in ("psnr_mouth", "motion_error") else 2
    return f"{value.value:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _words(sampling: Sampling) -> str:
    g = sampling.guidance
    guidance = f"{g.convention} w_peak {g.w_peak:g} w_base {g.w_base:g} gamma {g.gamma:g}"
    return f"{sampling.steps} steps, tau {sampling.tau:g}, {guidance}"


def _file_name(name: str, one: Sampling, shipped: Sampling) -> str:
    """The shipped setting is edited once, whatever a table calls it."""
    return "result" if one == shipped else _slug(name)


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _markdown(lines: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    rows = [f"| {' | '.join(cells)} |" for cells in padded]
    return "\n".join([rows[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *rows[1:]])


def _write(out: Path, name: str, report: dict, tables: list[str]) -> None:
    text = "\n\n".join(tables)
    print(f"\n{text}\n")
    (out / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    (out / f"{name}.json").write_text(json.dumps(report, indent=1, allow_nan=False), encoding="utf-8")
