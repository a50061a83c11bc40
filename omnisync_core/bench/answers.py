"""What people said in a study: scores with intervals, agreement, success rates, wins, and whose answers stand apart."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..evaluation.figures import Figure

FORMAT = 1
RESAMPLES = 2000
DASH = "–"
FEWEST_RATERS = 3
"""From which a rater is held against the others."""
FEWEST_VIDEOS = 5
LONER_R, LONER_BIAS = 0.2, 1.0
"""A rater stands apart below this correlation with the others' mean, or so many points above or below it."""


@dataclass(frozen=True)
class Video:
    """One video of a study; `method` None is the attention check."""

    clip: str
    method: str | None
    style: str | None


@dataclass(frozen=True)
class Rater:
    """One person's answers: scores (5,) and whether the lips are in sync, by video."""

    name: str
    scores: dict[str, np.ndarray]
    sync: dict[str, bool]
    failed: int = 0
    """Checks that were called in sync."""
    checks: int = 0

    @property
    def is_inattentive(self) -> bool:
        return 2 * self.failed > self.checks


@dataclass(frozen=True)
class Study:
    """A study's key and its answers. `notes`: what could not be used, a line each."""

    names: tuple[str, ...]
    criteria: tuple[str, ...]
    videos: dict[str, Video]
    raters: tuple[Rater, ...]
    notes: tuple[str, ...] = ()

    @property
    def attentive(self) -> list[Rater]:
        """Whose answers count."""
        return [rater for rater in self.raters if not rater.is_inattentive]

    @property
    def counted(self) -> str:
        """How many people that are, in words."""
        return f"{len(self.attentive)} {'person' if len(self.attentive) == 1 else 'people'}"


@dataclass(frozen=True)
class Findings:
    """All figures of a study."""

    scores: dict[str, dict[str, Figure]]
    """Mean opinion by method and criterion; `all` is their mean."""
    alpha: dict[str, float]
    """Cronbach's alpha by criterion, raters as its items."""
    success: dict[str, dict[str, tuple[Figure, int]]]
    """Share of videos called in sync and how many there were, by method and style (`all` first)."""
    wins: dict[tuple[str, str], tuple[int, int, int]]
    """Of two methods: how often the first one's mean score was higher, equal, lower; a rater and clip each."""
    apart: dict[str, str] = field(default_factory=dict)
    """Raters who stand apart, and how."""


def read_study(paths: Sequence[str | Path], key: str | Path | None = None) -> Study:
    """The answers of one study with its key; without `key` it is looked for beside the answers and here.

    InputError: no key, or no answers to it. A file that cannot be used is a note.
    """
    read, notes = [], []
    for path in map(Path, paths):
        try:
            read.append((path, _read_answers(path)))
        except InputError as error:
            notes.append(str(error))
    if not read:
        raise InputError(" ".join(["there are no answers that can be used.", *notes]))
    found = _read_key(Path(key)) if key else _find_key(paths, [one["study"] for _, one in read])
    videos = found["videos"]
    by_rater: dict[str, tuple[int, Path, Rater]] = {}
    for path, one in read:
        if one["study"] != found["study"]:
            notes.append(f"{path} answers another study ({one['study']}, the key is of {found['study']})")
            continue
        rater, problem = _rater(one, videos, len(found["criteria"]))
        if problem:
            notes.append(f"{path}: {problem}")
        if not rater.scores:
            notes.append(f"{path} holds no answers")
            continue
        size, identity = len(rater.scores), str(one["rater"])
        if identity in by_rater:
            notes.append(f"{path} is of the same person as {by_rater[identity][1]}: the fuller one counts")
        if identity not in by_rater or size > by_rater[identity][0]:
            by_rater[identity] = (size, path, rater)
    if not by_rater:
        raise InputError(" ".join(["there are no answers that can be used.", *notes]))
    raters = _named(tuple(rater for _, _, rater in by_rater.values()))
    return Study(tuple(found["names"]), tuple(found["criteria"]), videos, raters, tuple(notes))


