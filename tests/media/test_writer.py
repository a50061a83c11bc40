"""The result looks like its source: same samples, times, tags and side tracks; a failure leaves nothing behind."""

import os
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type as SideData

from omnisync_core import media
from omnisync_core.errors import InputError, OutputError
from omnisync_core.media import tracks
from omnisync_core.media.formats import layout_of
from omnisync_core.media.source import side_data
from tests import fake
from tests.clips import coloured, noisy, samples, write_clip, write_tone

UNEVEN = [0, 40, 90, 130, 300, 340]
EXACT = [
    *("yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "nv12", "nv21"),
    *("yuv420p10le", "yuv422p10le", "yuv444p10le", "yuv420p12le", "yuv444p12le", "yuv420p16le"),
    *("yuva420p", "yuva444p", "yuva444p10le", "yuva444p12le", "yuva444p16le", "yuyv422", "uyvy422"),
    *("rgb24", "bgr24", "rgb0", "rgba", "bgra", "argb", "abgr", "gbrp", "gbrap", "gbrp10le", "gbrp12le", "gbrap12le"),
    *("gbrp16le", "rgb48le", "rgba64le", "gray", "gray10le", "gray12le", "gray16le", "ya8"),
]


@pytest.mark.parametrize("pix_fmt", EXACT)
def test_lossless_keeps_every_sample(tmp_path, pix_fmt):
    width = {0: 21, 1: 22, 2: 24}[layout_of(pix_fmt).down_x]  # as raw files take them
    frames = [noisy(pix_fmt, seed, width, 16 if layout_of(pix_fmt).down_y else 13) for seed in range(2)]
    source = write_clip(tmp_path / "source.nut", frames, "rawvideo")
    _copy(source, tmp_path / "result.mkv", lossless=True)
    with av.open(str(tmp_path / "result.mkv")) as container:
        assert container.streams.video[0].codec_context.name == "ffv1"
    written = list(media.read_frames(tmp_path / "result.mkv"))
    assert len(written) == 2
    for frame, result in zip(media.read_frames(source), written, strict=True):
        assert frame.native.format.name == pix_fmt
        assert frame.colour == result.colour
        pairs = list(zip(samples(frame.native), samples(result.native), strict=True))
        assert all(np.array_equal(one, other) for one, other in pairs)


def test_a_lossless_edit_changes_only_its_box(tmp_path):
    source = write_clip(tmp_path / "source.mp4", options={"bf": "2"})
    delta = np.full((8, 10, 3), 0.1, np.float32)
    with media.VideoWriter(tmp_path / "result.mkv", source, lossless=True) as writer:
        for frame in media.read_frames(source):
            writer.write(frame.add_rgb((20, 12, 30, 20), delta))
    for frame, result in zip(media.read_frames(source), media.read_frames(tmp_path / "result.mkv"), strict=True):
        change = samples(result.native)[0] - samples(frame.native)[0]
        assert change[12:20, 20:30].min() > 10
        change[12:20, 20:30] = 0
        assert not change.any()


@pytest.mark.parametrize(
    ("pix_fmt", "suffix", "codec", "written"),
    [
        ("yuv420p", "mp4", "h264", "yuv420p"),
        ("nv12", "mkv", "h264", "yuv420p"),
        ("yuv422p", "mp4", "h264", "yuv422p"),
        ("yuv444p", "mp4", "h264", "yuv444p"),
        ("yuv420p10le", "mp4", "h264", "yuv420p10le"),
        ("yuv422p10le", "mov", "h264", "yuv422p10le"),
        ("yuv422p12le", "mkv", "hevc", "yuv422p12le"),
        ("yuv411p", "mp4", "h264", "yuv422p"),
        ("gray", "mp4", "h264", "yuvj420p"),
        ("bgr24", "mp4", "h264", "yuv444p"),
        ("gbrp12le", "mp4", "h264", "yuv444p10le"),
        ("rgba", "mov", "prores", "yuva444p12le"),
        ("yuva420p", "mov", "prores", "yuva444p12le"),
    ],
)
def test_encoders_by_pixel_format(tmp_path, pix_fmt, suffix, codec, written):
    source = write_clip(tmp_path / "source.nut", coloured(pix_fmt, count=3, width=64), "rawvideo")
    result = tmp_path / f"result.{suffix}"
    _copy(source, result)
    with av.open(str(result)) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == codec
    assert media.probe_video(result).pix_fmt == written
    for frame, other in zip(media.read_frames(source), media.read_frames(result), strict=True):
        assert np.abs(frame.rgb() - other.rgb()).mean() < 0.02
        if frame.layout.alpha is not None:
            scale = frame.layout.peak / other.layout.peak
            assert np.abs(samples(frame.native)[-1] - samples(other.native)[-1] * scale).max() <= 3


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_odd_sizes_keep_their_size(tmp_path, suffix):
    source = write_clip(tmp_path / "source.mkv", coloured("yuv420p", width=47, height=31), "ffv1")
    _copy(source, tmp_path / f"result.{suffix}")
    info = media.probe_video(tmp_path / f"result.{suffix}")
    assert (info.width, info.height, info.frame_count) == (47, 31, 6)


def test_transparency_needs_a_container_that_has_it(tmp_path):
    source = write_clip(tmp_path / "source.mov", coloured("rgba"), "png")
    for name in ("result.mp4", "result.mkv"):
        with pytest.raises(InputError, match=r"transparent.*\.mov"):
            media.check_output(tmp_path / name, source)
    media.check_output(tmp_path / "result.mkv", source, lossless=True)
    opaque = [frame.reformat(format="rgba") for frame in coloured("rgb24")]
    _copy(write_clip(tmp_path / "opaque.mov", opaque, "png"), tmp_path / "result.mp4")
    assert not media.probe_video(tmp_path / "opaque.mov").has_alpha


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("rate", [None, 25, Fraction(30000, 1001), 60])
def test_times_are_the_sources(tmp_path, suffix, rate):
    ticks = UNEVEN if rate is None else None
    source = write_clip(tmp_path / f"source.{suffix}", ticks=ticks, rate=rate or 25)
    _copy(source, tmp_path / f"result.{suffix}")
    before, after = media.probe_video(source), media.probe_video(tmp_path / f"result.{suffix}")
    assert np.allclose(before.times_N, after.times_N, atol=1e-9)
    assert before.duration == pytest.approx(after.duration, abs=0.002)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_late_start_and_times_of_ones_own(tmp_path, suffix):
    source = write_clip(tmp_path / f"source.{suffix}", ticks=[t + 500 for t in UNEVEN])
    _copy(source, tmp_path / f"result.{suffix}")
    assert np.allclose(media.probe_video(tmp_path / f"result.{suffix}").times_N, np.array(UNEVEN) / 1000 + 0.5)
    times = np.array([0, 0.013, 0.5, 0.52, 0.529, 2.0])
    with media.VideoWriter(tmp_path / f"own.{suffix}", source) as writer:
        for frame, time in zip(media.read_frames(source), times, strict=True):
            writer.write(frame, time)
    assert np.allclose(media.probe_video(tmp_path / f"own.{suffix}").times_N, times, atol=1e-4)


def test_a_coarse_clock_does_not_coarsen_new_times(tmp_path):
    source = write_clip(tmp_path / "source.avi", codec="mpeg4")
    with media.VideoWriter(tmp_path / "result.mp4", source) as writer:
        for frame in media.read_frames(source):
            writer.write(frame, frame.time * 0.37)
    assert np.allclose(media.probe_video(tmp_path / "result.mp4").times_N, np.arange(6) / 25 * 0.37, atol=1e-4)


def test_frames_may_repeat_and_turn_back(tmp_path):
    source = write_clip(tmp_path / "source.mp4")
    frames = list(media.read_frames(source))
    with media.VideoWriter(tmp_path / "result.mkv", source, lossless=True) as writer:
        for position, index in enumerate([0, 1, 2, 2, 1, 0]):
            writer.write(frames[index], position / 25)
    shown = [samples(f.native)[0] for f in media.read_frames(tmp_path / "result.mkv")]
    assert all(np.array_equal(shown[i], shown[5 - i]) for i in range(3))
    assert not np.array_equal(shown[0], shown[1])


def test_times_must_grow(tmp_path):
    source = write_clip(tmp_path / "source.mp4")
    frame = next(media.read_frames(source))
    with pytest.raises(ValueError, match="must grow"), media.VideoWriter(tmp_path / "result.mp4", source) as writer:
        writer.write(frame)
        writer.write(frame)
    assert not (tmp_path / "result.mp4").exists()


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("rotation", [(90, False), (180, False), (270, False), (0, True), (90, True)])
def test_rotation_is_kept(tmp_path, suffix, rotation):
    source = write_clip(tmp_path / "source.mp4", rotation=rotation)
    with media.VideoWriter(tmp_path / f"result.{suffix}", source, lossless=suffix == "mkv") as writer:
        for frame in media.read_frames(source):
            delta = np.zeros((8, 6, 3), np.float32)
            delta[2, 2] = 0.5
            writer.write(frame.add_rgb((2, 1, 8, 9), delta))
    for frame, result in zip(media.read_frames(source), media.read_frames(tmp_path / f"result.{suffix}"), strict=True):
        assert frame.orientation == result.orientation
        change = (result.rgb() - frame.rgb()).mean(-1)
        assert np.unravel_index(np.argmax(change), change.shape) == (3, 4)


@pytest.mark.parametrize("pix_fmt", ["yuvj420p", "yuvj422p", "yuvj444p"])
def test_lossless_keeps_the_full_range(tmp_path, pix_fmt):
    source = write_clip(tmp_path / "source.avi", coloured(pix_fmt, count=2), "mjpeg")
    _copy(source, tmp_path / "result.mkv", lossless=True)
    for frame, result in zip(media.read_frames(source), media.read_frames(tmp_path / "result.mkv"), strict=True):
        assert frame.native.format.name == pix_fmt
        assert frame.colour == result.colour
        assert np.array_equal(frame.rgb(), result.rgb())


@pytest.mark.parametrize(("suffix", "lossless"), [("mp4", False), ("mov", False), ("mkv", False), ("mkv", True)])
def test_colour_tags_and_pixel_shape_are_kept(tmp_path, suffix, lossless):
    tags = {"colorspace": 1, "color_range": 2, "color_primaries": 1, "color_trc": 1}
    source = write_clip(tmp_path / "source.mp4", sample_aspect_ratio=Fraction(4, 3), **tags)
    _copy(source, tmp_path / f"result.{suffix}", lossless=lossless)
    native = next(media.read_frames(tmp_path / f"result.{suffix}")).native
    assert {name: getattr(native, name) for name in tags} == tags
    if not lossless:  # av cannot tell the container, H.264 says it itself
        with av.open(str(tmp_path / f"result.{suffix}")) as container:
            assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize(("suffix", "trc"), [("mp4", 16), ("mkv", 18)])
def test_hdr_stays_hdr(tmp_path, suffix, trc):
    light = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
    tags = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": trc}
    frames = coloured("yuv420p10le", count=2, width=64)
    options = {"x265-params": f"log-level=error:{light}"}
    source = write_clip(tmp_path / "source.mkv", frames, "libx265", options=options, **tags)
    assert media.probe_video(source).has_hdr
    _copy(source, tmp_path / f"result.{suffix}")
    before, after = (next(media.read_frames(p)).native for p in (source, tmp_path / f"result.{suffix}"))
    assert after.format.name == "yuv420p10le"
    assert {name: getattr(after, name) for name in tags} == tags
    for kind in (SideData.MASTERING_DISPLAY_METADATA, SideData.CONTENT_LIGHT_LEVEL):
        assert side_data(before, kind) == side_data(after, kind) is not None
    narrow = write_clip(tmp_path / "narrow.mkv", coloured("yuv420p10le", width=16, height=16), **tags)
    _copy(narrow, tmp_path / f"narrow_result.{suffix}")
    assert media.probe_video(tmp_path / f"narrow_result.{suffix}").has_hdr


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_short_clips(tmp_path, suffix, count):
    for pix_fmt, trc in (("yuv420p", 1), ("yuv420p10le", 16)):
        frames = coloured(pix_fmt, count=count, width=64)
        source = write_clip(tmp_path / f"{pix_fmt}.mkv", frames, "ffv1", color_trc=trc)
        _copy(source, tmp_path / f"result.{suffix}")
        assert np.allclose(media.probe_video(tmp_path / f"result.{suffix}").times_N, np.arange(count) / 25)


def test_interlaced_stays_interlaced(tmp_path):
    graph = av.filter.Graph()
    entry = graph.add_buffer(width=48, height=32, format="yuv420p", time_base=Fraction(1, 25))
    fields, sink = graph.add("setfield", "tff"), graph.add("buffersink")
    entry.link_to(fields)
    fields.link_to(sink)
    graph.configure()
    frames = []
    for index, frame in enumerate(coloured("yuv420p")):
        frame.pts, frame.time_base = index, Fraction(1, 25)
        entry.push(frame)
        frames.append(sink.pull())
    source = write_clip(tmp_path / "source.mp4", frames, flags=int(av.codec.context.Flags.interlaced_dct))
    with media.VideoWriter(tmp_path / "result.mp4", source) as writer:
        for frame in media.read_frames(source):
            writer.write(frame.add_rgb((4, 4, 12, 12), np.full((8, 8, 3), 0.1)))
    assert next(media.read_frames(tmp_path / "result.mp4")).native.interlaced_frame


SUBTITLES = "1\n00:00:00,050 --> 00:00:00,100\nGrüße\n\n2\n00:00:00,120 --> 00:00:00,200\nzwei\nZeilen\n"


@pytest.mark.parametrize(
    ("given", "suffix", "kept_as"),
    [("mkv", "mkv", "subrip"), ("mkv", "mp4", "mov_text"), ("mp4", "mkv", "subrip"), ("mp4", "mov", "mov_text")],
)
def test_subtitles_chapters_and_metadata_come_along(tmp_path, given, suffix, kept_as):
    source, sound = _with_subtitles(tmp_path, given), write_tone(tmp_path / "sound.wav", "pcm_s16le")
    _copy(source, tmp_path / f"result.{suffix}", sound)
    with av.open(str(tmp_path / f"result.{suffix}")) as container:
        track = container.streams.subtitles[0]
        assert track.codec_context.codec.canonical_name == kept_as
        assert track.metadata["language"] == "eng"
        shown = [(float(p.pts * p.time_base), line.dialogue) for p in container.demux(track) for line in p.decode()]
        assert [text.decode().replace("\\N", "\n") for _, text in shown] == ["Grüße", "zwei\nZeilen"]
        assert [time for time, _ in shown] == pytest.approx([0.05, 0.12], abs=0.002)
        assert container.metadata["title"] == "A title"
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["One", "Two"]


@pytest.mark.parametrize(("given", "suffix"), [("mkv", "mkv"), ("mp4", "mp4")])
def test_of_a_part_come_its_own_subtitles_at_its_own_times(tmp_path, given, suffix):
    part, result = media.Part(_with_subtitles(tmp_path, given), 0.08, 0.2), tmp_path / f"result.{suffix}"
    info = media.probe_video(part)
    with media.VideoWriter(result, part) as writer:
        for frame in media.frames_of(info):
            writer.write(frame)
    with av.open(str(result)) as container:
        track = container.streams.subtitles[0]
        shown = [(float(p.pts * p.time_base), line.dialogue) for p in container.demux(track) for line in p.decode()]
        assert [text.decode().replace("\\N", "\n") for _, text in shown] == ["zwei\nZeilen"]
        assert shown[0][0] == pytest.approx(0.04, abs=0.002)
        assert not container.chapters()


def test_fonts_come_along(tmp_path):
    with av.open(str(tmp_path / "source.mkv"), "w") as output:
        stream = output.add_stream("ffv1", rate=25, width=48, height=32)
        output.add_attachment("letters.ttf", "font/ttf", b"curves")
        output.mux([packet for frame in coloured("yuv420p") for packet in stream.encode(frame)])
    for name in ("result.mkv", "result.mp4"):
        _copy(tmp_path / "source.mkv", tmp_path / name)
    with av.open(str(tmp_path / "result.mkv")) as container:
        assert [stream.data for stream in container.streams.attachments] == [b"curves"]


def test_the_same_job_gives_the_same_bytes(tmp_path):
    source, sound = write_clip(tmp_path / "source.mp4"), write_tone(tmp_path / "sound.wav", "pcm_s16le")
    for suffix in ("mp4", "mov", "mkv"):
        for name in ("one", "two"):
            _copy(source, tmp_path / f"{name}.{suffix}", sound)
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


def test_sound_and_pictures_lie_side_by_side(tmp_path):
    source = write_clip(tmp_path / "source.mp4", coloured("yuv420p", count=200))
    _copy(source, tmp_path / "result.mkv", write_tone(tmp_path / "sound.wav", "pcm_s16le", seconds=8.0))
    with av.open(str(tmp_path / "result.mkv")) as container:
        order = [(p.stream.type, float(p.pts * p.time_base)) for p in container.demux() if p.size]
    heard = shown = 0.0
    for kind, time in order:
        heard, shown = (time, shown) if kind == "audio" else (heard, time)
        assert abs(heard - shown) < 1.5


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path, stop):
    source, result = write_clip(tmp_path / "source.mp4"), tmp_path / "result.mp4"
    result.write_text("older")
    with pytest.raises(stop), media.VideoWriter(result, source) as writer:
        writer.write(next(media.read_frames(source)))
        raise stop
    assert result.read_text() == "older"
    assert sorted(os.listdir(tmp_path)) == ["result.mp4", "source.mp4"]
    _copy(source, result)
    assert media.probe_video(result).frame_count == 6


