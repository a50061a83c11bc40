"""`adapt` on the command line: the report at the end, and what an interrupted user reads."""

import pytest

from omnisync_core import adaptation
from omnisync_core.adaptation import Adapted
from omnisync_core.cli import main
from omnisync_core.job.report import Progress

COMMAND = ["adapt", "--video", "in.mp4", "--output"]


@pytest.fixture
def learning(monkeypatch, tmp_path):
    """What stands for the learning: a function of its keywords."""

    def stand(function):
        monkeypatch.setattr(adaptation, "adapt", lambda video, output, **given: function(output, **given))
        return [*COMMAND, str(tmp_path / "p.safetensors")]

    return stand


def test_figures_and_warnings_are_told(learning, capsys):
    def learn(output, *, options, **_):
        assert options.minutes == 1.5
        return Adapted(str(output), 12, 300, -0.5, 0.25, 90.0, ("the clip and its sound go together poorly",))

    assert main([*learning(learn), "--minutes", "1.5"]) == 0
    printed = capsys.readouterr()
    assert "300 steps on 12 windows in 1 min 30 s; of the way back" in printed.out
    assert "-0.50 was found before, 0.25 now" in printed.out
    assert "warning: the clip and its sound go together poorly" in printed.err


def test_a_stop_says_what_is_kept_and_how_it_goes_on(learning, capsys, tmp_path):
    def learn(output, *, progress, **_):
        (tmp_path / "p.safetensors.omnisync").mkdir()
        for stage, done, total in (("reading", 1, 9), ("changing", 3, 31), ("learning", 40, 90)):
            progress(Progress(stage, done, total))
        raise KeyboardInterrupt

    assert main(learning(learn)) == 130
    printed = capsys.readouterr().err
    assert "finding the mouth" in printed
    assert "changing the clip" in printed
    assert "40/90" in printed
    assert f"what was learned is kept in {tmp_path / 'p.safetensors.omnisync'}. Go on with: python -m" in printed
    assert printed.rstrip().endswith("--resume")