def find(study: Study, seed: int = 0) -> Findings:
    """All figures; answers of inattentive people are left out."""
    raters = study.attentive
    if not raters:
        raise InputError(f"all {len(study.raters)} people called the attention checks in sync: nobody's answers count")
    rng = np.random.default_rng(seed)
    return Findings(
        {name: _opinions(study, raters, name, rng) for name in study.names},
        {criterion: cronbach(_matrix(study, raters, at)) for at, criterion in enumerate(study.criteria)},
        {name: _successes(study, raters, name) for name in study.names},
        {pair: _wins(study, raters, *pair) for pair in itertools.combinations(study.names, 2)},
        _apart(study, raters),
    )


def cronbach(scores_VR: np.ndarray) -> float:
    """Cronbach's alpha of V videos that each of R raters scored; NaN rows (not scored by all) are left out."""
    scores = scores_VR[np.isfinite(scores_VR).all(1)] if scores_VR.size else scores_VR
    if scores.ndim < 2 or scores.shape[1] < 2 or len(scores) < 2:
        return math.nan
    total = scores.sum(1).var(ddof=1)
    raters = scores.shape[1]
    return float(raters / (raters - 1) * (1 - scores.var(axis=0, ddof=1).sum() / total)) if total > 0 else math.nan


def wilson(successes: int, count: int) -> Figure:
    """A share and its 95 % interval (Wilson 1927)."""
    if not count:
        return Figure(math.nan, math.nan, math.nan)
    z, share = 1.959964, successes / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return Figure(share, max(0.0, middle - half), min(1.0, middle + half))


def markdown(study: Study, findings: Findings) -> str:
    """The tables."""
    left_out = [rater.name for rater in study.raters if rater.is_inattentive]
    clips = len({video.clip for video in study.videos.values()})
    blocks = [f"{study.counted}, {clips} clips. Scores 1 to 5; 95 % intervals over people and clips."]
    criteria = [*study.criteria, "all"]
    blocks.append(_table([["", *criteria], *([name, *(_in_words(findings.scores[name][c]) for c in criteria)]
                                             for name in study.names)]))  # fmt: skip
    alphas = [f"{alpha:z.2f}" if math.isfinite(alpha) else DASH for alpha in findings.alpha.values()]
    blocks.append(_table([["Cronbach's alpha of the people", *findings.alpha], ["", *alphas]]))
    styles = list(dict.fromkeys(style for one in findings.success.values() for style in one))
    rows = [[name, *(_share(findings.success[name].get(style)) for style in styles)] for name in study.names]
    blocks.append(_table([["lip sync called correct, %", *styles], *rows]))
    if findings.wins:
        rows = [[f"{a} against {b}", *map(str, counts), _preferred(counts)] for (a, b), counts in findings.wins.items()]
        blocks.append(
            _table([["mean score of the same clip, a person each", "wins", "even", "losses", "won, %"], *rows])
        )
    notes = [f"{rater}: {how}" for rater, how in findings.apart.items()]
    notes += [f"{name}: left out, called the attention checks in sync" for name in left_out]
    if len(study.names) == 1:
        notes.append("one method only: it wins against nobody")
    notes += study.notes
    return "\n\n".join([*blocks, "\n".join(f"* {line}" for line in notes)]).strip() + "\n"


def as_json(study: Study, findings: Findings) -> dict[str, Any]:
    """Everything as JSON values; NaN is null."""

    def number(value: float) -> float | None:
        return round(value, 4) if math.isfinite(value) else None

    def interval(figure: Figure) -> dict[str, float | None]:
        return {name: number(getattr(figure, name)) for name in ("value", "low", "high")}

    return {
        "people": len(study.raters),
        "scores": {name: {c: interval(f) for c, f in one.items()} for name, one in findings.scores.items()},
        "alpha": {criterion: number(alpha) for criterion, alpha in findings.alpha.items()},
        "success": {name: {style: {**interval(figure), "videos": count} for style, (figure, count) in one.items()}
                    for name, one in findings.success.items()},
        "wins": [{"first": a, "second": b, "wins": w, "even": e, "losses": x}
                 for (a, b), (w, e, x) in findings.wins.items()],
        "apart": findings.apart,
        "left_out": [rater.name for rater in study.raters if rater.is_inattentive],
        "notes": list(study.notes),
    }  # fmt: skip