@pytest.mark.skipif(sys.platform == "win32", reason="such names are not allowed there")
def test_any_name_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "source.mp4").rename("a clip: 100%03d ü.mp4")
    _copy("a clip: 100%03d ü.mp4", "its: copy %d.mp4", write_tone(tmp_path / "sound.wav", "pcm_s16le"))
    assert media.probe_video("its: copy %d.mp4").frame_count == 6


def test_no_frame_is_an_error(tmp_path):
    source = write_clip(tmp_path / "source.mp4")
    with pytest.raises(InputError, match="no frame"), media.VideoWriter(tmp_path / "result.mp4", source):
        pass
    assert os.listdir(tmp_path) == ["source.mp4"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path):
    source = write_clip(tmp_path / "source.mp4", [noisy("yuv420p", seed, 64, 64) for seed in range(30)])
    (tmp_path / "result.mkv.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        _copy(source, tmp_path / "result.mkv", lossless=True)
    assert os.listdir(tmp_path) == ["source.mp4"]


def test_a_full_disk_at_the_sounds_turn_is_told(tmp_path, monkeypatch):
    source, sound = write_clip(tmp_path / "source.mp4"), write_tone(tmp_path / "sound.wav", "pcm_s16le")

    def full(self, until):
        raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr(tracks.Track, "pump", full)
    with pytest.raises(OutputError, match=r"result\.mp4.*No space left"):
        _copy(source, tmp_path / "result.mp4", sound)
    assert sorted(os.listdir(tmp_path)) == ["sound.wav", "source.mp4"]


def test_bad_outputs_are_told_before_work(tmp_path):
    source, sound = write_clip(tmp_path / "source.mp4"), write_tone(tmp_path / "sound.m4a", "aac")
    (tmp_path / "folder.mp4").mkdir()
    for output, lossless, message in [
        ("source.mp4", False, "the source video itself"),
        ("sound.m4a", False, "must end in"),
        ("nowhere/result.mp4", False, "folder does not exist"),
        ("folder.mp4", False, "is a folder"),
        ("result.webp", False, "must end in"),
        ("result.mp4", True, r"\.mkv"),
    ]:
        with pytest.raises(InputError, match=message) as error:
            media.check_output(tmp_path / output, source, sound, lossless)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="no sound track"):
        media.check_output(tmp_path / "result.mp4", source, source)
    (tmp_path / "sound.m4a").rename(tmp_path / "sound.mp4")
    with pytest.raises(InputError, match="the sound itself"):
        media.check_output(tmp_path / "sound.mp4", source, tmp_path / "sound.mp4")


