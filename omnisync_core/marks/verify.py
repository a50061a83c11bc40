"""What a file says of itself, and whether it is as it was signed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..media.reader import read_frames
from . import watermark
from .credentials import Claim, DamagedClaimError, read_claim
from .options import WEIGHTS
from .tag import has_tag

if TYPE_CHECKING:
    from .learned import Reading


@dataclass(frozen=True)
class Verdict:
    """The marks of a file."""

    has_tag: bool
    claim: Claim | None
    claim_problem: str
    """Why its credentials could not be looked at; empty where they were."""
    claim_is_damaged: bool
    """Whether that is because the file was changed."""
    pattern: float
    """The score of the pattern as a watermark; above `watermark.THRESHOLD` it is there."""
    learned: Reading | None
    """What was read of the learned watermark; None where its weights were not named."""

    @property
    def has_pattern(self) -> bool:
        return self.pattern > watermark.THRESHOLD

    @property
    def is_changed(self) -> bool:
        """Whether the file was changed after it was signed."""
        return self.claim_is_damaged or (self.claim is not None and not self.claim.is_intact)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"metadata: {'says that it was edited with trained algorithmic media' if self.has_tag else 'no note'}"
        if self.claim is None:
            none = "none; if there were some, a re-mux or an upload dropped them"
            yield f"Content Credentials: {self.claim_problem or none}"
        else:
            yield from _of_claim(self.claim)
        yield (
            f"watermark, pattern: {_found(self.has_pattern)} "
            f"({self.pattern:.1f}; it counts above {watermark.THRESHOLD:g})"
        )
        if self.learned is None:
            yield f"watermark, learned: not looked for (name its weights: --watermark-weights FILE, or {WEIGHTS})"
        else:
            yield f"watermark, {self.learned.learned}: {_found(self.learned.is_found)} ({self.learned})"


def verify(path: str | Path, weights: str | Path | None = None) -> Verdict:
    """Look at all marks of a file, with `weights` also at that of a learned watermark.

    InputError: no video that can be read, weights that cannot be used.
    """
    reader = None
    if weights:
        from .learned import Reader, open_learned

        reader = Reader(open_learned(weights))
    claim, problem, is_damaged = None, "", False
    try:
        claim = read_claim(path)
    except InputError as error:
        problem, is_damaged = str(error), isinstance(error, DamagedClaimError)
    tagged = has_tag(path)
    # A video is marked wherever it was edited: all frames of a short one are looked at.
    frames = read_frames(path, 0, watermark.FRAMES)
    score = watermark.score(reader.watch(frames) if reader else frames)
    return Verdict(tagged, claim, problem, is_damaged, score, reader.reading() if reader else None)


def _found(is_found: bool) -> str:
    return "found" if is_found else "not found"


def _of_claim(claim: Claim) -> Iterator[str]:
    edited = ", a composite with trained algorithmic media" if claim.is_edited else ""
    yield f"Content Credentials: signed by {claim.signer}{edited}; made with {claim.generator}"
    yield f"  actions: {', '.join(claim.actions)}; made from: {', '.join(claim.sources) or 'nothing named'}"
    yield "  the file is as it was signed" if claim.is_intact else f"  the file was CHANGED since ({claim.problem})"
    if not claim.is_trusted:
        yield "  who the signer is, this machine cannot tell (its certificate is on no list that is kept here)"
