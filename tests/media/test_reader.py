"""Videos of every kind are read whole, upright and at their own times; what cannot be read is one line."""

import contextlib
import warnings
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisync_core import media
from omnisync_core.errors import InputError
from tests.clips import coloured, noisy, packets, pictures, samples, write_clip, write_tone

UNEVEN = [0, 40, 90, 130, 300, 340]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "ts", "avi"])
def test_constant_rate(tmp_path, suffix):
    info = media.probe_video(write_clip(tmp_path / f"clip.{suffix}", coloured("yuv420p", count=9)))
    assert (info.width, info.height, info.frame_count, info.rotation) == (48, 32, 9, 0)
    assert np.allclose(info.times_N, np.arange(9) / 25, atol=1e-9)
    assert info.duration == pytest.approx(9 / 25)
    assert info.average_fps == pytest.approx(25)
    assert not (info.has_alpha or info.has_audio or info.has_hdr)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_uneven_times(tmp_path, suffix):
    info = media.probe_video(write_clip(tmp_path / f"clip.{suffix}", ticks=UNEVEN))
    assert np.allclose(info.times_N, np.array(UNEVEN) / 1000, atol=1e-9)
    assert info.duration >= 0.34


def test_film_rate_does_not_drift(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", coloured("yuv420p", count=30), rate=Fraction(24000, 1001))
    assert np.allclose(media.probe_video(clip).times_N, np.arange(30) * 1001 / 24000, atol=1e-9)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_picture_track_may_begin_late(tmp_path, suffix):
    info = media.probe_video(write_clip(tmp_path / f"clip.{suffix}", ticks=[t + 500 for t in UNEVEN]))
    assert np.allclose(info.times_N, np.array(UNEVEN) / 1000 + 0.5, atol=1e-9)


def test_a_stream_begins_at_its_first_track(tmp_path):
    info = media.probe_video(write_clip(tmp_path / "clip.ts", delay=25 * 3600))
    assert np.allclose(info.times_N, np.arange(6) / 25, atol=1e-9)


def test_a_piece_of_a_stream_begins_at_its_first_track(tmp_path):
    info = media.probe_video(write_clip(tmp_path / "clip.mkv", ticks=[t + 3_600_000 for t in UNEVEN]))
    assert np.allclose(info.times_N, np.array(UNEVEN) / 1000, atol=1e-9)


def test_what_an_edit_list_hides_is_not_there(tmp_path):
    hidden = write_clip(tmp_path / "clip.mp4", ticks=[t - 100 for t in UNEVEN], options={"bf": "0"})
    info = media.probe_video(hidden)
    assert info.times_N[0] >= 0
    assert info.frame_count < 6
    assert info.frame_count == sum(1 for _ in media.read_frames(hidden))


def test_without_a_clock_the_rate_counts(tmp_path):
    info = media.probe_video(write_clip(tmp_path / "clip.h264"))
    assert np.allclose(info.times_N, np.arange(6) / 25)


@pytest.mark.filterwarnings("ignore:.*damaged")
def test_a_clock_that_is_set_back_goes_on(tmp_path):
    one = write_clip(tmp_path / "one.ts", delay=250).read_bytes()
    two = write_clip(tmp_path / "two.ts").read_bytes()
    (tmp_path / "both.ts").write_bytes(one + two)
    times = media.probe_video(tmp_path / "both.ts").times_N
    assert len(times) >= 11
    assert np.diff(times).min() > 0


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "reads_as", "options"),
    [
        ("clip.avi", "mjpeg", "yuvj420p", "yuvj420p", {}),
        ("clip.avi", "mpeg4", "yuv420p", "yuv420p", {"bf": "2"}),
        ("clip.avi", "rawvideo", "bgr24", "bgr24", {}),
        ("clip.mov", "qtrle", "rgb24", "rgb24", {}),
        ("clip.mov", "png", "rgba", "rgba", {}),
        ("clip.mov", "prores_ks", "yuv422p10le", "yuv422p10le", {}),
        ("clip.webm", "libvpx-vp9", "yuva420p", "yuva420p", {}),
        ("clip.webm", "libvpx", "yuva420p", "yuva420p", {"auto-alt-ref": "0"}),
        ("clip.mkv", "ffv1", "bgr0", "bgr0", {}),
        ("clip.mp4", "libx264", "yuv422p10le", "yuv422p10le", {}),
        ("clip.mp4", "libx265", "yuv420p10le", "yuv420p10le", {"x265-params": "log-level=error"}),
        ("clip.nut", "rawvideo", "rgb565le", "gbrp", {}),
        ("clip.mkv", "ffv1", "gbrpf32le", "gbrp16le", {"strict": "experimental"}),
        ("clip.nut", "rawvideo", "vuya", "yuva444p", {}),
    ],
)
def test_codecs_and_pixel_formats(tmp_path, name, codec, pix_fmt, reads_as, options):
    path = write_clip(tmp_path / name, coloured(pix_fmt, width=64), codec, options=options)
    info = media.probe_video(path)
    assert (info.frame_count, info.pix_fmt) == (6, reads_as)
    assert info.has_alpha == (pix_fmt in ("yuva420p", "rgba"))
    for frame, picture in zip(media.read_frames(path), pictures(width=64), strict=True):
        assert _error(frame, picture) < 0.06