def _copy(source, result, sound=None, **options):
    with media.VideoWriter(result, source, sound, **options) as writer:
        for frame in media.read_frames(source):
            writer.write(frame)


def _with_subtitles(folder, suffix):
    (folder / "words.srt").write_text(SUBTITLES, encoding="utf-8")
    clip, path = write_clip(folder / "clip.mp4"), folder / f"source.{suffix}"
    with av.open(str(path), "w") as output, av.open(str(clip)) as pictures, av.open(str(folder / "words.srt")) as words:
        output.metadata["title"] = "A title"
        halves = [("One", 0, 120), ("Two", 120, 240)]
        output.set_chapters(
            [
                {"id": i, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
                for i, (title, start, end) in enumerate(halves, 1)
            ]
        )
        picture_track = output.add_stream_from_template(pictures.streams.video[0])
        text = words.streams.subtitles[0]
        text.codec_context.open(strict=False)
        text_track = output.add_stream("subrip" if suffix == "mkv" else "mov_text")
        text_track.metadata["language"] = "eng"
        text_track.codec_context.subtitle_header = text.codec_context.subtitle_header
        text_track.codec_context.time_base = Fraction(1, 1000)
        for packet in words.demux(text):
            if packet.size:
                coded = text_track.codec_context.encode_subtitle(text.codec_context.decode2(packet))
                coded.pts = coded.dts = packet.pts
                coded.duration, coded.time_base, coded.stream = packet.duration, packet.time_base, text_track
                output.mux(coded)
        for packet in pictures.demux(video=0):
            if packet.size:
                packet.stream = picture_track
                output.mux(packet)
    return path


def test_a_picture_of_two_pixels_is_written_without_loss(tmp_path):
    """No encoder is asked for more slices than a picture has rows."""
    source, result = fake.write_video(tmp_path / "source.mkv", frames=3, size=(2, 2)), tmp_path / "result.mkv"
    with media.VideoWriter(result, source, lossless=True) as writer:
        for frame in media.read_frames(source):
            writer.write(frame)
    pairs = zip(media.read_frames(source), media.read_frames(result), strict=True)
    assert all(np.array_equal(a.rgb(), b.rgb()) for a, b in pairs)


@pytest.mark.parametrize(
    ("pix_fmt", "note"), [("yuv420p", rb" threads=3 "), ("yuv420p12le", rb" frame-threads=4 ")], ids=["x264", "x265"]
)
def test_the_machine_s_cores_do_not_decide_the_bytes(tmp_path, pix_fmt, note):
    """By themselves x264 and x265 take as many threads as there are cores, and another number writes other bytes."""
    source = fake.write_video(tmp_path / "a.mkv", 2, size=(320, 240), pix_fmt=pix_fmt)
    with media.VideoWriter(tmp_path / "b.mp4", source) as writer:
        for frame in media.read_frames(source):
            writer.write(frame)
    assert note in (tmp_path / "b.mp4").read_bytes()
