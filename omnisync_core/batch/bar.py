"""One progress bar for all clips."""

from __future__ import annotations

import sys
import time
from collections import Counter
from types import TracebackType

from .outcome import Outcome


class Bar:
    """Clips done, seconds of video per second, what went wrong, time left."""

    def __init__(self, rows: int, done: int) -> None:
        from tqdm import tqdm

        self.began, self._seconds, self._states = time.monotonic(), 0.0, Counter[str]()
        self._bar = tqdm(total=rows, initial=done, desc="clips", unit="clip", dynamic_ncols=True, file=sys.stderr)

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def tell(self, outcome: Outcome) -> None:
        self._states[outcome.state] += 1
        self._seconds += outcome.video_seconds
        wrong = {state: self._states[state] for state in ("refused", "failed") if self._states[state]}
        rate = f"{self._seconds / (time.monotonic() - self.began):.2f}x"
        self._bar.set_postfix({"speed": rate, **wrong}, refresh=False)
        self._bar.update()
        if not outcome.is_whole:
            self._bar.write(f"{outcome.id} {outcome.state}: {outcome.reason}", file=sys.stderr)
