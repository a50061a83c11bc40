"""The demonstration with an engine that changes nothing: files, figures, and what it must not need."""

import json

import cv2

from omnisync_core import demo, media
from tests.fake import SourceEngine


def test_demo_writes_video_picture_and_report(tmp_path):
    out = tmp_path / "new" / "demo"
    report = demo.run(out, SourceEngine())
    assert report == json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["recovered_share"] == 0
    assert report["far_outside_max"] == 0
    assert report["leak"] > 0.5
    assert abs(report["sync_r"]) < 0.6
    assert report["seconds_per_video_second"] > 0
    assert 50 < report["peak_rss_mb"] < 50_000
    made = media.probe_video(out / "demo.mp4")
    assert made.frame_count == media.probe_video(demo.VIDEO).frame_count
    assert made.has_audio
    assert made.pix_fmt == "yuv420p"
    assert cv2.imread(str(out / "demo.png")).shape[1] == 1600
    assert sorted(path.name for path in out.iterdir()) == ["demo.mp4", "demo.png", "report.json"]


def test_assets_are_whole_and_small():
    about = json.loads((demo.ASSETS / "mouth.json").read_text(encoding="utf-8"))
    assert about["split"] == "test"
    assert len(about["mouth_box_xyxy"]) == media.probe_video(demo.VIDEO).frame_count
    assert sum(path.stat().st_size for path in demo.ASSETS.iterdir()) < 2_000_000
