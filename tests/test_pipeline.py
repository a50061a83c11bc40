"""The whole way with a tiny engine: what is edited, what stays, what is reported, what is refused."""

import errno
import os
import shutil
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import wavfile

from omnisync_core import mouth
from omnisync_core.errors import InputError, OutputError
from omnisync_core.job import store
from omnisync_core.job.options import SyncOptions
from omnisync_core.pipeline import sync_video
from tests.fake import SPEC, FakeEngine, pictures, planes, times, write_sound, write_video

FRAMES = 30
LOUD = 0.6 + 0.4 * np.sin(2 * np.pi * 2 * np.arange(FRAMES) / 25)


@pytest.fixture
def sync(tmp_path):
    """Run a job on generated files; options are those of SyncOptions."""

    def run(video=None, sound=None, engine=None, output="out.mkv", progress=None, **options):
        video = video or write_video(tmp_path / "in.mkv", FRAMES)
        sound = sound or write_sound(tmp_path / "in.wav")
        options = SyncOptions(**{"mouth": "centre", "lossless": output.endswith("mkv"), **options})
        return sync_video(video, sound, tmp_path / output, engine or FakeEngine(), options, progress)

    return run


def mouths(path, size=(64, 48)):
    """Mean red over the middle of the mouth per frame."""
    x, y = int(size[0] * 0.5), int(size[1] * 0.62)
    return np.array([picture[y - 1 : y + 2, x - 1 : x + 2, 0].mean() for picture in pictures(path)])


def test_the_sound_drives_the_mouth_and_all_else_stays(sync, tmp_path):
    report = sync()
    before, after = pictures(tmp_path / "in.mkv"), pictures(tmp_path / "out.mkv")
    assert len(after) == report.frames == report.edited == FRAMES
    assert times(tmp_path / "out.mkv") == times(tmp_path / "in.mkv")
    change = np.abs(np.stack(after).astype(int) - np.stack(before)).max(axis=(0, 3))
    assert change[:8].max() == 0
    assert change[:, :10].max() == 0
    assert change[29, 32] > 20
    assert np.corrcoef(mouths(tmp_path / "out.mkv"), LOUD)[0, 1] > 0.9
    assert not report.passed
    assert report.mouth_sources == {"fallback": FRAMES}
    assert report.windows == 7
    assert report.warnings == () or all("mouth" in line for line in report.warnings)
    assert not (tmp_path / "out.mkv.omnisync").exists()


def test_windows_continue_what_was_finished(sync):
    engine = FakeEngine()
    sync(engine=engine)
    anchors = [call["anchor"] for call in engine.calls]
    assert anchors[0] is None
    assert [len(anchor) for anchor in anchors[1:]] == [5, 5, 5, 5, 5, 5]
    assert len({call["seed"] for call in engine.calls}) == len(engine.calls) == 7
    assert all(call["frames"] == SPEC.window_frames for call in engine.calls)


def test_windows_are_edited_in_groups(sync, tmp_path):
    """A group may go over a cut; a window that shares part of a latent frame (here 7 frames) begins a new one."""
    engine, events = FakeEngine(group=3), []
    sync(video=write_video(tmp_path / "cut.mkv", 40, cuts=(19,)), engine=engine, progress=events.append)
    estimate, *groups = engine.groups
    assert estimate == [0]
    assert groups == [[0, 5, 5], [7, 0, 5], [5, 5]]
    counts = [event.done for event in events if event.stage == "editing"]
    assert counts == list(range(1, 8 * engine.steps + 1))
    assert events[-1].stage == "writing"


def test_the_seed_decides(sync, tmp_path):
    for name, seed in (("a.mkv", 1), ("b.mkv", 1), ("c.mkv", 2)):
        sync(output=name, seed=seed)
    assert planes(tmp_path / "a.mkv") == planes(tmp_path / "b.mkv") != planes(tmp_path / "c.mkv")


def test_a_cut_starts_afresh(sync, tmp_path):
    engine = FakeEngine()
    report = sync(write_video(tmp_path / "cut.mkv", FRAMES, cuts=(12,)), engine=engine)
    assert report.shots == 2
    # 12 frames: 9, then 9 that share 6 (an anchor of 5); 18 frames: 9, 9, 9, 9.
    lengths = [None if call["anchor"] is None else len(call["anchor"]) for call in engine.calls]
    assert lengths == [None, 5, None, 5, 5, 5]


