"""Several speakers, given tracks, parts of files, and unfinished work kept elsewhere."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from omnisync_core import media
from omnisync_core.errors import InputError
from omnisync_core.job import opening
from omnisync_core.job.options import Speaker, SyncOptions
from omnisync_core.mouth import track
from omnisync_core.pipeline import sync_video
from tests.fake import FakeEngine, pictures, planes, times, write_sound, write_video

LEFT, RIGHT = (16, 24, 10), (48, 24, 10)


@pytest.fixture
def folder(tmp_path):
    write_video(tmp_path / "in.mkv", 30)
    write_sound(tmp_path / "in.wav")
    write_sound(tmp_path / "first.wav", bursts=((0, 0.4),))
    write_sound(tmp_path / "second.wav", bursts=((0.8, 1.2),))
    return tmp_path


def run(folder, output, *, video="in.mkv", sound="in.wav", engine=None, progress=None, speakers=(), state=None, **more):
    video = video if isinstance(video, media.Part) else folder / video
    options = SyncOptions(**{"mouth": LEFT, "lossless": output.endswith("mkv"), **more})
    engine = engine or FakeEngine()
    return sync_video(
        video, folder / sound, folder / output, engine, options, progress, speakers=speakers, state=state
    )  # fmt: skip


def cast(folder):
    return [Speaker(folder / "first.wav", LEFT), Speaker(folder / "second.wav", RIGHT)]


def given_track(path, how):
    return track(((frame.time, frame.thumbnail(640)) for frame in media.read_frames(path)), how)


def reds(path, spot):
    x, y, _ = spot
    return np.array([picture[y - 1 : y + 2, x - 1 : x + 2, 0].mean() for picture in pictures(path)])


# -- speakers


def test_each_mouth_says_its_own_sound(folder):
    report = run(folder, "out.mkv", speakers=cast(folder))
    left, right = reds(folder / "out.mkv", LEFT), reds(folder / "out.mkv", RIGHT)
    assert left[2:8].mean() > left[15:].mean() + 20
    assert right[22:28].mean() > right[:15].mean() + 20
    assert report.frames == report.edited == 30
    assert report.windows == 14
    assert report.mouth_sources == {"user": 60}
    assert report.shots == 1
    run(folder, "alone.mkv", speakers=cast(folder)[:1])
    alone, both = np.stack(pictures(folder / "alone.mkv")), np.stack(pictures(folder / "out.mkv"))
    np.testing.assert_array_equal(both[:, :, :32], alone[:, :, :32])
    with av.open(str(folder / "out.mkv")) as result:
        assert result.duration / av.time_base == pytest.approx(1.2, abs=0.05)


def test_one_speaker_is_the_plain_job(folder):
    run(folder, "plain.mkv")
    run(folder, "cast.mkv", speakers=[Speaker(folder / "in.wav", LEFT)])
    assert (folder / "plain.mkv").read_bytes() == (folder / "cast.mkv").read_bytes()


def test_the_source_stays_where_neither_speaks(folder):
    report = run(folder, "out.mkv", speakers=cast(folder), silence="keep")
    (passed,) = report.passed
    assert passed.reason == "silence"
    assert 0.4 < passed.start < 0.7
    assert 0.7 < passed.stop < 0.85


def test_what_is_wrong_is_said_of_the_speaker(folder):
    write_sound(folder / "first.wav", bursts=())
    report = run(folder, "out.mkv", speakers=cast(folder), silence="keep")
    assert next(line for line in report.warnings if "nobody speaks" in line).startswith("speaker 1: ")
    with pytest.raises(InputError, match="no such file"):
        run(folder, "out.mkv", speakers=[Speaker(folder / "none.wav")])


class Stop(BaseException):
    pass


@pytest.mark.parametrize("at", [8, 25])
def test_two_speakers_go_on_where_they_stopped(folder, at):
    def stop(progress):
        if progress.stage == "editing" and progress.done == at:
            raise Stop

    run(folder, "whole.mp4", speakers=cast(folder))
    with pytest.raises(Stop):
        run(folder, "out.mp4", speakers=cast(folder), progress=stop)
    engine, done = FakeEngine(), []
    run(folder, "out.mp4", speakers=cast(folder), resume=True, engine=engine, progress=done.append)
    assert len(engine.calls) < 14
    assert {progress.total for progress in done if progress.stage == "editing"} == {42}
    assert (folder / "out.mp4").read_bytes() == (folder / "whole.mp4").read_bytes()
    assert not list(folder.glob("*.omnisync"))


def test_another_speaker_is_another_job(folder):
    def stop(progress):
        if progress.stage == "editing" and progress.done == 8:
            raise Stop

    with pytest.raises(Stop):
        run(folder, "out.mp4", speakers=cast(folder), progress=stop)
    with pytest.raises(InputError, match="another job: speakers"):
        run(folder, "out.mp4", speakers=cast(folder)[::-1], resume=True)


# -- a given track


def test_a_given_track_is_used(folder):
    known = given_track(folder / "in.mkv", LEFT)
    run(folder, "pointed.mkv")
    run(folder, "given.mkv", mouth=replace(known, frame_size=(640, 480), pts_N=known.pts_N * 2))
    assert planes(folder / "given.mkv") == planes(folder / "pointed.mkv")
    report = run(folder, "preview.mkv", mouth=known, preview_seconds=0.4)
    assert report.frames == 10


def test_a_track_of_another_length_is_refused(folder):
    write_video(folder / "short.mkv", 20)
    known = given_track(folder / "in.mkv", LEFT)
    with pytest.raises(InputError, match="track has 30 frames, the video 20"):
        run(folder, "out.mkv", video="short.mkv", mouth=known)
    assert not list(folder.glob("out*"))


# -- a part of a file


@pytest.mark.parametrize(("codec", "suffix"), [("ffv1", "mkv"), ("libx264", "mp4")])
@pytest.mark.parametrize(("start", "stop", "frames"), [(0.4, 1.0, range(10, 25)), (0.39, None, range(10, 30))])
def test_a_part_is_the_video_it_shows(folder, codec, suffix, start, stop, frames):
    options = {"g": "6", "bf": "3"} if codec == "libx264" else None
    path = write_video(folder / f"long.{suffix}", 30, codec=codec, options=options)
    part = media.Part(path, start, stop)
    info = media.probe_video(part)
    assert info.frame_count == len(frames)
    assert info.average_fps == pytest.approx(25, rel=0.01)
    np.testing.assert_allclose(info.times_N, np.array(frames) / 25 - start, atol=1e-6)
    whole = [frame.rgb() for frame in media.read_frames(path)]
    for shown in (range(len(frames)), range(3, 7)):
        got = list(media.frames_of(info, shown[0], shown[-1] + 1))
        assert [frame.index for frame in got] == list(shown)
        assert all((frame.rgb() == whole[frames[frame.index]]).all() for frame in got)
    report = run(folder, "out.mkv", video=part)
    assert report.frames == len(frames)
    assert times(folder / "out.mkv") == pytest.approx(list(info.times_N), abs=1e-3)
    before, after = np.stack(pictures(path))[list(frames)], np.stack(pictures(folder / "out.mkv"))
    np.testing.assert_array_equal(before[:, :8, 40:], after[:, :8, 40:])


def test_a_part_that_begins_a_hair_after_a_frame_begins_with_it(folder):
    info = media.probe_video(media.Part(folder / "in.mkv", 0.4003))
    assert info.times_N[0] == 0
    assert info.frame_count == 20
    assert [frame.index for frame in media.frames_of(info, 2, 4)] == [2, 3]


def test_a_part_beyond_the_end_is_refused(folder):
    with pytest.raises(InputError, match=r"no frame from 2 s on: its last one is at 1.16 s"):
        run(folder, "out.mkv", video=media.Part(folder / "in.mkv", 2.0))


def test_another_part_is_another_job(folder):
    def stop(progress):
        if progress.stage == "editing" and progress.done == 8:
            raise Stop

    with pytest.raises(Stop):
        run(folder, "out.mp4", video=media.Part(folder / "in.mkv", 0.2), progress=stop)
    with pytest.raises(InputError, match="another job: part"):
        run(folder, "out.mp4", resume=True)


def test_opening_a_long_video_can_be_stopped(folder, monkeypatch):
    def stop(progress):
        assert (progress.stage, progress.done, progress.total) == ("opening", 10, 0)
        raise Stop

    monkeypatch.setattr(opening, "FRAMES_A_REPORT", 10)
    with pytest.raises(Stop):
        run(folder, "out.mp4", progress=stop)
    assert not list(folder.glob("out*"))


# -- unfinished work elsewhere


def test_work_is_found_again_whatever_the_result_is_called(folder):
    def stop(progress):
        if progress.stage == "editing" and progress.done == 8:
            raise Stop

    state = folder / "unfinished"
    with pytest.raises(Stop):
        run(folder, "a.mp4", state=state, progress=stop, resume=True)
    (kept,) = state.iterdir()
    assert len(list(kept.glob("window_*.npz"))) == 2
    with pytest.raises(Stop):
        run(folder, "a.mp4", state=state, progress=stop, resume=True, seed=5)
    engine = FakeEngine()
    run(folder, "b.mp4", state=state, engine=engine, resume=True)
    assert len(engine.calls) == 5
    assert len(list(state.iterdir())) == 1
    assert not kept.exists()
    engine = FakeEngine()
    run(folder, "c.mp4", state=state, engine=engine, seed=5)
    assert len(engine.calls) == 7
    assert not list(state.iterdir())
    assert {path.name for path in folder.iterdir()} >= {"b.mp4", "c.mp4"}


# -- pictures and samples from memory


@pytest.mark.parametrize(("pix_fmt", "levels"), [("bgr0", 255), ("gbrp16le", 65535)])
@pytest.mark.parametrize("size", [(17, 31), (1, 1)])
def test_pictures_are_kept_to_the_level(tmp_path, pix_fmt, levels, size):
    batch = np.random.default_rng(0).integers(0, levels + 1, (4, *size, 3)) / np.float32(levels)
    media.write_pictures(tmp_path / "a.mp4", batch, Fraction(30000, 1001), pix_fmt)
    info = media.probe_video(tmp_path / "a.mp4")
    np.testing.assert_allclose(info.times_N, np.arange(4) * 1001 / 30000, atol=1e-9)
    np.testing.assert_allclose([frame.rgb() for frame in media.frames_of(info)], batch, atol=2e-7)


@pytest.mark.parametrize(("pix_fmt", "near"), [("yuv420p", 0.012), ("yuv420p10le", 0.004)])
def test_yuv_pictures_are_bt709(tmp_path, pix_fmt, near):
    batch = np.broadcast_to(np.float32([0.9, 0.3, 0.1]), (2, 9, 13, 3))
    for name in ("a.mp4", "b.mp4"):
        media.write_pictures(tmp_path / name, batch, Fraction(25), pix_fmt)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    frame = next(media.read_frames(tmp_path / "a.mp4"))
    assert frame.native.colorspace == 1
    assert frame.native.color_range == 1
    np.testing.assert_allclose(frame.rgb(), batch[0], atol=near)


@pytest.mark.parametrize(
    ("batch", "rate", "says"),
    [
        (np.full((3, 4, 4, 3), np.nan), 25, "frame 0 holds numbers"),
        (np.zeros((0, 4, 4, 3)), 25, "no frames"),
        (np.zeros((1, 4, 4, 3)), 0, "frame rate"),
    ],
    ids=["nan", "empty", "rate"],
)
def test_pictures_that_are_none_are_refused(tmp_path, batch, rate, says):
    with pytest.raises(InputError, match=says):
        media.write_pictures(tmp_path / "a.mp4", batch, Fraction(rate), "bgr0")


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_samples_are_kept_to_the_bit(tmp_path, channels):
    wave_CS = np.random.default_rng(0).normal(0, 1, (channels, 70001)).astype(np.float32)
    media.write_samples(tmp_path / "a.wav", wave_CS, 44100)
    np.testing.assert_array_equal(np.concatenate(list(media.read_audio(tmp_path / "a.wav")), axis=1), wave_CS)
    with pytest.raises(InputError, match="channels"):
        media.write_samples(tmp_path / "b.wav", np.zeros((channels, 0)), 44100)


def test_pictures_with_their_sound(tmp_path):
    wave_CS = np.random.default_rng(0).normal(0, 1, (2, 9000)).astype(np.float32)
    media.write_pictures(tmp_path / "a.mp4", np.zeros((3, 8, 8, 3)), Fraction(25), "bgr0", (wave_CS, 44100))
    np.testing.assert_array_equal(np.concatenate(list(media.read_audio(tmp_path / "a.mp4")), axis=1), wave_CS)
    assert media.probe_video(tmp_path / "a.mp4").has_audio
