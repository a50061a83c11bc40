"""The speaker's mouth by our own finder alone: chosen from the first second of a shot, then followed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import InputError
from .detect import Face
from .finder import Find
from .guided import EVERY, Guided
from .pose import Pose, Sight, usual_pose
from .record import Record
from .speaking import Hear, who_speaks
from .types import Choice, Look, MouthTrack

WAIT = 20
"""Frames of a shot that are looked at before its speaker is chosen."""
LINKED, ALIKE = 1.2, 1.6
"""Mouth widths between two looks, and how many times as wide, within which it is the same mouth."""
STEADY, AS_SURE = 0.5, 0.5
"""Share of the looks in which a mouth must be seen, and its sureness over the surest one's, to be a candidate."""
BELIEVED = 0.42
"""The least mean confidence of a mouth that is a speaker's: below it trees and cars have mouths too."""
ONE_FACE = 2.0
"""Mouth widths around a surer mouth within which another one is no mouth: a nose, a chin."""
GIVEN_UP = 50
"""Lost frames after which a speaker is chosen anew."""
LISTENED = 60
"""Frames of a shot that are looked at where several mouths are seen and the video has a sound."""


def track_alone(
    looks: Iterable[Look], find: Find, choice: Choice, nothing: str, hear: Hear | None = None
) -> MouthTrack:  # fmt: skip
    """Follow one speaker; a track without any mouth, with `nothing` as a warning, where none was found.

    Holds at most LISTENED looks. InputError: mouths were seen, but never as many as `choice` counts.
    """
    record, speaker = Record(), _Speaker(find, choice, hear)
    for look in looks:
        for done, pose, confidence, source in speaker.feed(look):
            record.add(done, pose, confidence, source)
    for done, pose, confidence, source in speaker.settle():
        record.add(done, pose, confidence, source)
    found = record.track()
    if (found.confidence_N > 0).any():
        return found
    speaker.refuse_index()
    return replace(found, warnings=(nothing,))


def count_mouths(looks: Iterable[Look], find: Find) -> int:
    """How many mouths are steadily seen in the first WAIT looks, up to a cut."""
    waiting: list[Look] = []
    for look in looks:
        if len(waiting) == WAIT or (waiting and look.cut):
            break
        waiting.append(look)
    return len(_candidates(waiting, find))


class _Speaker:
    """Fed looks, gives each back with pose, confidence and source; the first ones of a shot late."""

    def __init__(self, find: Find, choice: Choice, hear: Hear | None) -> None:
        self._find, self._choice, self._hear = find, choice, hear
        self._wait = WAIT
        self._waiting: list = []
        self._guided: Guided | None = None
        self._pose: Pose | None = None
        self._most = 0

    def feed(self, look: Look) -> Iterator[tuple]:
        if look.cut:
            yield from self.settle()
            self._guided = None
        if self._guided is not None:
            yield self._answer(look, self._guided.feed(look))
            if self._guided.lost_frames > GIVEN_UP:
                self._guided = None
            return
        self._waiting.append(look)
        if len(self._waiting) < self._wait:
            return
        if self._wait < LISTENED and self._must_listen():
            self._wait = LISTENED
            return
        yield from self.settle()

    def _must_listen(self) -> bool:
        several = len(_candidates(self._waiting, self._find)) > 1
        return several and self._hear is not None and self._choice.by != "index"

    def settle(self) -> Iterator[tuple]:
        """Choose among the mouths of the waiting frames and go through these."""
        waiting, self._waiting, self._wait = self._waiting, [], WAIT
        seen = _candidates(waiting, self._find)
        self._most = max(self._most, len(seen))
        chosen = _choose(seen, self._choice, waiting, self._hear)
        start = len(waiting) if chosen is None else min(chosen.faces)
        for number, look in enumerate(waiting):
            if number < start:
                yield self._answer(look, (self._pose or usual_pose(look.gray.shape), 0.0, "finder"))
            elif number == start:
                face = chosen.faces[number]
                pose = Pose(face.x, face.y, chosen.width, face.roll)
                self._guided = Guided(look, pose, self._find, source="finder")
                yield self._answer(look, (pose, face.confidence, "finder"))
            else:
                yield self._answer(look, self._guided.feed(look))

    def refuse_index(self) -> None:
        """InputError where mouths were seen, but never as many as the user counts."""
        if self._most:
            seen = "1 mouth is" if self._most == 1 else f"{self._most} mouths are"
            index = self._choice.index
            raise InputError(f"speaker {index} is not there: at most {seen} seen in a frame; count from 0 at the left")

    def _answer(self, look: Look, answer: Sight) -> tuple:
        self._pose = answer[0]
        return look, *answer


@dataclass
class _Candidate:
    """One mouth, by the number of the waiting frame in which it was seen."""

    faces: dict[int, Face] = field(default_factory=dict)

    @property
    def last(self) -> Face:
        return self.faces[max(self.faces)]

    @property
    def width(self) -> float:
        return float(np.median([face.width for face in self.faces.values()]))

    @property
    def sure(self) -> float:
        return sum(face.confidence for face in self.faces.values())


def _candidates(looks: Sequence[Look], find: Find) -> list[_Candidate]:
    """The mouths that are steadily seen, from left to right."""
    candidates: list[_Candidate] = []
    numbers = range(0, len(looks), EVERY)
    for number in numbers:
        free = list(candidates)
        for face in find(looks[number].rgb):
            near = [one for one in free if _same(one.last, face)]
            best = min(near, key=lambda one: np.hypot(one.last.x - face.x, one.last.y - face.y), default=None)
            if best is None:
                best = _Candidate()
                candidates.append(best)
            else:
                free.remove(best)
            best.faces[number] = face
    least = AS_SURE * max((one.sure for one in candidates), default=0)
    kept: list[_Candidate] = []
    for one in sorted(candidates, key=lambda one: -one.sure):
        steady = len(one.faces) >= STEADY * len(numbers) and one.sure >= max(least, BELIEVED * len(one.faces))
        if steady and all(_apart(one, surer) > ONE_FACE for surer in kept):
            kept.append(one)
    return sorted(kept, key=lambda one: one.last.x)


def _apart(a: _Candidate, b: _Candidate) -> float:
    return float(np.hypot(a.last.x - b.last.x, a.last.y - b.last.y)) / max(a.width, b.width)


def _same(a: Face, b: Face) -> bool:
    near = np.hypot(a.x - b.x, a.y - b.y) < LINKED * max(a.width, b.width)
    return bool(near and 1 / ALIKE < a.width / b.width < ALIKE)


def _choose(seen: list[_Candidate], choice: Choice, looks: Sequence[Look], hear: Hear | None) -> _Candidate | None:
    """The speaker: the one with the user's number, else who speaks."""
    if choice.by == "index":
        return seen[choice.index] if choice.index < len(seen) else None
    return who_speaks(seen, looks, hear) if seen else None
