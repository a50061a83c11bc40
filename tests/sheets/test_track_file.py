"""`track` and `--show-mouth`: where the mouth is, as a file and as a picture, before any edit."""

import json

import cv2
import pytest

from omnisync_core import cli
from omnisync_core.mouth import tracking
from omnisync_core.mouth.detect import Face
from omnisync_core.sheets import refusal
from tests.fake import write_sound, write_video

FRAMES = 10


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "in.mkv", FRAMES)


@pytest.fixture
def seen(monkeypatch):
    """The finder sees these mouths, pixels of the 64 x 48 video."""
    faces = [Face(32.0, 30.0, 12.0, 0.1, 0.9, "finder")]
    monkeypatch.setattr(tracking, "open_detector", lambda folder: None)
    monkeypatch.setattr(tracking, "find_mouths", lambda rgb: faces)
    return faces


def test_track_writes_numbers_and_a_picture(video, seen, tmp_path, capsys):
    out, sheet = tmp_path / "track.json", tmp_path / "sheet.png"
    assert cli.main(["track", "--video", str(video), "--output", str(out), "--picture", str(sheet)]) == 0
    document = json.loads(out.read_text())
    assert document["frame_size"] == [64, 48]
    assert len(document["frames"]) == FRAMES
    assert document["warnings"] == []
    first = document["frames"][0]
    assert set(first) == {"time", "x", "y", "width", "roll", "confidence", "source", "shot"}
    assert abs(first["x"] - 32) < 1
    assert abs(first["y"] - 30) < 1
    assert abs(first["width"] - 12) < 1
    assert first["source"] == "finder"
    assert first["confidence"] > 0.5
    assert abs(first["roll"] - 0.1) < 0.02
    assert cv2.imread(str(sheet)).shape[1] == 1280
    assert f"{FRAMES} of {FRAMES} frames" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--picture", "sheet.png"]])
@pytest.mark.parametrize("command", ["track", "lipsync"])
def test_a_point_on_no_mouth_is_refused_with_a_picture(video, seen, tmp_path, capsys, monkeypatch, more, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tracking, "mouth_at", lambda *_: None)
    given = ["--video", str(video), "--mouth", "8,9", "--output", "out.mp4"]
    if command == "lipsync":
        given += ["--audio", str(write_sound(tmp_path / "in.wav", 0.4))]
        more = ["--show-mouth" if word == "--picture" else word for word in more]
    before = set(tmp_path.iterdir())
    assert cli.main([command, *given, *more]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    picture = more[-1] if more else "out.mp4.mouth.png"
    assert "error: no mouth is seen at 8,9, but at 32,30: point there" in message
    assert message.endswith(f"look at {picture}")
    assert {path.name for path in set(tmp_path.iterdir()) - before} - {"in.wav"} == {picture}
    image = cv2.imread(picture)[..., ::-1].astype(int)
    for color in (refusal.POINT, refusal.MOUTH):
        assert (abs(image - color).max(-1) < 40).sum() > 50


def test_track_of_nothing_says_so_and_writes_it(video, seen, tmp_path, capsys):
    seen.clear()
    assert cli.main(["track", "--video", str(video), "--output", str(tmp_path / "track.json")]) == 0
    document = json.loads((tmp_path / "track.json").read_text())
    assert not any(frame["confidence"] for frame in document["frames"])
    assert "warning: no mouth was found" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--show-mouth", "where.png"]])
def test_lipsync_of_nothing_asks_for_a_point_before_any_work(video, seen, tmp_path, capsys, monkeypatch, more):
    from omnisync_core.engines import omnisync
    from tests.fake import FakeEngine

    seen.clear()
    engine = FakeEngine()
    monkeypatch.setattr(omnisync, "load_engine", lambda *_, **__: engine)
    monkeypatch.chdir(tmp_path)
    sound = write_sound(tmp_path / "in.wav", 0.4)
    given = ["lipsync", "--video", str(video), "--audio", str(sound), "--output", str(tmp_path / "out.mkv"), *more]
    assert cli.main(given) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith("error: no mouth was found")
    assert "--mouth X,Y" in err
    assert "--mouth centre" in err
    assert not engine.calls
    assert not (tmp_path / "out.mkv").exists()
    assert (tmp_path / "where.png").exists() == bool(more)


def test_a_picture_of_another_kind_is_told(video, seen, tmp_path, capsys):
    given = ["track", "--video", str(video), "--output", str(tmp_path / "t.json"), "--picture", str(tmp_path / "s.txt")]
    assert cli.main(given) == 2
    assert "ends in .png or .jpg" in capsys.readouterr().err
