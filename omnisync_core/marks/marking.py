"""Putting the marks on a result while it is written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..media.frame import Frame
from . import label, watermark
from .credentials import Signer, check_container
from .options import CERTIFICATE, KEY, Marks
from .tag import NOTE

LAW = (
    "The EU's AI Act (Article 50) asks that such a video is marked so that machines can tell, and that whoever "
    "publishes a deep fake says so to the people who see it"
)


class Marking:
    """The marks of one job. InputError: they cannot be put on this result; asked before the work."""

    def __init__(self, marks: Marks, output: Path, *, lossless: bool) -> None:
        self._marks, self._output = marks, output
        self._signer, self._hider = None, None
        if "watermark" in marks.kinds and lossless:
            raise InputError("a watermark changes pixels, a lossless result has the source's: leave one of them out")
        if marks.label and lossless:
            raise InputError("a label covers pixels, a lossless result has the source's: leave one of them out")
        if "c2pa" in marks.kinds:
            check_container(output)
            if credentials := marks.credentials:
                self._signer = Signer(*credentials)
        if weights := marks.watermark:
            from .learned import Hider, open_learned

            self._hider = Hider(open_learned(weights))

    @cached_property
    def note(self) -> str:
        """For the file's metadata."""
        return NOTE if "tag" in self._marks.kinds else ""

    def apply(self, frame: Frame, is_edited: bool) -> Frame:
        """A frame of the result with the marks that are seen; the watermark lies on edited frames alone."""
        if is_edited and "watermark" in self._marks.kinds:
            frame = self._hider.embed(frame) if self._hider else watermark.embed(frame)
        return label.draw_label(frame, self._marks) if self._marks.label else frame

    def sign(self, path: Path, source: Path, made_by: Mapping[str, Any]) -> None:
        """Sign the finished file, where that is asked and possible."""
        if self._signer is not None:
            self._signer.sign(path, self._output, source, made_by)

    def statement(self) -> tuple[str, ...]:
        """What was done, and what the law asks for, a line each."""
        done = ["a note in its metadata, which services may strip"] if self.note else []
        if self._signer is not None:
            done.append("signed Content Credentials; sign last, a re-mux drops them")
        if "watermark" in self._marks.kinds:
            done.append(f"{self._watermark()} over the whole picture of edited frames")
        if self._marks.label:
            done.append(f"the label {self._marks.label!r}")
        lines = [f"marked as edited by {'; '.join(done)}" if done else "not marked as edited"]
        if "c2pa" in self._marks.kinds and self._signer is None:
            lines.append(f"not signed: no certificate is named (--certificate and --key, or {CERTIFICATE} and {KEY})")
        lost = self._hider.read_back() if self._hider else None
        if lost and not lost.is_found:
            lines.append(f"the watermark cannot be read back even before encoding ({lost}): leave its weights out")
        return (*lines, LAW)

    def _watermark(self) -> str:
        return f"a watermark of {self._hider.learned}" if self._hider else "a watermark (a pattern)"
