"""Frames on their own planes: reading equals FFmpeg's, an edit changes what it must and nothing else."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisync_core.media import Frame
from omnisync_core.media.formats import layout_of
from omnisync_core.media.frame import Orientation
from omnisync_core.media.planes import copy_frame, repack
from omnisync_core.media.source import reachable
from tests.clips import coloured, noisy, sample_view, samples

FORMATS = sorted(name for name in av.video.format.names if layout_of(name))
PLAIN = [name for name in FORMATS if not name.endswith("be")]
FRAME = Fraction(1, 25)
ORIENTATIONS = [Orientation(turns, mirrored) for turns in range(4) for mirrored in (False, True)]

# Red, by the formulas of ITU-T H.273 (Kr, Kb, code ranges), worked out by hand.
RED = [
    ("yuv444p", 5, 1, (81, 90, 240)),
    ("yuv444p", 1, 1, (63, 102, 240)),
    ("yuv420p", 9, 1, (74, 97, 240)),
    ("yuv444p", 6, 2, (76, 85, 255)),
    ("yuvj444p", 2, 0, (76, 85, 255)),
    ("yuv444p10le", 9, 1, (294, 387, 960)),
    ("p010le", 1, 1, (250, 409, 960)),
    ("gbrp12le", 0, 2, (4095, 0, 0)),
    ("bgra", 2, 0, (255, 0, 0)),
]


@pytest.mark.parametrize(("pix_fmt", "matrix", "code_range", "codes"), RED)
def test_red_is_red(pix_fmt, matrix, code_range, codes):
    frame = _frame(_filled(pix_fmt, codes, matrix, code_range))
    assert np.abs(frame.rgb() - (1, 0, 0)).max() < 0.011


def test_untagged_small_video_is_bt601_and_untagged_hd_is_bt709():
    small, large = _filled("yuv420p", (81, 90, 240), 2, 0), _filled("yuv420p", (63, 102, 240), 2, 0, 1280, 720)
    for native in (small, large):
        assert np.abs(_frame(native).rgb((0, 0, 2, 2)) - (1, 0, 0)).max() < 0.011


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_every_format_reads_as_ffmpeg_reads_it(pix_fmt):
    native, layout = noisy(pix_fmt), layout_of(pix_fmt)
    if layout.kind == "yuv":  # even chroma, so that FFmpeg's chroma filter plays no part
        flat = _filled(pix_fmt, (0, layout.peak * 2 // 5, layout.peak * 3 // 5), 5, 0, native.width, native.height)
        _copy_luma(native, flat)
        native = flat
    frame = _frame(native)
    full = "JPEG" if frame.colour.full_range else "MPEG"
    truth = native.reformat(format="gbrpf32le", src_colorspace="ITU601", src_color_range=full)
    planes = [np.frombuffer(truth.planes[i], "<f4").reshape(native.height, -1)[:, : native.width] for i in (2, 0, 1)]
    assert np.abs(frame.rgb() - np.stack(planes, -1)).max() * 255 < 1.1  # FFmpeg takes 8-bit white for 65280 of 65535


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv410p", "nv12", "yuyv422"])
def test_each_pixel_has_the_chroma_of_its_site(pix_fmt):
    native, layout = noisy(pix_fmt, width=13 if pix_fmt != "yuyv422" else 14, height=11), layout_of(pix_fmt)
    y, u, v = samples(native)
    rows, columns = np.arange(native.height) >> layout.down_y, np.arange(native.width) >> layout.down_x
    u, v = ((c[np.ix_(rows, columns)] - 2.0 ** (layout.bits - 1)) / (224 * 2 ** (layout.bits - 8)) for c in (u, v))
    luma = (y - 16 * 2 ** (layout.bits - 8)) / (219 * 2 ** (layout.bits - 8))
    truth = np.stack([luma + 1.402 * v, luma - 0.344136 * u - 0.714136 * v, luma + 1.772 * u], -1)
    assert np.abs(_frame(native).rgb() - truth.clip(0, 1)).max() < 1e-5


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_an_edit_changes_what_it_must_and_nothing_else(data):
    pix_fmt = data.draw(st.sampled_from(FORMATS))
    width, height = data.draw(st.integers(4, 21)), data.draw(st.integers(4, 21))
    native = noisy(pix_fmt, data.draw(st.integers(0, 99)), width, height)
    frame = _frame(native, data.draw(st.sampled_from(ORIENTATIONS)))
    box = _draw_box(data, frame)
    delta = _draw_delta(data, box)
    before, edited = samples(native), frame.add_rgb(box, delta)
    assert _equal(before, samples(native)), "the source frame was changed"

    after, layout = samples(edited.native), frame.layout
    spread = np.zeros((frame.height, frame.width, 3), np.float64)
    spread[box[1] : box[3], box[0] : box[2]] = delta
    spread = frame.orientation.stored(spread)
    assert layout.alpha is None or np.array_equal(before[-1], after[-1])
    for index in range(len(layout.channels)):
        change, still = _expected(spread, layout, frame.colour, index, before[index].shape)
        assert np.array_equal(before[index][still], after[index][still]), "a sample without a change was changed"
        wanted = (before[index] + change).clip(0, layout.peak)
        assert np.abs(wanted - after[index])[~still].max(initial=0) < 0.51


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_box_reads_as_the_same_place_of_the_whole(data):
    frame = _frame(noisy(data.draw(st.sampled_from(FORMATS)), 1, 17, 12), data.draw(st.sampled_from(ORIENTATIONS)))
    x0, y0, x1, y1 = _draw_box(data, frame)
    assert np.array_equal(frame.rgb((x0, y0, x1, y1)), frame.rgb()[y0:y1, x0:x1])


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_boxes_and_edits_are_upright(orientation):
    native = next(coloured("gbrp", count=1, width=20, height=12))
    frame = Frame(native, 0.0, 0, orientation)
    upright = orientation.upright(Frame(native, 0.0, 0).rgb())
    assert (frame.height, frame.width) == upright.shape[:2]
    box, delta = (3, 2, 9, 7), np.zeros((5, 6, 3), np.float32)
    delta[1, 2] = 0.25
    change = frame.add_rgb(box, delta).rgb() - upright
    assert np.abs(change[3, 5] - 0.25).max() < 0.003
    change[3, 5] = 0
    assert not change.any()


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gray12le", "bgra", "gbrap16le", "nv21", "y210le"])
def test_a_change_is_seen_as_asked_for(pix_fmt):
    frame = _frame(_filled(pix_fmt, [layout_of(pix_fmt).peak // 2] * 3, 2, 0, 20, 16))
    delta = np.full((6, 8, 3), 0.2, np.float32)
    seen = frame.add_rgb((4, 2, 12, 8), delta).rgb((4, 2, 12, 8)) - frame.rgb((4, 2, 12, 8))
    assert np.abs(seen - delta).max() < 0.6 / 219 / 2 ** (frame.layout.bits - 8)


def test_an_edit_of_zero_keeps_codes_outside_the_nominal_range():
    native = _filled("yuv420p", (2, 250, 1), 2, 1)
    assert _equal(samples(native), samples(_frame(native).add_rgb(None, np.zeros((16, 16, 3))).native))


def test_edits_clip_at_the_ends_of_the_codes():
    frame = _frame(_filled("yuv420p", (230, 128, 128), 2, 1))
    assert samples(frame.add_rgb(None, np.full((16, 16, 3), 9.0)).native)[0].min() == 255
    assert samples(frame.add_rgb(None, np.full((16, 16, 3), -9.0)).native)[0].max() == 0


def test_wrong_boxes_and_deltas_are_told():
    frame = _frame(noisy("yuv420p"))
    for box in [(0, 0, 23, 3), (-1, 0, 4, 4), (4, 4, 4, 8)]:
        with pytest.raises(ValueError, match="box"):
            frame.rgb(box)
    with pytest.raises(ValueError, match="shape"):
        frame.add_rgb((0, 0, 4, 4), np.zeros((4, 5, 3)))


def test_a_copy_keeps_time_tags_and_field_order():
    graph = av.filter.Graph()
    source = graph.add_buffer(width=22, height=14, format="yuv420p", time_base=FRAME)
    fields, sink = graph.add("setfield", "tff"), graph.add("buffersink")
    source.link_to(fields)
    fields.link_to(sink)
    graph.configure()
    native = noisy("yuv420p")
    native.pts, native.time_base, native.colorspace, native.color_range = 7, FRAME, 1, 2
    source.push(native)
    native = sink.pull()
    twin = copy_frame(native)
    assert twin.interlaced_frame
    assert (twin.pts, twin.time_base, twin.colorspace, twin.color_range) == (7, FRAME, 1, 2)
    assert _equal(samples(native), samples(twin))


def test_a_frame_stored_bottom_up_is_read_top_down():
    graph = av.filter.Graph()
    source = graph.add_buffer(width=22, height=14, format="yuv420p", time_base=FRAME)
    flip, sink = graph.add("vflip"), graph.add("buffersink")
    source.link_to(flip)
    flip.link_to(sink)
    graph.configure()
    native = noisy("yuv420p")
    source.push(native)
    flipped = sink.pull()
    assert flipped.planes[0].line_size < 0
    assert _equal([plane[::-1] for plane in samples(native)], samples(reachable(flipped)))


SAME_SAMPLES = {
    "nv12": "yuv420p",
    "nv16": "yuv422p",
    "p010le": "yuv420p10le",
    "p016le": "yuv420p16le",
    "yuyv422": "yuv422p",
    "yuvj420p": "yuv420p",
    "yuv420p16be": "yuv420p16le",
    "yuva420p": "yuv420p",
    "rgb24": "bgr0",
    "argb": "bgra",
    "gbrap12le": "gbrp12le",
}


@pytest.mark.parametrize(("pix_fmt", "target"), SAME_SAMPLES.items())
def test_repacking_keeps_every_sample(pix_fmt, target):
    native = noisy(pix_fmt)
    old, new = samples(native), samples(repack(native, target, _frame(native).colour))
    assert _equal(old[: len(new)], new)


def test_repacking_to_more_bits_and_chroma_keeps_the_picture():
    for pix_fmt, target in [("yuv420p", "yuv444p10le"), ("yuvj420p", "yuv444p10le"), ("gray", "yuv420p10le")]:
        frame = _frame(noisy(pix_fmt, width=21, height=13))
        other = repack(frame.native, target, frame.colour)
        other.color_range = 2 if frame.colour.full_range else 1
        assert np.abs(Frame(other, 0.0, 0).rgb() - frame.rgb()).max() < 0.003


def test_thumbnail_is_small_and_upright():
    native = next(coloured("yuv420p", count=1, width=64, height=32))
    small = Frame(native, 0.0, 0, Orientation(1)).thumbnail(16)
    assert small.shape == (16, 8, 3)
    assert small.dtype == np.uint8
    truth = np.rot90(native.to_ndarray(format="rgb24").reshape(8, 4, 16, 4, 3).mean((1, 3)))
    assert np.abs(small - truth).mean() < 4


def _frame(native, orientation=None):
    return Frame(native, 0.0, 0, *([] if orientation is None else [orientation]))


def _filled(pix_fmt, codes, matrix, code_range, width=16, height=16):
    native, layout = av.VideoFrame(width, height, pix_fmt), layout_of(pix_fmt)
    for index, code in enumerate(codes[: len(layout.channels)]):
        view, shift = sample_view(native, index)
        view[:] = code << shift
    if layout.alpha is not None:
        view, shift = sample_view(native, len(layout.channels))
        view[:] = layout.peak << shift
    native.colorspace, native.color_range = matrix, code_range
    return native


def _copy_luma(source, target):
    sample_view(target, 0)[0][:] = sample_view(source, 0)[0]


def _draw_box(data, frame):
    x0, y0 = data.draw(st.integers(0, frame.width - 1)), data.draw(st.integers(0, frame.height - 1))
    return x0, y0, data.draw(st.integers(x0 + 1, frame.width)), data.draw(st.integers(y0 + 1, frame.height))


def _draw_delta(data, box):
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    delta = rng.uniform(-0.5, 0.5, (box[3] - box[1], box[2] - box[0], 3)).astype(np.float32)
    delta[rng.random(delta.shape[:2]) < data.draw(st.sampled_from([0, 0.5, 0.9, 1]))] = 0
    return delta


def _expected(spread, layout, colour, index, shape):
    """The change of one channel in codes, and where there must be none: every pixel under the sample is unchanged."""
    if layout.kind == "rgb":
        return spread[..., index] * layout.peak, ~spread.any(-1)
    span = colour.chroma_codes(layout.bits)[1] if index else colour.luma_codes(layout.bits)[1]
    step_y, step_x = (1 << layout.down_y, 1 << layout.down_x) if index else (1, 1)
    mean, still = np.zeros((*shape, 3)), np.zeros(shape, bool)
    for y, x in np.ndindex(shape):
        site = spread[y * step_y : (y + 1) * step_y, x * step_x : (x + 1) * step_x]
        mean[y, x], still[y, x] = site.mean((0, 1)), not site.any()
    return mean @ colour.rgb_to_yuv()[index] * span, still


def _equal(one, other):
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