def test_a_palette_is_read(tmp_path):
    path = write_clip(tmp_path / "clip.gif", coloured("rgb8"), "gif")
    assert media.probe_video(path).frame_count == 6
    assert _error(next(media.read_frames(path)), next(pictures())) < 0.15


@pytest.mark.parametrize("rotation", [(0, True), (90, False), (90, True), (180, False), (270, False), (270, True)])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_rotated_video_is_upright(tmp_path, suffix, rotation):
    plain = media.read_frames(write_clip(tmp_path / f"plain.{suffix}"))
    turned = write_clip(tmp_path / f"turned.{suffix}", rotation=rotation)
    info = media.probe_video(turned)
    for flat, frame in zip(plain, media.read_frames(turned), strict=True):
        truth = np.rot90(flat.rgb(), rotation[0] // 90)
        truth = truth[:, ::-1] if rotation[1] else truth
        assert np.array_equal(frame.rgb(), truth)
        assert (info.height, info.width) == truth.shape[:2]


def test_odd_sizes_and_small_ones(tmp_path):
    for width, height in [(47, 31), (8, 8), (1, 1)]:
        path = write_clip(tmp_path / "clip.mkv", coloured("yuv420p", width=width, height=height), "ffv1")
        assert [f.rgb().shape for f in media.read_frames(path)] == [(height, width, 3)] * 6


def test_one_frame(tmp_path):
    info = media.probe_video(write_clip(tmp_path / "clip.mp4", coloured("yuv420p", count=1)))
    assert info.frame_count == 1
    assert info.duration == pytest.approx(0.04)
    assert info.times_N.tolist() == [0]


def test_ranges_are_what_the_whole_gives(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", coloured("yuv420p", count=30), options={"g": "8"})
    whole, times_N = list(media.read_frames(path)), media.probe_video(path).times_N
    for start, stop in [(0, 4), (7, 20), (17, 18), (25, None), (29, 40), (30, 31)]:
        for times in (None, times_N):
            part = list(media.read_frames(path, start, stop, times if start < 30 else None))
            assert [(f.index, f.time) for f in part] == [(f.index, f.time) for f in whole[start:stop]]
            assert all(_same(a, b) for a, b in zip(part, whole[start:stop], strict=True))


def test_cover_art_is_no_video(tmp_path):
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as output:
        sound, cover = output.add_stream("libmp3lame", rate=16000, layout="mono"), output.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        output.mux(cover.encode(next(coloured("rgb24", count=1, width=16, height=16))))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        output.mux(sound.encode(frame))
        output.mux([*cover.encode(None), *sound.encode(None)])
    with pytest.raises(InputError, match="no video track"):
        media.probe_video(path)


@pytest.mark.parametrize("share", [0.35, 0.6, 0.9])
@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("ts", "libx264"), ("avi", "mjpeg")]
)
def test_a_cut_off_file_gives_what_decodes(tmp_path, suffix, codec, share):
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write_clip(
        tmp_path / f"clip.{suffix}",
        [noisy(pix_fmt, seed) for seed in range(50)],
        codec,
        container={"movflags": "+faststart"} if suffix == "mp4" else None,
        options={"g": "5"} if codec == "libx264" else None,
    )
    whole = list(media.read_frames(path))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        info, frames = media.probe_video(path), list(media.read_frames(path))
    assert 1 <= info.frame_count == len(frames) < 50
    assert all(_same(a, b) for a, b in zip(frames[:-3], whole, strict=False))
    if suffix != "ts":  # a stream does not say how long it will be
        assert any(word in str(caught[0].message) for word in ("cut off", "damaged"))