def test_fast_video_is_edited_at_every_second_frame(sync, tmp_path):
    engine = FakeEngine()
    report = sync(write_video(tmp_path / "fast.mkv", 41, fps=50), engine=engine)
    assert report.edited == report.frames == 41
    assert len(engine.calls) == 4
    curve = mouths(tmp_path / "out.mkv")
    between, around = curve[1::2], (curve[:-1:2] + curve[2::2]) / 2
    assert np.abs(between - around).max() < 3 < np.ptp(curve)


def test_variable_frame_rate_keeps_its_times_and_hears_by_time(sync, tmp_path):
    uneven = np.cumsum(np.random.default_rng(1).choice([0.033, 0.04, 0.1], 20)).round(3)
    uneven -= uneven[0]
    engine = FakeEngine()
    sync(write_video(tmp_path / "vfr.mkv", 20, times=uneven), write_sound(tmp_path / "long.wav", 3), engine=engine)
    assert times(tmp_path / "out.mkv") == times(tmp_path / "vfr.mkv")
    loud = 0.6 + 0.4 * np.sin(2 * np.pi * 2 * uneven[:9])
    assert np.corrcoef(engine.calls[0]["speech"], loud)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("policy", "frames"),
    [("source", 10), ("silence", 10), ("cut_off", 10), ("bounce", 30), ("loop", 30), ("freeze", 30), ("remap", 30)],
)
def test_a_longer_sound(sync, tmp_path, policy, frames):
    video = write_video(tmp_path / "short.mkv", 10)
    report = sync(video, length=policy)
    before, after = np.stack(pictures(video)), np.stack(pictures(tmp_path / "out.mkv"))
    assert len(after) == report.frames == frames
    np.testing.assert_allclose(times(tmp_path / "out.mkv"), np.arange(frames) / 25, atol=1e-3)
    order = {
        "bounce": [*range(10), *range(8, -1, -1), *range(1, 10), 8, 7],
        "loop": [*range(10)] * 3,
        "freeze": [*range(10), *[9] * 20],
        "remap": np.arange(30) // 3,
    }.get(policy, range(10))
    np.testing.assert_array_equal(after[:, :8], before[np.array(order)][:, :8])
    assert np.corrcoef(mouths(tmp_path / "out.mkv"), LOUD[:frames])[0, 1] > 0.9


@pytest.mark.parametrize(("policy", "frames"), [("source", 30), ("loop", 30), ("cut_off", 10), ("remap", 10)])
def test_a_shorter_sound(sync, tmp_path, policy, frames):
    report = sync(sound=write_sound(tmp_path / "short.wav", 0.4), length=policy)
    assert report.frames == len(pictures(tmp_path / "out.mkv")) == frames
    assert any("followed by silence" in line for line in report.warnings) == (frames == 30)


def test_silence_keeps_the_sources_own_pixels(sync, tmp_path):
    sound = write_sound(tmp_path / "pause.wav", 2, bursts=((0, 0.5), (1.4, 2)))
    video = write_video(tmp_path / "two.mkv", 50)
    engine = FakeEngine()
    report = sync(video, sound, engine, silence="keep")
    before, after = planes(video), planes(tmp_path / "out.mkv")
    same = [a == b for a, b in zip(before, after, strict=True)]
    assert all(same[20:33])
    assert not any(same[:11])
    assert not any(same[38:])
    (passed,) = report.passed
    assert passed.reason == "silence"
    assert 0.5 < passed.start < 0.85
    assert 1.3 < passed.stop < 1.45
    assert report.edited == 50 - passed.frames
    # Windows without speech are not edited, and what follows is not anchored in them.
    assert len(engine.calls) < 12
    assert [call["anchor"] is None for call in engine.calls].count(True) == 2


def test_silence_close_feeds_digital_silence(sync, tmp_path):
    rate, wave = wavfile.read(write_sound(tmp_path / "pause.wav", 1.2, bursts=((0, 0.4),)))
    hum = wave + np.random.default_rng(5).integers(-60, 60, len(wave)).astype(np.int16)
    wavfile.write(tmp_path / "hum.wav", rate, hum)
    engine = FakeEngine()
    report = sync(sound=tmp_path / "hum.wav", engine=engine, silence="close")
    assert report.edited == FRAMES
    assert not report.passed
    assert engine.calls[0]["speech"][2] > 0.05
    assert not engine.calls[-1]["speech"].any()


def test_the_mouth_rests_after_the_sound(sync, tmp_path):
    sound = write_sound(tmp_path / "short.wav", 0.4)
    kept = sync(sound=sound, silence="keep", length="source", output="kept.mkv")
    rests = sync(sound=sound, silence="keep", length="silence", output="rests.mkv")
    assert kept.passed[-1].stop == pytest.approx(1.2)
    assert rests.edited > kept.edited
    assert mouths(tmp_path / "rests.mkv")[-1] == pytest.approx(0.2 * 255, abs=12)