def _opinions(study: Study, raters: Sequence[Rater], name: str, rng: np.random.Generator) -> dict[str, Figure]:
    cube_VRC = np.stack([_matrix(study, raters, at, name) for at in range(len(study.criteria))], -1)
    figures = {c: _mean(cube_VRC[..., at], rng) for at, c in enumerate(study.criteria)}
    return figures | {"all": _mean(cube_VRC.mean(-1), rng)}


def _mean(scores_VR: np.ndarray, rng: np.random.Generator) -> Figure:
    """The mean of what was scored; its interval over people and clips drawn with replacement, both at once."""
    if not np.isfinite(scores_VR).any():
        return Figure(math.nan, math.nan, math.nan)
    videos, raters = scores_VR.shape
    known, filled = np.isfinite(scores_VR).astype(float), np.nan_to_num(scores_VR)
    means = []
    for _ in range(RESAMPLES):
        rows = np.bincount(rng.integers(videos, size=videos), minlength=videos)
        columns = np.bincount(rng.integers(raters, size=raters), minlength=raters)
        count = rows @ known @ columns
        if count:
            means.append(rows @ filled @ columns / count)
    low, high = np.percentile(means, [2.5, 97.5])
    return Figure(float(np.nanmean(scores_VR)), float(low), float(high))


def _matrix(study: Study, raters: Sequence[Rater], criterion: int, name: str | None = None) -> np.ndarray:
    """Scores (V, R) of a method's videos (None: of all methods'), NaN where not rated."""
    tokens = [token for token, video in study.videos.items() if video.method and (name in (None, video.method))]
    blank = np.full(len(study.criteria), np.nan)
    return np.array([[rater.scores.get(token, blank)[criterion] for rater in raters] for token in tokens])


def _successes(study: Study, raters: Sequence[Rater], name: str) -> dict[str, tuple[Figure, int]]:
    """A video is a success where most people call it in sync; an even vote is none."""
    votes: dict[str, list[bool]] = {"all": []}
    for token, video in study.videos.items():
        said = [rater.sync[token] for rater in raters if token in rater.sync]
        if video.method != name or not said:
            continue
        for style in ("all", video.style or ""):
            if style:
                votes.setdefault(style, []).append(2 * sum(said) > len(said))
    return {style: (wilson(sum(passed), len(passed)), len(passed)) for style, passed in votes.items()}


def _wins(study: Study, raters: Sequence[Rater], first: str, second: str) -> tuple[int, int, int]:
    by_clip: dict[str, dict[str, str]] = {}
    for token, video in study.videos.items():
        if video.method:
            by_clip.setdefault(video.clip, {})[video.method] = token
    counts = [0, 0, 0]
    for rater in raters:
        for tokens in by_clip.values():
            pair = [rater.scores.get(tokens.get(name, "")) for name in (first, second)]
            ours, theirs = (None if scores is None else float(np.sum(scores)) for scores in pair)
            if ours is not None and theirs is not None:
                counts[0 if ours > theirs else 1 if ours == theirs else 2] += 1
    return counts[0], counts[1], counts[2]


def _apart(study: Study, raters: Sequence[Rater]) -> dict[str, str]:
    """Raters whose mean scores go another way than the others', or lie well above or below them."""
    if len(raters) < FEWEST_RATERS:
        return {}
    means_VR = np.mean([_matrix(study, raters, at) for at in range(len(study.criteria))], axis=0)
    found = {}
    for at, rater in enumerate(raters):
        others = np.delete(means_VR, at, 1)
        rated = np.isfinite(means_VR[:, at]) & np.isfinite(others).any(1)
        if rated.sum() < FEWEST_VIDEOS:
            continue
        own, theirs = means_VR[rated, at], np.nanmean(others[rated], 1)
        bias = float((own - theirs).mean())
        moves = own.std() > 0 and theirs.std() > 0
        r = float(np.corrcoef(own, theirs)[0, 1]) if moves else 0.0
        reasons = [f"goes another way than the others (r {r:.2f})"] if r < LONER_R else []
        reasons += [f"scores {abs(bias):.1f} {'above' if bias > 0 else 'below'} the others"] * (abs(bias) > LONER_BIAS)
        if reasons:
            found[rater.name] = ", ".join(reasons)
    return found


