"""There and back where the answer is known: an engine that undoes itself, one that does nothing, one that goes on."""

import json

import numpy as np
import pytest

from omnisync_core.engines.protocol import Edit
from omnisync_core.evaluation.cycle import Way, cycle, figures
from tests.fake import FakeEngine, write_sound, write_video


class Adds(FakeEngine):
    """Lightens every window by a level of its own."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level
        self.fingerprint = {"engine": "adds", "level": level}

    def edit_window(self, excerpt, anchor, on_step):
        on_step(1, 1)
        return Edit(np.clip(excerpt.frames_THWC + self.level, 0, 1), excerpt.frames_THWC)


@pytest.mark.parametrize(("level", "low", "high"), [(-0.2, 0.9, 1.0), (0.0, -0.01, 0.01), (0.2, -4.0, -2.0)])
def test_the_share_is_what_of_the_change_is_undone(tmp_path, level, low, high):
    write_video(tmp_path / "in.mkv", 24)
    write_sound(tmp_path / "own.wav")
    write_sound(tmp_path / "other.wav", bursts=((0, 0.4),))
    result = cycle(
        tmp_path / "in.mkv", tmp_path / "own.wav", [tmp_path / "other.wav"], Adds(level), (32, 24, 12),
        tmp_path / "out", changer=Adds(0.2),
    )  # fmt: skip
    assert low <= result["share"] <= high
    assert low <= result["share_unseen"] <= high
    assert json.loads((tmp_path / "out" / "cycle.json").read_text()) == result
    assert (tmp_path / "out" / "cycle.png").stat().st_size > 1000


def test_figures_of_a_perfect_way_back():
    rng = np.random.default_rng(0)
    original = rng.integers(0, 256, (3, 16, 16, 3), np.uint8)
    way = Way(original, np.roll(original, 1, 2), original)
    result = figures([way], np.array([True, False, True]))
    assert result["share"] == 1
    assert result["ssim"] == 1
    assert result["gmsd"] == 0
    assert result["edges"] == 1
    assert result["changed"] > 50