def test_a_lost_mouth_fades_to_the_source(sync, tmp_path, monkeypatch):
    def lost(*arguments, **options):
        track = found(*arguments, **options)
        confidence_N = track.confidence_N.copy()
        confidence_N[10:20] = 0
        return replace(track, confidence_N=confidence_N)

    found = mouth.track
    monkeypatch.setattr(mouth, "track", lost)
    report = sync()
    same = [a == b for a, b in zip(planes(tmp_path / "in.mkv"), planes(tmp_path / "out.mkv"), strict=True)]
    assert all(same[10:20])
    assert not any(same[:8])
    assert not any(same[22:])
    assert [(p.reason, p.frames, round(p.start, 2)) for p in report.passed] == [("no mouth", 10, 0.4)]


def test_no_mouth_at_all_passes_everything(sync, tmp_path, monkeypatch):
    found = mouth.track
    monkeypatch.setattr(mouth, "track", lambda *a, **k: replace(t := found(*a, **k), confidence_N=0 * t.confidence_N))
    engine = FakeEngine()
    report = sync(engine=engine)
    assert planes(tmp_path / "in.mkv") == planes(tmp_path / "out.mkv")
    assert not engine.calls
    assert report.edited == 0
    assert "no mouth was found" in report.warnings[-1]


def test_a_silent_sound_is_said(sync, tmp_path):
    silent = write_sound(tmp_path / "silent.wav", bursts=())
    report = sync(sound=silent, silence="keep")
    assert planes(tmp_path / "in.mkv") == planes(tmp_path / "out.mkv")
    assert "nobody speaks" in report.warnings[-1]
    assert report.passed[0].reason == "silence"
    report = sync(sound=silent, silence="close")
    assert report.edited == FRAMES
    assert "nobody speaks" in report.warnings[-1]


def test_preview_does_the_first_seconds(sync, tmp_path):
    report = sync(preview_seconds=0.3)
    assert report.frames == len(pictures(tmp_path / "out.mkv")) == 8
    assert not report.warnings[:-1]
    whole, all_of_it = report.whole, sync()
    assert (whole.frames, whole.windows_done) == (all_of_it.frames, 0)
    assert all_of_it.whole is None
    assert (whole.edited_frames, whole.windows) == (all_of_it.edited, all_of_it.windows)
    assert whole.seconds == pytest.approx(report.seconds * whole.windows / report.windows)
    assert whole.disk_bytes > 0


def test_progress_tells_the_plan_before_the_first_edit(sync):
    engine, events = FakeEngine(), []
    sync(engine=engine, progress=lambda p: events.append((p, len(engine.calls))))
    stages = [progress.stage for progress, _ in events]
    assert stages == sorted(stages, key=["reading", "planned", "editing", "writing"].index)
    ((plan, calls),) = [(progress.plan, calls) for progress, calls in events if progress.plan]
    assert calls == 0
    assert plan.frames == FRAMES
    assert plan.windows == 7
    assert plan.seconds > 0
    assert plan.disk_bytes > 0
    assert "30 frames (1.2 s of video), 30 of them edited in 7 windows" in str(plan)
    for stage, total in (("reading", 30), ("editing", 21), ("writing", 30)):
        done = [progress.done for progress, _ in events if progress.stage == stage]
        assert done == list(range(1, total + 1))


def test_the_report_is_json(sync):
    import json

    report = json.loads(json.dumps(sync(sound=None, silence="keep").as_json()))
    assert report["frames"] == FRAMES
    assert isinstance(report["passed"], list)


# -- small, odd and broken input


@pytest.mark.parametrize(
    ("frames", "size"), [(1, (64, 48)), (2, (64, 48)), (5, (8, 8)), (1, (8, 8)), (3, (31, 17)), (12, (2, 2))]
)
def test_tiny_videos(sync, tmp_path, frames, size):
    engine = FakeEngine()
    report = sync(write_video(tmp_path / "tiny.mkv", frames, size=size, pix_fmt="yuv444p"), engine=engine)
    assert report.frames == frames == len(pictures(tmp_path / "out.mkv"))
    assert engine.calls[0]["frames"] == 9


@pytest.mark.parametrize("mouth_at", [(0, 0), (63, 47), (63, 0, 40), (30, 20, 60)])
def test_a_mouth_at_the_edge(sync, mouth_at):
    assert sync(mouth=mouth_at).frames == FRAMES


