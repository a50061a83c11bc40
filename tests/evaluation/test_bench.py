"""The bench with engines whose figures are known: one that pastes the truth, one that changes nothing."""

import json

import numpy as np
import pytest

from omnisync_core.engines.omnisync import Sampling
from omnisync_core.evaluation import bench
from omnisync_core.evaluation.area import outside, placement_of
from omnisync_core.evaluation.synth import evaluate
from omnisync_core.spec import VideoSpec
from omnisync_core.synth.clips import read_clip, read_video, write_clips
from tests.fake import SourceEngine

SPEC = VideoSpec()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("bench"), clips=2, seed=11, size=160, seconds=1.0)


def test_the_truth_is_nearly_all_recovered(clips):
    measured = bench.run(clips, lambda folder, sampling: bench.truth_engine(folder, SPEC), "truth_engine", Sampling())
    for one in measured:
        assert one.figures.share > 0.85
        assert one.figures.outside == 0


def test_the_source_is_the_zero_of_the_scale(clips):
    engine = SourceEngine()
    measured = bench.run(clips, lambda folder, sampling: engine, "same", Sampling(), keep=True)
    assert engine.calls > 0
    for one in measured:
        assert one.figures.share == 0
        assert one.figures.outside == 0
        assert np.array_equal(read_video(one.folder / "same.mkv"), read_video(one.folder / "source.mkv"))
    calls = engine.calls
    again = bench.run(clips, lambda folder, sampling: engine, "same", Sampling(), keep=True)
    assert engine.calls == calls
    assert [one.figures for one in again] == [one.figures for one in measured]


def test_outside_sees_one_changed_pixel(clips):
    clip, source = read_clip(clips[0]), read_video(clips[0] / "source.mkv")
    placement = placement_of(clips[0] / "source.mkv", clips[0] / "target.wav", clip.point, SPEC)
    spoiled = source.copy()
    spoiled[3, 1, 2, 0] = np.where(spoiled[3, 1, 2, 0] > 9, spoiled[3, 1, 2, 0] - 4, spoiled[3, 1, 2, 0] + 4)
    assert outside(source, source, placement) == 0
    assert outside(spoiled, source, placement) == 4


def test_evaluate_writes_table_report_and_sheet(tmp_path, capsys):
    def engines(folder, sampling):
        return bench.truth_engine(folder, SPEC)

    evaluate(tmp_path, clips=2, seed=4, engines=engines, size=128, seconds=0.6, prompts=False)
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert {"result", "truth itself", "source unchanged"} <= set(report["rows"])
    assert report["rows"]["result"]["pooled"]["share"]["value"] > 0.8
    assert report["rows"]["truth itself"]["pooled"]["share"]["value"] == 1
    assert report["rows"]["source unchanged"]["pooled"]["share"]["value"] == 0
    assert len(report["rows"]["result"]["clips"]) == 2
    assert "| recovered" in capsys.readouterr().out
    assert (tmp_path / "sheet.png").stat().st_size > 20_000
    assert (tmp_path / "clip_0001" / "result.mkv").exists()
