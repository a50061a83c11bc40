"""Progress bars of the command line: one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from .report import Progress

STAGES = {
    "reading": ("finding the mouth", "frame"), "editing": ("editing", "step"), "writing": ("writing", "frame"),
    "changing": ("changing the clip", "s"), "learning": ("learning", "s"),
}  # fmt: skip


class Bars:
    """Counts one thing after the other; on the error stream, so that what a command prints can be read on."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._key = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, key: str, done: float, total: float, words: str, unit: str = "it", first: float = 0) -> None:
        """`done` of `total`; another `key` opens another bar, which counts from `first`."""
        from tqdm import tqdm

        if self._bar is None or key != self._key:
            self.close()
            self._key = key
            self._bar = tqdm(total=total, initial=first, desc=words, unit=unit, dynamic_ncols=True)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None


class JobBars(Bars):
    """A job's `Listener`: one bar for each of some stages."""

    def __init__(self, stages: Mapping[str, tuple[str, str]] = STAGES) -> None:
        super().__init__()
        self._stages = stages

    def __call__(self, progress: Progress) -> None:
        if progress.stage in self._stages and progress.plan is None:
            words, unit = self._stages[progress.stage]
            self.show(progress.stage, progress.done, progress.total, words, unit, progress.done - 1)