def _read_answers(path: Path) -> dict[str, Any]:
    """One person's answers; a saved mail may hold words around them."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        file = json.loads(text[text.index("{") : text.rindex("}") + 1])
        if file["format"] != FORMAT or not isinstance(file["answers"], list):
            raise ValueError
        return {"study": str(file["study"]), "rater": str(file["rater"]), "name": str(file.get("name") or ""),
                "answers": file["answers"]}  # fmt: skip
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from None
    except (ValueError, LookupError, TypeError, RecursionError):
        raise InputError(f"{path} holds no answers of a study; give the .json files that people saved") from None


def _rater(file: dict[str, Any], videos: dict[str, Video], criteria: int) -> tuple[Rater, str]:
    """A person's answers that make sense, and a line about those that do not."""
    scores, sync, wrong = {}, {}, 0
    for one in file["answers"]:
        try:
            token, given, said = one["video"], [int(value) for value in one["scores"]], one["sync"]
            if token not in videos or len(given) != criteria or not all(1 <= value <= 5 for value in given):
                raise ValueError
            if not isinstance(said, bool):
                raise ValueError
            scores[token], sync[token] = np.array(given, float), said
        except (LookupError, TypeError, ValueError, OverflowError):
            wrong += 1
    checks = [sync[token] for token in sync if videos[token].method is None]
    rater = Rater(file["name"] or file["rater"][:8], scores, sync, sum(checks), len(checks))
    return rater, f"{wrong} of {len(file['answers'])} answers make no sense and are left out" if wrong else ""


def _named(raters: tuple[Rater, ...]) -> tuple[Rater, ...]:
    """Two people of one name are told apart."""
    names = [rater.name for rater in raters]
    return tuple(
        rater if names.count(rater.name) == 1 else Rater(f"{rater.name} ({place})", *list(vars(rater).values())[1:])
        for place, rater in enumerate(raters, 1)
    )


def _find_key(paths: Sequence[str | Path], studies: Sequence[str]) -> dict[str, Any]:
    folders = [Path(), *(Path(path).parent for path in paths), *(Path(path).parent.parent for path in paths)]
    for folder in dict.fromkeys(folders):
        for path in sorted(folder.glob("*.key.json")):
            try:
                key = _read_key(path)
            except InputError:
                continue
            if key["study"] in studies:
                return key
    raise InputError("the study's key is not beside the answers nor here; give --key PAGE.key.json")


def _read_key(path: Path) -> dict[str, Any]:
    try:
        key = json.loads(path.read_text(encoding="utf-8"))
        if key["format"] != FORMAT or not (key["names"] and key["criteria"] and str(key["study"])):
            raise ValueError
        return key | {"videos": {token: Video(**one) for token, one in key["videos"].items()}}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise InputError(f"{path} is no key of a study; it lies beside the page as PAGE.key.json") from None


def _in_words(figure: Figure) -> str:
    return str(figure) if math.isfinite(figure.value) else DASH


def _share(found: tuple[Figure, int] | None) -> str:
    if found is None or not found[1]:
        return DASH
    figure, count = found
    return f"{100 * figure.value:.1f} [{100 * figure.low:.1f}, {100 * figure.high:.1f}] of {count}"


def _preferred(counts: tuple[int, int, int]) -> str:
    share = wilson(counts[0], counts[0] + counts[2])
    if not math.isfinite(share.value):
        return DASH
    return f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _table(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(lines[0]), *rest])