@pytest.mark.parametrize("mouth_at", [(64, 10), (-1, 5), (3, 999)])
def test_a_mouth_off_the_picture_is_refused(sync, tmp_path, mouth_at):
    with pytest.raises(InputError, match="outside"):
        sync(mouth=mouth_at)
    assert not list(tmp_path.glob("out*"))


def test_a_truncated_video_is_used_as_far_as_it_goes(sync, tmp_path):
    data = write_video(tmp_path / "whole.mkv", 60).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    report = sync(tmp_path / "cut.mkv")
    assert 20 < report.frames < 40
    assert any("cut off" in line for line in report.warnings)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (48000, 6), (44100, 2), (96000, 1)])
def test_any_rate_and_channels(sync, tmp_path, rate, channels):
    sync(sound=write_sound(tmp_path / "any.wav", rate=rate, channels=channels))
    assert np.corrcoef(mouths(tmp_path / "out.mkv"), LOUD)[0, 1] > 0.8


def broken(folder):
    """Files by what is wrong with them."""
    write_video(folder / "in.mkv", 5), write_sound(folder / "in.wav")
    (folder / "text.mp4").write_text("no video")
    (folder / "empty.mp4").touch()
    wavfile.write(folder / "nan.wav", 16000, np.full(16000, np.nan, np.float32))
    wavfile.write(folder / "none.wav", 16000, np.zeros(0, np.int16))
    return {"video": folder / "in.mkv", "sound": folder / "in.wav", "output": "out.mkv"}


@pytest.mark.parametrize(
    ("what", "name", "says"),
    [
        ("video", "missing.mp4", "no such file"),
        ("video", "text.mp4", "media file"),
        ("video", "empty.mp4", "empty"),
        ("video", ".", "file"),
        ("video", "in.wav", "no video"),
        ("sound", "missing.wav", "no such file"),
        ("sound", "in.mkv", "no sound"),
        ("sound", "nan.wav", "NaN"),
        ("sound", "none.wav", "empty"),
        ("output", "nowhere/out.mkv", "folder"),
        ("output", "in.mkv", "itself"),
        ("output", "out.txt", ".mkv"),
        ("output", "out", ".mkv"),
    ],
)
def test_bad_files_are_refused_in_one_line(sync, tmp_path, what, name, says):
    given = broken(tmp_path)
    given[what] = name if what == "output" else tmp_path / name
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(InputError, match=says) as caught:
        sync(**given)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "options",
    [{"seed": -1}, {"length": "pingpong"}, {"silence": "open"}, {"preview_seconds": 0}, {"preview_seconds": np.nan}],
)
def test_bad_options_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options)).split("_")[0]):
        SyncOptions(**options)


def test_a_model_that_gives_nan_is_stopped(sync):
    class Broken(FakeEngine):
        def edit_window(self, *arguments):
            edit = super().edit_window(*arguments)
            edit.edited_THWC[0, 0, 0] = np.nan
            return edit

    with pytest.raises(InputError, match="finite"):
        sync(engine=Broken())


# -- disk


def test_too_little_space_is_said_before_the_work(sync, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 5000))
    engine = FakeEngine()
    with pytest.raises(InputError, match="5 KB free"):
        sync(engine=engine)
    assert not engine.calls


def test_a_full_disk_keeps_what_is_done(sync, tmp_path, monkeypatch):
    sync(output="whole.mkv")
    replace_file, written = os.replace, []

    def full(source, target):
        written.append(target)
        if len(written) == 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace_file(source, target)

    monkeypatch.setattr(store.os, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        sync()
    monkeypatch.undo()
    engine = FakeEngine()
    sync(engine=engine, resume=True)
    assert 0 < len(engine.calls) < 7
    assert planes(tmp_path / "out.mkv") == planes(tmp_path / "whole.mkv")


def test_a_sound_of_hours_is_not_waited_for(sync, tmp_path, monkeypatch):
    """Of a sound that goes on for long after the video's end, one minute more is decoded."""
    from omnisync_core.media import sound

    seconds, blocks = [], sound._blocks

    def counted(container, stream, path, rate):
        for block in blocks(container, stream, path, rate):
            seconds.append(block.shape[1] / rate)
            yield block

    monkeypatch.setattr(sound, "_blocks", counted)
    report = sync(sound=write_sound(tmp_path / "long.wav", seconds=200.0))
    assert sum(seconds) < 150
    assert any("the sound lasts more than 61" in warning for warning in report.warnings)
    report = sync(sound=tmp_path / "long.wav", length="cut_off")
    assert report.frames == FRAMES
