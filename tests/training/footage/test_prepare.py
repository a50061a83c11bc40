"""Footage in, a set out: faces where they belong, sound in sync, people apart, nothing made twice."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from omnisync_core.audio import SpeechWave
from omnisync_core.cli import main
from omnisync_core.engines.latentsync import align
from omnisync_core.errors import InputError, OutputError
from omnisync_core.media import probe_video, read_frames
from omnisync_core.mouth import MouthTrack
from omnisync_core.tables import read_table
from omnisync_core.training.footage import PrepareOptions, prepare
from omnisync_core.training.footage.prepare import summary
from omnisync_core.training.footage.sync import Sync
from omnisync_core.training.latentsync.faces import FaceClip
from omnisync_core.training.latentsync.syncnet import PIXEL_ATTENTION

SIZE, COUNT, FPS, TICK = (160, 120), 90, 30, Fraction(1, 600)
OPTIONS = PrepareOptions(resolution=64, test_share=0.5)


def mouth_at(number: int) -> tuple[int, int]:
    return 60 + number // 3, 70


def film(path: Path, sound: bool = True, times: Sequence[float] = (), lit: int = 0) -> Path:
    """3 s at 30 frames a second, or frames at `times`: a white mouth on grey, lighter by `lit` each, walks right.

    A click after one second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=FPS, options={"crf": "4", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        video.codec_context.time_base = TICK
        heard = output.add_stream("aac", rate=16000, layout="mono") if sound else None
        for number, time in enumerate(times or np.arange(COUNT) / FPS):
            picture = np.full((SIZE[1], SIZE[0], 3), 60 + lit * number, np.uint8)
            x, y = mouth_at(number)
            picture[y - 3 : y + 3, x - 3 : x + 3] = 255
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = round(time / TICK), TICK
            output.mux(video.encode(frame))
        output.mux(video.encode())
        if heard is not None:
            wave_S = np.zeros(3 * 16000, np.float32)
            wave_S[16000:16400] = 0.5
            for start in range(0, len(wave_S), 1000):
                block = av.AudioFrame.from_ndarray(wave_S[None, start : start + 1000], "fltp", "mono")
                block.sample_rate, block.pts = 16000, start
                output.mux(heard.encode(block))
            output.mux(heard.encode())
    return path


def seen(frames, **_) -> MouthTrack:
    """The true mouth; a cut after 66 frames, so that the last second and a bit is too short."""
    pts_N = np.array([time for time, _ in frames])
    numbers = np.arange(len(pts_N))
    centers = np.array([mouth_at(number) for number in numbers]) / SIZE
    return MouthTrack(
        pts_N, centers, np.full(len(pts_N), 20 / SIZE[0]), np.ones(len(pts_N)), np.full(len(pts_N), "finder"),
        (numbers >= 66).astype(int), SIZE,
    )  # fmt: skip


@pytest.fixture
def footage(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("omnisync_core.mouth.track", seen)
    for person in ("anna", "bob"):
        film(tmp_path / "footage" / person / "one.mp4")
    film(tmp_path / "footage" / "bob" / "mute.mp4", sound=False)
    (tmp_path / "footage" / "broken.mp4").write_bytes(b"no video at all")
    return tmp_path / "footage"


def test_a_set_is_made_once(footage, tmp_path, monkeypatch):
    out, done = tmp_path / "set", []
    rows = prepare(footage, out, OPTIONS, on_source=lambda *counts: done.append(counts))
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    clips = [row for row in rows if not row["problem"]]
    assert [(row["source"], row["person"], row["frames"]) for row in clips] == [
        ("anna/one.mp4", "anna", 55), ("bob/one.mp4", "bob", 55),
    ]  # fmt: skip
    problems = {row["source"]: row["problem"] for row in rows if row["problem"]}
    assert problems.keys() == {"bob/mute.mp4", "broken.mp4"}
    assert "no sound" in problems["bob/mute.mp4"]
    assert len({row["split"] for row in rows if row["person"] == "bob"}) == 1, "a person is in one half alone"
    assert all(row["path"].startswith(row["split"] + "/") and (out / row["path"]).is_file() for row in clips)
    assert [row["path"] for row in read_table(out / "clips.csv")] == [row["path"] or None for row in rows]
    assert "left out: 2" in summary(rows)
    assert (out / "contact.png").stat().st_size > 1000

    def never(*_, **__):
        raise AssertionError

    monkeypatch.setattr("omnisync_core.mouth.track", never)
    assert prepare(footage, out, OPTIONS) == rows
    (out / clips[0]["path"]).unlink()
    monkeypatch.setattr("omnisync_core.mouth.track", seen)
    assert prepare(footage, out, OPTIONS) == rows and (out / clips[0]["path"]).is_file(), "what is gone is made again"


def test_faces_and_sound_are_where_they_belong(footage, tmp_path):
    rows = prepare(footage / "anna", tmp_path / "set", OPTIONS)
    path = tmp_path / "set" / rows[0]["path"]
    info = probe_video(path)
    assert (info.width, info.height, info.frame_count) == (64, 64, 55)
    assert info.average_fps == pytest.approx(25)
    across, along = align.face_size(64)
    expected = align.MOUTH * (align.RATIO * 64 / 256) * [64 / across, 64 / along]
    for frame in read_frames(path):
        light = np.clip(frame.rgb().mean(2) - 0.7, 0, None)
        y, x = (np.average(axis, weights=light) for axis in np.mgrid[:64, :64])
        assert np.abs([x, y] - expected).max() < 1.5, frame.index
    wave_S = SpeechWave(path).read(0, 2.2)
    loud = np.flatnonzero(np.abs(wave_S) > 0.2) / 16000
    assert loud.min() == pytest.approx(1.0, abs=0.01)
    assert loud.max() < 1.06
    assert FaceClip(path, 64, PIXEL_ATTENTION).length == 40, "LatentSync's trainings take it: 55 frames, windows of 16"


def test_a_variable_rate(tmp_path, monkeypatch):
    """Each of 25 frames a second is what was on the screen then, by how light it is."""
    monkeypatch.setattr("omnisync_core.mouth.track", seen)
    times = [*np.arange(45) / 30, *(1.5 + np.arange(15) / 10)]
    source = film(tmp_path / "footage" / "one.mp4", times=times, lit=2)
    (row,) = prepare(source.parent, tmp_path / "set", OPTIONS)
    info = probe_video(tmp_path / "set" / row["path"])
    assert row["frames"] == info.frame_count == 73
    assert info.average_fps == pytest.approx(25)
    for frame in read_frames(tmp_path / "set" / row["path"]):
        number = np.searchsorted(np.array(times), frame.index / 25 + 1e-6, side="right") - 1
        assert abs(255 * frame.rgb()[:6, :6].mean() - (60 + 2 * number)) < 2, frame.index


def test_one_person_alone_is_learned_from(footage, tmp_path):
    rows = prepare(footage / "anna", tmp_path / "set", replace(OPTIONS, test_share=0.99))
    assert [row["split"] for row in rows] == ["train"]
    assert summary(rows).endswith("left out: 0; one person alone: nobody to be tested on")


def test_footage_without_faces(footage, tmp_path, monkeypatch):
    def unseen(frames, **given):
        track = seen(frames, **given)
        return replace(track, confidence_N=np.zeros_like(track.confidence_N))

    monkeypatch.setattr("omnisync_core.mouth.track", unseen)
    with pytest.raises(InputError, match=r"nothing in the 1 videos .* no mouth is seen for 2 s in one shot$") as error:
        prepare(footage / "anna", tmp_path / "set", OPTIONS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("crops", [0, 32])
def test_sound_that_is_off(footage, tmp_path, monkeypatch, crops):
    """SyncNet looks at the aligned face, beside crops too; what is off is left out, and nothing of it is left."""
    module, looked, found = import_module("omnisync_core.training.footage.prepare"), [], Sync(1, 0.4)
    monkeypatch.setattr(module, "_syncnet", lambda path: SimpleNamespace(config=PIXEL_ATTENTION))

    def measured(clip, _):
        looked.append(probe_video(clip.path).width)
        return found

    monkeypatch.setattr(module, "measure_sync", measured)
    options = replace(OPTIONS, syncnet="stable_syncnet.pt", crops=crops)
    (row,) = prepare(footage / "anna", tmp_path / "in", options)
    assert (row["offset"], row["sync"], row["problem"], looked) == (1, 0.4, "", [64])
    assert probe_video(tmp_path / "in" / row["path"]).width == (crops or 64)
    found = Sync(-5, 0.4)
    with pytest.raises(InputError, match=r"its sound is -5 frames off \(agreement 0\.400\)"):
        prepare(footage / "anna", tmp_path / "off", options)
    assert not list((tmp_path / "off" / "train").iterdir())


def test_sets_inside_the_footage_are_no_footage(footage, tmp_path, monkeypatch):
    """By whatever path they are named; and a set alone holds nothing to work on."""
    inside = footage / "set"
    rows = prepare(footage, inside, OPTIONS)
    monkeypatch.chdir(tmp_path)
    assert prepare("footage", inside, OPTIONS) == rows
    assert len(prepare(footage, tmp_path / "other", OPTIONS)) == len(rows)
    with pytest.raises(InputError, match=r"no videos in .* but the 2 clips that `prepare` made"):
        prepare(inside, tmp_path / "again", OPTIONS)


def test_a_broken_disk_is_not_remembered(footage, tmp_path, monkeypatch):
    """What failed for another reason than the footage is tried again; a link that leads nowhere is a row."""
    module = import_module("omnisync_core.training.footage.prepare")
    write = module.write_faces

    def full(*_):
        raise OSError(28, "No space left on device")

    (footage / "bob" / "link.mp4").symlink_to(tmp_path / "nowhere.mp4")
    monkeypatch.setattr(module, "write_faces", full)
    with pytest.raises(InputError, match="No space left on device"):
        prepare(footage, tmp_path / "set", OPTIONS)
    monkeypatch.setattr(module, "write_faces", write)
    rows = prepare(footage, tmp_path / "set", OPTIONS)
    assert [row["source"] for row in rows if not row["problem"]] == ["anna/one.mp4", "bob/one.mp4"]
    assert "No such file" in next(row["problem"] for row in rows if row["source"] == "bob/link.mp4")
    for kept in (tmp_path / "set" / ".rows").iterdir():
        kept.write_text('[{"prob', encoding="utf-8")
    assert prepare(footage, tmp_path / "set", OPTIONS) == rows, "damaged notes are made again"


def test_what_does_not_serve_is_one_line(tmp_path, footage):
    for give, reason in (
        (lambda: prepare(tmp_path / "nowhere", tmp_path / "a"), "no videos in"),
        (
            lambda: prepare(film(tmp_path / "mute" / "a.mp4", sound=False).parent, tmp_path / "b"),
            "nothing in the 1 videos",
        ),
        (lambda: prepare(footage, footage / "broken.mp4" / "set"), "cannot make the folder"),
        (lambda: prepare(footage, tmp_path / "c", PrepareOptions(syncnet="gone.pt")), "gone.pt"),
        (lambda: PrepareOptions(resolution=100), "multiple of 8"),
        (lambda: PrepareOptions(test_share=1), "below 1"),
        (lambda: PrepareOptions(least_seconds=30), "got 30 to 20 s"),
    ):
        with pytest.raises((InputError, OutputError), match=reason) as error:
            give()
        assert "\n" not in str(error.value)
    assert not (tmp_path / "c").exists()


def test_the_command_says_what_came_of_it(footage, tmp_path, capsys):
    assert main(["prepare", str(footage), "--out", str(tmp_path / "set"), "--resolution", "64"]) == 0
    assert "left out: 2" in capsys.readouterr().out
    assert main(["prepare", str(tmp_path / "nowhere"), "--out", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: no videos in")


def test_a_file_that_encodes_is_asked_for_before_faces_are_looked_for(footage, tmp_path, capsys):
    there = tmp_path / "there.pt"
    there.write_bytes(b"")
    for more in (["--vae", "gone.pt", "--whisper", str(there)], ["--vae", str(there), "--whisper", "gone.pt"],
                 ["--vae", str(there), "--whisper", str(there), "--captions", "gone.pt"]):  # fmt: skip
        assert main(["prepare", str(footage), "--out", str(tmp_path / "set"), "--encode", "own", *more]) == 2
        assert "no such file: gone.pt; say where it is" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