def test_a_whole_file_gives_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for suffix in ("mp4", "mkv", "ts", "avi"):
            media.probe_video(write_clip(tmp_path / f"clip.{suffix}"))
            if suffix != "avi":
                media.probe_video(write_clip(tmp_path / f"clip.{suffix}", delay=20))
                media.probe_video(write_clip(tmp_path / f"clip.{suffix}", ticks=[0, 40, 80, 900, 901, 5000]))


def test_damage_in_the_middle_is_passed_over(tmp_path):
    path = write_clip(tmp_path / "clip.avi", coloured("yuvj420p", count=20), "mjpeg")
    data, broken = path.read_bytes(), packets(path, "video")[9]
    path.write_bytes(data.replace(broken, b"\0" * len(broken)))
    with pytest.warns(UserWarning, match="damaged"):
        assert media.probe_video(path).frame_count == 19


def test_a_change_of_size_is_told(tmp_path):
    one = write_clip(tmp_path / "one.h264").read_bytes()
    two = write_clip(tmp_path / "two.h264", coloured("yuv420p", width=64)).read_bytes()
    (tmp_path / "both.h264").write_bytes(one + two)
    with pytest.raises(InputError, match="changes from 48x32 yuv420p to 64x32 yuv420p"):
        media.probe_video(tmp_path / "both.h264")


def test_what_is_no_video_is_told(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video at all, but some words\n" * 40)
    (tmp_path / "empty.mp4").write_bytes(b"")
    write_tone(tmp_path / "sound.wav", "pcm_s16le")
    headless = write_clip(tmp_path / "headless.mp4", coloured("yuv420p", count=20))
    headless.write_bytes(headless.read_bytes()[:-400])
    for suffix in ("mp4", "avi"):
        with av.open(str(tmp_path / f"none.{suffix}"), "w") as output:
            stream = output.add_stream("mpeg4", rate=25)
            stream.width, stream.height = 16, 16
            output.start_encoding()
    for name, message in [
        ("missing.mp4", "no such file"),
        (".", "not a file"),
        ("text.mp4", "not a media file"),
        ("empty.mp4", "empty"),
        ("sound.wav", "no video track"),
        ("headless.mp4", "cut off before its index"),
        ("none.mp4", "no video track"),
        ("none.avi", "no frame"),
    ]:
        with pytest.raises(InputError, match=message) as error:
            media.probe_video(tmp_path / name)
        assert "\n" not in str(error.value)


def test_an_unknown_video_codec_is_told(tmp_path):
    path = write_clip(tmp_path / "clip.mp4")
    path.write_bytes(path.read_bytes().replace(b"avc1\0", b"zzzz\0"))
    with pytest.raises(InputError, match="codec is unknown"):
        media.probe_video(path)


def _error(frame, picture):
    return float(np.abs(frame.rgb() - picture / np.float32(255)).mean())


def _same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(samples(one.native), samples(other.native), strict=True))


@pytest.fixture(scope="module", params=["mp4", "mkv", "avi"])
def speaking(request, tmp_path_factory):
    """A video with sound, as bytes."""
    folder = tmp_path_factory.mktemp("speaking")
    sound = write_tone(folder / "sound.wav", "pcm_s16le")
    clip, path = write_clip(folder / "clip.mp4"), folder / f"speaking.{request.param}"
    if request.param == "avi":
        return write_clip(path, codec="mpeg4")
    with media.VideoWriter(path, clip, sound, audio_duration=0.24) as writer:
        for frame in media.read_frames(clip):
            writer.write(frame)
    return path


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_broken_bytes_never_break_the_program(speaking, data):
    whole = bytearray(speaking.read_bytes())
    for _ in range(data.draw(st.integers(1, 12))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = speaking.with_name(f"broken{speaking.suffix}")
    path.write_bytes(whole[: data.draw(st.integers(1, len(whole)))])
    for read in (media.probe_video, media.open_audio):
        with contextlib.suppress(InputError):
            assert read(path).duration > 0
