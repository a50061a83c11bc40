"""What a file says of itself, and whether it is as it was signed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..media.reader import read_frames
from . import watermark
from .credentials import Claim, read_claim
from .tag import has_tag


@dataclass(frozen=True)
class Verdict:
    """The marks of a file."""

    has_tag: bool
    claim: Claim | None
    claim_problem: str
    """Why its credentials could not be looked at; empty where they were."""
    watermark: float
    """Its score; above `watermark.THRESHOLD` it is there."""

    @property
    def has_watermark(self) -> bool:
        return self.watermark > watermark.THRESHOLD

    @property
    def is_changed(self) -> bool:
        """Whether the file was changed after it was signed."""
        return self.claim is not None and not self.claim.is_intact

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"metadata: {'says that it was edited with trained algorithmic media' if self.has_tag else 'no note'}"
        if self.claim is None:
            yield f"Content Credentials: {self.claim_problem or 'none (a re-mux or an upload drops them)'}"
        else:
            yield from _of_claim(self.claim)
        found = "found" if self.has_watermark else "not found"
        yield f"watermark: {found} ({self.watermark:.1f}; it counts above {watermark.THRESHOLD:g})"


def verify(path: str | Path) -> Verdict:
    """Look at all marks of a file. InputError: no video that can be read."""
    claim, problem = None, ""
    try:
        claim = read_claim(path)
    except InputError as error:
        problem = str(error)
    tagged = has_tag(path)
    # A video is marked wherever it was edited: all frames of a short one are looked at.
    return Verdict(tagged, claim, problem, watermark.score(read_frames(path, 0, watermark.FRAMES)))


def _of_claim(claim: Claim) -> Iterator[str]:
    edited = ", a composite with trained algorithmic media" if claim.is_edited else ""
    yield f"Content Credentials: signed by {claim.signer}{edited}; made with {claim.generator}"
    yield f"  actions: {', '.join(claim.actions)}; made from: {', '.join(claim.sources) or 'nothing named'}"
    yield "  the file is as it was signed" if claim.is_intact else f"  the file was CHANGED since ({claim.problem})"
    if not claim.is_trusted:
        yield "  who the signer is, this machine cannot tell (its certificate is on no list that is kept here)"
