"""Files that declare what cannot be, names that no disk takes: right, or refused in one line and in bounded time."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisync_core import audio, media
from omnisync_core.errors import InputError
from omnisync_core.job.options import SyncOptions
from omnisync_core.pipeline import sync_video
from omnisync_core.timing import timeline
from tests.clips import pictures
from tests.fake import FakeEngine, write_sound, write_video
from tests.odd import HOUR, JUMPS, ODD_RATES, TIFF_MODES, jumping_video, sound_with_a_hole, tiff, turned_picture, wav


@pytest.fixture
def files(tmp_path):
    return write_video(tmp_path / "in.mkv", 10), write_sound(tmp_path / "in.wav", 0.4)


def sync(video, sound, output, **options):
    return sync_video(video, sound, output, FakeEngine(), SyncOptions(mouth="centre", resume=True, **options))


def refused(video, sound, output, *words: str, **options) -> None:
    with pytest.raises(InputError) as caught:
        sync(video, sound, output, **options)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 600 and all(word in message for word in words), message


@pytest.mark.parametrize("declared", [2**32 - 1, 2**41, 0])
def test_a_sound_that_declares_more_than_it_holds(files, tmp_path, declared):
    sound = wav(tmp_path / "much.wav", declared=declared)
    if declared:
        assert media.open_audio(sound).duration == 0.4
        assert sync(files[0], sound, tmp_path / "out.mp4").frames == 10
    else:
        assert media.open_audio(sound).duration <= 0.4


@pytest.mark.parametrize("rate", ODD_RATES)
def test_rates_that_no_sound_has(files, tmp_path, rate):
    refused(files[0], wav(tmp_path / "odd.wav", rate), tmp_path / "out.mp4", f"declares {rate} samples a second")


@pytest.mark.parametrize("rate", ODD_RATES)
def test_a_sound_in_memory_of_such_a_rate(tmp_path, rate):
    with pytest.raises(InputError, match=f"has {rate} samples a second"):
        media.write_samples(tmp_path / "odd.wav", np.zeros((1, 100), np.float32), rate)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 2**32), st.sampled_from([16000, 44100, 48000]))
def test_a_rate_is_heard_or_refused(source, target):
    """The filter between two rates grows with their ratio: 2 TiB for a rate of 2^31 - 1."""
    try:
        up, down = audio._ratio(source, target)
    except InputError as error:
        assert str(error).isprintable()
    else:
        assert max(up, down) <= 100_000


@pytest.mark.parametrize(("channels", "suffix"), [(6, ".mp4"), (8, ".mp4"), (8, ".mkv"), (16, ".mkv"), (64, ".mkv")])
def test_many_channels(files, tmp_path, channels, suffix):
    output = tmp_path / f"out{suffix}"
    sync(files[0], wav(tmp_path / "many.wav", channels=channels), output)
    assert media.open_audio(output).channels == channels


@pytest.mark.parametrize(("channels", "word"), [(9, "up to 8 channels"), (65, "mix it down"), (255, "mix it down")])
def test_too_many_channels(files, tmp_path, channels, word):
    refused(files[0], wav(tmp_path / "many.wav", channels=channels), tmp_path / "out.mp4", f"{channels}", word)


@pytest.mark.parametrize(("gap", "message"), JUMPS)
def test_a_video_whose_clock_jumps(files, tmp_path, gap, message):
    jumped = jumping_video(tmp_path / "jump.mkv", gap)
    refused(jumped, files[1], tmp_path / "out.mp4", "jump.mkv", "after 0.16 s", message)


def test_a_short_gap_is_a_gap(files, tmp_path):
    gap = jumping_video(tmp_path / "gap.mkv", 40)
    assert sync(gap, files[1], tmp_path / "out.mp4", silence="keep").frames == 10


@pytest.mark.parametrize(
    ("start", "stop"), [(float("nan"), None), (0.0, float("nan")), (99.0, None), (1e300, None), (0.0, -1.0)]
)
def test_a_part_in_which_nothing_lies(files, tmp_path, start, stop):
    with pytest.raises(InputError) as caught:
        sync(media.Part(files[0], start, stop), files[1], tmp_path / "out.mp4")
    assert str(caught.value).isprintable()
    assert "in.mkv" in str(caught.value)


@pytest.mark.parametrize(("hole", "message"), [(10 * HOUR, "10.0 h"), (40_000_000, "463.0 days")])
@pytest.mark.parametrize("length", ["source", "remap"])
def test_a_sound_with_a_hole_of_hours(files, tmp_path, hole, message, length):
    refused(files[0], sound_with_a_hole(tmp_path / "hole.mka", hole), tmp_path / "out.mp4", message, length=length)


def test_a_sound_with_a_short_hole(tmp_path):
    blocks = list(media.read_audio(sound_with_a_hole(tmp_path / "hole.mka", 30)))
    wave = np.concatenate(blocks, 1)
    assert wave.shape[1] == 30 * 16000 + 1600
    assert not wave[:, 1600 : 30 * 16000].any()
    assert wave[:, -1600:].all()


def test_a_sound_longer_than_a_day(tmp_path, monkeypatch):
    monkeypatch.setattr("omnisync_core.media.sound.LONGEST", 20.0)
    with pytest.raises(InputError, match="lasts longer than"):
        media.open_audio(sound_with_a_hole(tmp_path / "hole.mka", 30))


@pytest.mark.parametrize("policy", timeline.POLICIES)
def test_a_result_of_more_frames_than_anyone_has(policy):
    """Ninety thousand frames a second, and a sound of a day."""
    times_N = np.arange(3) / 90000
    if policy in ("bounce", "loop", "freeze", "remap"):
        with pytest.raises(InputError, match="frames, at most"):
            timeline.plan_timeline(times_N, 86400.0, policy)
    else:
        assert len(timeline.plan_timeline(times_N, 86400.0, policy)) == 3


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", [None, 1, 2, 3, 4, 5, 6, 7, 8])
def test_pictures_with_exif(tmp_path, suffix, orientation):
    """Upright ones are read; those that their EXIF turns are refused, for a result would lie on its side."""
    pytest.importorskip("PIL.Image")
    path = turned_picture(tmp_path / f"a{suffix}", next(pictures(1)), orientation)
    if orientation in (None, 1):
        assert media.probe_video(path).frame_count == 1
    else:
        with pytest.raises(InputError, match="turned by its EXIF data, which would be lost; save it upright"):
            media.probe_video(path)


@pytest.mark.parametrize("mode", TIFF_MODES)
def test_tiff_of_every_kind(tmp_path, mode):
    pytest.importorskip("PIL.Image")
    tiff(tmp_path / "a.tif", next(pictures(1)), mode)
    try:
        assert media.probe_video(tmp_path / "a.tif").frame_count == 1
    except InputError as error:
        assert mode in ("F", "I")
        assert "no frame of it can be decoded" in str(error)


@pytest.mark.parametrize("name", ["a" * 243 + ".mp4", "é" * 130 + ".mp4", "a" * 300 + ".mp4"])
def test_names_that_are_too_long(files, tmp_path, name):
    refused(*files, tmp_path / name, "bytes", ".omnisync")
    assert {path.name for path in tmp_path.iterdir()} == {"in.mkv", "in.wav"}


def test_the_longest_name(files, tmp_path):
    output = tmp_path / ("a" * 242 + ".mp4")
    assert sync(*files, output).frames == 10
    assert output.is_file()


def test_inputs_with_names_that_are_too_long(files, tmp_path):
    for video, sound in ((tmp_path / ("a" * 256), files[1]), (files[0], tmp_path / ("a" * 256))):
        refused(video, sound, tmp_path / "out.mp4", "256 bytes")


@pytest.mark.skipif(os.name != "posix", reason="names are bytes there")
def test_names_that_are_not_utf8(files, tmp_path):
    name = os.fsdecode(b"a\xff.mkv")
    (tmp_path / name).write_bytes(files[0].read_bytes())
    for given_files in ((tmp_path / name, files[1], tmp_path / "out.mp4"), (*files, tmp_path / name)):
        refused(*given_files, "is not UTF-8", "\\udcff")


def test_a_folder_in_the_place_of_the_unfinished_file(files, tmp_path):
    (tmp_path / "out.mp4.part").mkdir()
    refused(*files, tmp_path / "out.mp4", "out.mp4.part is a folder")


def test_a_file_in_the_place_of_the_state(files, tmp_path):
    (tmp_path / "out.mp4.omnisync").write_text("mine")
    with pytest.raises(OSError, match="cannot make the folder"):
        sync(*files, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4.omnisync").read_text() == "mine"
